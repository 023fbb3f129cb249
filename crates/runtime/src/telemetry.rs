//! Logs to standard error, standard output, a file or the system log, once per process.

mod syslog;

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

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
    let filter = EnvFilter::try_new(wanted).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(true)
        .with_ansi(false)
        .with_writer(writer(output)?);
    let stamped = matches!(output, Output::Syslog(_));
    let done = match (json, stamped) {
        (true, _) => builder.json().try_init(),
        (false, true) => builder.without_time().with_level(false).try_init(),
        (false, false) => builder.try_init(),
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
