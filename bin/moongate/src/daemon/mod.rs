//! `moongate`: the daemon and its companions.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs `moongate`.
pub(crate) fn main(_args: Vec<OsString>) -> ExitCode {
    println!("moongate {}", model::VERSION);
    ExitCode::SUCCESS
}
