//! The system log: one datagram a line, in the form in which `syslog(3)` talks to `/dev/log`.
//!
//! That is RFC 3164 without a host name: it is what every daemon behind that socket reads, `journald` included, which
//! does not read RFC 5424. A log must not stop what it tells of: a line the daemon has no room for is lost, and the next
//! one is preceded by how many were. A daemon that was started anew is found again.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing_subscriber::fmt::MakeWriter;

/// The name lines carry.
const TAG: &str = "moongate";
/// The facility of system daemons (RFC 3164, 4.1.1).
const DAEMON: u8 = 3;
/// The longest datagram; the rest of a longer line is left out.
const MAX: usize = 8 * 1024;
const STAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[month repr:short] [day padding:space] [hour]:[minute]:[second]");

/// The way to the system log.
pub(super) struct Syslog {
    path: PathBuf,
    pid: u32,
    state: Mutex<State>,
}

struct State {
    socket: UnixDatagram,
    lost: u64,
}

impl Syslog {
    /// Fails when nobody listens at `path`: a log that goes nowhere is a mistake found at start.
    pub(super) fn connect(path: &Path, pid: u32) -> io::Result<Self> {
        let state = Mutex::new(State { socket: connect(path)?, lost: 0 });
        Ok(Self { path: path.to_owned(), pid, state })
    }

    fn send(&self, severity: u8, text: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lost > 0 {
            let told = format!("{} lines before this one were lost", state.lost);
            if self.deliver(&mut state.socket, 4, told.as_bytes()).is_ok() {
                state.lost = 0;
            }
        }
        if self.deliver(&mut state.socket, severity, text).is_err() {
            state.lost = state.lost.saturating_add(1);
        }
    }

    fn deliver(&self, socket: &mut UnixDatagram, severity: u8, text: &[u8]) -> io::Result<()> {
        #[expect(clippy::disallowed_methods, reason = "the time of a log line is that of its writing")]
        let line = line(SystemTime::now().into(), self.pid, severity, text);
        match socket.send(&line) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            Err(_) => {
                *socket = connect(&self.path)?;
                socket.send(&line).map(drop)
            }
        }
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

/// The datagram of one line. The time is UTC; daemons put their own in its place.
fn line(now: OffsetDateTime, pid: u32, severity: u8, text: &[u8]) -> Vec<u8> {
    let stamp = now.format(STAMP).unwrap_or_default();
    let mut line = format!("<{}>{stamp} {TAG}[{pid}]: ", DAEMON * 8 + severity).into_bytes();
    line.extend_from_slice(text.trim_ascii_end());
    line.truncate(MAX);
    line
}

/// One event on its way: the formatter writes it in pieces or at once, the end sends it.
pub(super) struct Event<'a> {
    log: &'a Syslog,
    severity: u8,
    text: Vec<u8>,
}

impl Write for Event<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.log.send(self.severity, &self.text);
        }
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event { log: self, severity: 6, text: Vec::new() }
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Event<'a> {
        let severity = match *meta.level() {
            tracing::Level::ERROR => 3,
            tracing::Level::WARN => 4,
            tracing::Level::INFO => 6,
            tracing::Level::DEBUG | tracing::Level::TRACE => 7,
        };
        Event { log: self, severity, text: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(daemon: &UnixDatagram) -> String {
        let mut bytes = [0; 2 * MAX];
        let length = daemon.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_line_looks_as_syslog_writes_it() {
        let at = OffsetDateTime::from_unix_timestamp(1_762_000_000).unwrap();

        let text = String::from_utf8(line(at, 42, 4, b"tunnel: up node=gpu-1\n")).unwrap();

        assert_eq!(text, "<28>Nov  1 12:26:40 moongate[42]: tunnel: up node=gpu-1");
        assert_eq!(line(at, 42, 4, &[b'x'; 2 * MAX]).len(), MAX);
    }

    #[test]
    fn events_arrive_with_their_severity_and_a_new_daemon_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(Syslog::connect(&path, 1).is_err(), "nobody listens yet");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let log = Syslog::connect(&path, 1).unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_level(false)
            .with_writer(log)
            .finish();

        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(node = "gpu-1", "cut");
            let said = heard(&daemon);
            assert!(said.starts_with("<27>") && said.contains("]: ") && said.contains("cut node="), "{said}");

            drop(daemon);
            std::fs::remove_file(&path).unwrap();
            tracing::info!("nobody hears this");
            let daemon = UnixDatagram::bind(&path).unwrap();
            tracing::info!("back");
            assert!(heard(&daemon).contains("1 lines before this one were lost"));
            assert!(heard(&daemon).starts_with("<30>"));
        });
    }

    #[test]
    fn a_daemon_that_does_not_read_stops_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let log = Syslog::connect(&path, 1).unwrap();

        for _ in 0..10_000 {
            log.send(6, &[b'x'; 1000]);
        }

        assert!(log.state.lock().unwrap().lost > 0);
        assert!(heard(&daemon).starts_with("<30>"));
    }
}
