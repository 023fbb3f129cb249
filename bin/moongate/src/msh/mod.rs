//! `msh`: what people run.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs `msh`.
pub(crate) fn main(_args: Vec<OsString>) -> ExitCode {
    println!("msh {}", model::VERSION);
    ExitCode::SUCCESS
}
