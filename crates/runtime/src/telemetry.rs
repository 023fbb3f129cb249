//! Logs to standard error (or a file), once per process.

use std::io;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

/// Starts logging. `filter` is a level (`info`) or a directive list (`info,tunnel=debug`); `MOONGATE_LOG` wins.
///
/// # Errors
/// The file cannot be opened. A second call in one process changes nothing.
pub fn init(filter: &str, file: Option<&Path>, json: bool) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "logging starts before configuration is a value")]
    let wanted = std::env::var("MOONGATE_LOG").unwrap_or_else(|_| filter.to_owned());
    let filter = EnvFilter::try_new(wanted).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(true);
    let done = match (file, json) {
        (Some(path), json) => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
            let builder = builder.with_ansi(false).with_writer(Mutex::new(file));
            if json { builder.json().try_init() } else { builder.try_init() }
        }
        (None, true) => builder.json().with_writer(io::stderr).try_init(),
        (None, false) => builder.with_ansi(false).with_writer(io::stderr).try_init(),
    };
    drop(done);
    Ok(())
}
