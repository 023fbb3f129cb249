//! A real spawner, real terminals, real accounts. Runs its own list of tests, because the binary must also be able
//! to become the spawner and the file-transfer server, which the standard harness has no way to say.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test"
)]

mod host {
    pub(crate) mod gate;
    pub(crate) mod halves;
    pub(crate) mod paths;
    pub(crate) mod people;
    pub(crate) mod proof;
    pub(crate) mod reach;
    pub(crate) mod slow;
    pub(crate) mod start;
    pub(crate) mod stay;
    pub(crate) mod strain;
    pub(crate) mod transfer;
}

use std::process::ExitCode;

/// A test by name.
pub(crate) type Test = (&'static str, fn());

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    match words.get(1).map(String::as_str) {
        Some(node::spawner::SUBCOMMAND) => {
            let words: Vec<std::ffi::OsString> = words.iter().skip(2).map(Into::into).collect();
            let orders = node::spawner::Orders::read(&words);
            let names = host::slow::names(&orders);
            return exit(node::spawner::main(orders, host::proof::judge, names));
        }
        Some(node::sftp::SUBCOMMAND) => return exit(node::sftp::main()),
        Some("without-privileges") => {
            host::strain::without_privileges();
            return ExitCode::SUCCESS;
        }
        Some(_) | None => {}
    }
    let wanted = words.get(1).filter(|word| !word.starts_with('-'));
    let mut failed = Vec::new();
    let files = [
        host::start::TESTS,
        host::halves::TESTS,
        host::proof::TESTS,
        host::slow::TESTS,
        host::paths::TESTS,
        host::stay::TESTS,
        host::transfer::TESTS,
        host::people::TESTS,
        host::reach::TESTS,
        host::strain::TESTS,
    ];
    for (name, test) in files.into_iter().flatten() {
        if wanted.is_some_and(|part| !name.contains(part.as_str())) {
            continue;
        }
        let passed = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            failed.push(name);
        }
    }
    println!("{} failed: {failed:?}", failed.len());
    ExitCode::from(u8::from(!failed.is_empty()))
}

fn exit<E: std::error::Error>(outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}: {:?}", std::error::Error::source(&error));
            ExitCode::FAILURE
        }
    }
}
