//! The two files that may be anywhere: the log and the process id file.
//!
//! Each is opened by whoever may: before root is given up where only root can have put something in the way, and
//! afterwards where the account can.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use config::{Config, LogFormat, LogOutput};
use runtime::telemetry::{self, Output};

use super::host;

/// Where the system log listens.
const SYSTEM_LOG: &str = "/dev/log";

/// What is open of them.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    logging: bool,
    pid: Option<PidFile>,
}

impl Outside {
    /// Opens what is not open yet and lies where it `may` be opened.
    pub(crate) fn open(
        &mut self,
        config: &Config,
        level: &str,
        may: impl Fn(&Path) -> bool,
    ) -> anyhow::Result<()> {
        let instance = &config.instance;
        if !self.logging && log_file(config).is_none_or(&may) {
            log(config, level)?;
            self.logging = true;
        }
        let wanted = instance.pid_file.as_deref().filter(|path| self.pid.is_none() && may(path));
        if let Some(path) = wanted {
            self.pid = Some(PidFile::open(path)?);
        }
        Ok(())
    }

    /// Says which process we are, until this is dropped.
    pub(crate) fn sign(&mut self) -> anyhow::Result<()> {
        self.pid.as_mut().map_or(Ok(()), PidFile::sign)
    }
}

fn log_file(config: &Config) -> Option<&Path> {
    match &config.instance.log.output {
        LogOutput::File(path) => Some(path),
        LogOutput::Stderr | LogOutput::Stdout | LogOutput::Syslog => None,
    }
}

fn log(config: &Config, level: &str) -> anyhow::Result<()> {
    let (output, failed) = match &config.instance.log.output {
        LogOutput::Stderr => (Output::Stderr, String::new()),
        LogOutput::Stdout => (Output::Stdout, String::new()),
        LogOutput::File(path) => {
            // Below our own directory we make what is missing; elsewhere it is the operator's.
            if let Some(above) = path.parent().filter(|above| above.starts_with(&config.instance.data_dir)) {
                host::private_dir(above)?;
            }
            (Output::File(path.clone()), format!("cannot log to {}", path.display()))
        }
        LogOutput::Syslog => {
            (Output::Syslog(SYSTEM_LOG.into()), format!("cannot log to the system log at {SYSTEM_LOG}"))
        }
    };
    telemetry::init(level, &output, config.instance.log.format == LogFormat::Json).context(failed)
}

/// A file that says which process we are, gone or empty when we end.
#[derive(Debug)]
struct PidFile {
    path: PathBuf,
    file: File,
    signed: bool,
}

impl PidFile {
    /// Opens it; what another process says in it stays.
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let file = file.with_context(|| format!("cannot open {} for the process id", path.display()))?;
        Ok(Self { path: path.to_owned(), file, signed: false })
    }

    fn sign(&mut self) -> anyhow::Result<()> {
        self.signed = true;
        let written = self.file.set_len(0).and_then(|()| writeln!(self.file, "{}", std::process::id()));
        written.with_context(|| format!("cannot write the process id to {}", self.path.display()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.signed && std::fs::remove_file(&self.path).is_err() {
            // The account may not remove names in a directory of root's; the number of a process that is gone, or of
            // one that came after, must not stay.
            let _ = self.file.set_len(0);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_process_id_file_is_written_when_it_is_ours_and_says_nothing_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("moongate.pid");
        std::fs::write(&path, "of another process\n").unwrap();
        let read = || std::fs::read_to_string(&path);

        drop(PidFile::open(&path).unwrap());
        assert_eq!(read().unwrap(), "of another process\n");
        let mut file = PidFile::open(&path).unwrap();
        file.sign().unwrap();
        assert_eq!(read().unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(read().is_err());
    }

    #[test]
    fn a_process_id_file_that_cannot_be_removed_is_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("moongate.pid");
        let mut file = PidFile::open(&path).unwrap();
        file.sign().unwrap();
        // A name that `remove_file` refuses whoever calls it.
        file.path = dir.path().to_owned();

        drop(file);

        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
