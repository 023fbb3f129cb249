//! Asking a person: lines with and without echo. When standard input is no terminal, lines are read from it, so
//! that scripts can answer.

use std::io::{self, BufRead, IsTerminal, Write};

use model::Secret;
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

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

/// Asks for a line that must not be seen. The terminal is quiet before it asks, so that an answer given at once is
/// neither shown nor lost. Echo comes back whatever happens, also when the person gives up with Ctrl-C.
///
/// # Errors
/// Input ended or failed.
pub(crate) fn secret(question: &str) -> io::Result<Secret> {
    let stdin = io::stdin();
    let Some(before) = tcgetattr(&stdin).ok().filter(|_| stdin.is_terminal()) else {
        ask(question)?;
        return read_line().map(Secret::new);
    };
    // Ctrl-C ends the line instead of the program, which then ends itself: after the terminal is as it was.
    let give_up = before.special_codes[SpecialCodeIndex::VINTR];
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    quiet.local_modes.insert(LocalModes::ECHONL);
    quiet.special_codes[SpecialCodeIndex::VEOL2] = give_up;
    tcsetattr(&stdin, OptionalActions::Flush, &quiet)?;
    let answer = ask(question).and_then(|()| read_to(&mut stdin.lock(), give_up));
    tcsetattr(&stdin, OptionalActions::Now, &before)?;
    if let Ok(None) = answer {
        eprintln!();
        kill_process(getpid(), Signal::INT)?;
    }
    let text = answer?.ok_or_else(|| io::Error::new(io::ErrorKind::Interrupted, "given up"))?;
    Ok(Secret::new(text))
}

/// A line without its end, or nothing when `give_up` ends it.
fn read_to(input: &mut impl BufRead, give_up: u8) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let got = input.fill_buf()?;
        if got.is_empty() && line.is_empty() {
            return Err(ended());
        }
        let end = got.iter().position(|byte| *byte == b'\n' || *byte == give_up);
        let taken = end.unwrap_or(got.len());
        line.extend(got.iter().take(taken));
        let last = end.and_then(|at| got.get(at).copied());
        let whole = end.is_some() || got.is_empty();
        let used = taken + usize::from(end.is_some());
        input.consume(used);
        if last == Some(give_up) {
            return Ok(None);
        }
        if whole {
            let text = String::from_utf8(line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            return Ok(Some(text.trim_end_matches('\r').to_owned()));
        }
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "input ended before an answer was given")
}

fn ask(question: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(question.as_bytes())?;
    stderr.flush()
}

fn read_line() -> io::Result<String> {
    let mut text = String::new();
    if io::stdin().lock().read_line(&mut text)? == 0 {
        return Err(ended());
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CTRL_C: u8 = 3;

    #[test]
    fn a_line_ends_where_it_ends_however_it_comes() {
        for (input, wanted, left) in [
            ("correct horse\nnext\n", Some("correct horse"), "next\n"),
            ("dos\r\n", Some("dos"), ""),
            ("\n", Some(""), ""),
            ("no end", Some("no end"), ""),
            ("half\u{3}more\n", None, "more\n"),
            ("密码\n", Some("密码"), ""),
        ] {
            for piece in [1, 3, 64] {
                let mut from = io::BufReader::with_capacity(piece, input.as_bytes());
                assert_eq!(read_to(&mut from, CTRL_C).unwrap().as_deref(), wanted, "{input:?}");
                let mut rest = String::new();
                io::Read::read_to_string(&mut from, &mut rest).unwrap();
                assert_eq!(rest, left, "{input:?}");
            }
        }
        assert_eq!(read_to(&mut &b""[..], CTRL_C).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(read_to(&mut &b"\xff\n"[..], CTRL_C).is_err());
    }
}
