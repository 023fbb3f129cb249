//! `moongate`: the daemon and its companions. A table of contents: each command is in its file.

mod args;
mod authority;
mod browsers;
mod configure;
mod diag;
pub(crate) mod file;
mod ground;
mod host;
mod identity;
mod labels;
mod links;
mod load;
mod lock;
mod node;
mod outcasts;
mod outside;
mod privileges;
mod proxy;
mod ready;
mod reload;
mod rules;
mod start;
mod status;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use args::{Command, What};

/// A file at fault, as sysexits.h has it: a supervisor need not try again.
const EX_CONFIG: u8 = 78;

/// Runs `moongate`. Exits with 0, 1 when something failed, 2 when the command line made no sense, 78 when it was not
/// started because of its configuration.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    // The node starts this program again in modes of its own: no flags, no threads, nothing before.
    match args.get(1).and_then(|a| a.to_str()) {
        Some(::node::spawner::SUBCOMMAND) => {
            let orders = ::node::spawner::Orders::read(args.get(2..).unwrap_or_default());
            return ended(
                ::node::spawner::main(orders, privileges::judge, ::node::spawner::Names::SYSTEM)
                    .map_err(Into::into),
            );
        }
        Some(::node::sftp::SUBCOMMAND) => return ended(::node::sftp::main().map_err(Into::into)),
        _ => {}
    }
    let command = match Command::try_parse_from(args) {
        Ok(command) => command,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let done = match command.what {
        What::Start(args) => start::run(&args),
        What::Configure(args) => configure::run(&args, &mut std::io::stdout().lock()),
        What::Status => status::run(variable, &mut std::io::stdout().lock()),
        What::Version => {
            println!("moongate {}", model::VERSION);
            Ok(())
        }
    };
    ended(done)
}

#[expect(clippy::disallowed_methods, reason = "a session's environment says which session it is")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn ended(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("moongate: {error:#}");
            if error.is::<load::NotGood>() { ExitCode::from(EX_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}
