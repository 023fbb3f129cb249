//! Asking a person: lines with and without echo. When standard input is no terminal, lines are read from it, so
//! that scripts can answer.

use std::io::{self, BufRead, IsTerminal, Write};

use model::Secret;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Asks for a line that may be seen.
///
/// # Errors
/// Input ended or failed.
pub(crate) fn line(question: &str) -> io::Result<String> {
    ask(question)?;
    read_line()
}

/// Waits until a person at a terminal says that something was read. Scripts are not asked: their lines answer the
/// questions they were written for.
///
/// # Errors
/// Input ended or failed.
pub(crate) fn read(question: &str) -> io::Result<()> {
    if !io::stdin().is_terminal() {
        return Ok(());
    }
    ask(question)?;
    read_line().map(drop)
}

/// Asks for a line that must not be seen. Echo comes back whatever happens.
///
/// # Errors
/// Input ended or failed.
pub(crate) fn secret(question: &str) -> io::Result<Secret> {
    ask(question)?;
    let stdin = io::stdin();
    let Some(before) = tcgetattr(&stdin).ok().filter(|_| stdin.is_terminal()) else {
        return read_line().map(Secret::new);
    };
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    quiet.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(&stdin, OptionalActions::Flush, &quiet)?;
    let answer = read_line();
    tcsetattr(&stdin, OptionalActions::Now, &before)?;
    answer.map(Secret::new)
}

fn ask(question: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(question.as_bytes())?;
    stderr.flush()
}

fn read_line() -> io::Result<String> {
    let mut text = String::new();
    if io::stdin().lock().read_line(&mut text)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "input ended before an answer was given"));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
