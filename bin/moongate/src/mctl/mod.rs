//! `mctl`: what admins run.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs `mctl`.
pub(crate) fn main(_args: Vec<OsString>) -> ExitCode {
    println!("mctl {}", model::VERSION);
    ExitCode::SUCCESS
}
