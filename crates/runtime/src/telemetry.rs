//! Logs to standard error, standard output, a file or the system log, once per process.

mod syslog;

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use syslog::Syslog;

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
    /// The system log behind this socket, usually `/dev/log`. It notes the time and the severity by itself.
    Syslog(PathBuf),
}

/// Starts logging. `filter` is a level (`info`) or a directive list (`info,tunnel=debug`); `MOONGATE_LOG` wins.
///
/// # Errors
/// The file cannot be opened, or nobody listens on the socket. A second call in one process changes nothing.
pub fn init(filter: &str, output: &Output, json: bool) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "logging starts before configuration is a value")]
    let wanted = std::env::var("MOONGATE_LOG").unwrap_or_else(|_| filter.to_owned());
    let filter = levels(&wanted).unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let log = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer(output)?);
    let stamped = matches!(output, Output::Syslog(_));
    let done = match (json, stamped) {
        (true, _) => log.with(lines.json()).try_init(),
        (false, true) => log.with(lines.without_time().with_level(false)).try_init(),
        (false, false) => log.with(lines).try_init(),
    };
    drop(done);
    Ok(())
}

fn writer(output: &Output) -> io::Result<BoxMakeWriter> {
    Ok(match output {
        Output::Stderr => BoxMakeWriter::new(io::stderr),
        Output::Stdout => BoxMakeWriter::new(io::stdout),
        Output::File(path) => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
            BoxMakeWriter::new(Mutex::new(file))
        }
        Output::Syslog(path) => BoxMakeWriter::new(Syslog::connect(path, std::process::id())?),
    })
}

/// A level, or levels by part, between commas. `None` for anything else: a word that is no level must not be taken for the
/// name of a part, which alone would be heard then.
fn levels(wanted: &str) -> Option<Targets> {
    let words = wanted.split(',').map(str::trim).filter(|word| !word.is_empty());
    let mut found = None;
    for word in words {
        let targets: Targets = found.unwrap_or_default();
        found = Some(match word.split_once('=') {
            Some((part, level)) => {
                targets.with_target(part.trim(), level.trim().parse::<LevelFilter>().ok()?)
            }
            None => targets.with_default(word.parse::<LevelFilter>().ok()?),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter as L;

    use super::*;

    #[test]
    fn a_level_or_levels_by_part() {
        let cases = [
            ("debug", Some((L::DEBUG, L::DEBUG))),
            ("WARN", Some((L::WARN, L::WARN))),
            ("off", Some((L::OFF, L::OFF))),
            ("info,tunnel=debug", Some((L::INFO, L::DEBUG))),
            (" info , tunnel = trace ,", Some((L::INFO, L::TRACE))),
            ("tunnel=off,error", Some((L::ERROR, L::OFF))),
            ("tunnel=debug", Some((L::OFF, L::DEBUG))),
            ("", None),
            (",", None),
            ("inof", None),
            ("tunnel", None),
            ("tunnel=loud", None),
            ("info,tunnel[span]", None),
        ];
        for (wanted, expected) in cases {
            let found = levels(wanted);
            let heard = |part: &str| {
                let order = [L::TRACE, L::DEBUG, L::INFO, L::WARN, L::ERROR];
                let loud = |level: &L| {
                    let level = level.into_level();
                    level.is_some_and(|l| found.as_ref().is_some_and(|t| t.would_enable(part, &l)))
                };
                order.into_iter().find(loud).unwrap_or(L::OFF)
            };
            assert_eq!(found.as_ref().map(|_| (heard("proxy"), heard("tunnel"))), expected, "{wanted:?}");
        }
    }
}
