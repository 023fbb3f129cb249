//! One executable, four names: `moongate` (the daemon), `msh` (people), `mctl` (admins), `mbot` (robots).
//!
//! It looks at `argv[0]`; `moongate msh …` works too. A table of contents: what a name does is in its folder.
#![forbid(unsafe_code)]

mod address;
mod daemon;
mod gate;
mod mctl;
mod msh;
mod pages;
mod recordings;
mod show;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    node::memory::frugal();
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let called = name_of(args.first());
    if let Some(other) = args.get(1).and_then(|a| a.to_str()).filter(|_| called == "moongate")
        && matches!(other, "msh" | "mctl" | "mbot")
    {
        args.remove(0);
    }
    match name_of(args.first()).as_str() {
        "msh" => msh::main(args),
        "mctl" => mctl::main(args),
        "mbot" => {
            eprintln!(
                "mbot: credentials for robots are not built yet; give the robot a user and `msh login`"
            );
            ExitCode::from(2)
        }
        _ => daemon::main(args),
    }
}

/// The program's name: the last part of `argv[0]`, `moongate` for anything unknown.
fn name_of(arg: Option<&OsString>) -> String {
    arg.map(Path::new)
        .and_then(Path::file_name)
        .and_then(|n| n.to_str())
        .filter(|n| matches!(*n, "msh" | "mctl" | "mbot"))
        .unwrap_or("moongate")
        .to_owned()
}
