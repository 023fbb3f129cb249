//! A terminal that somebody sits at: what a program asks there, what is typed, and whether it shows.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::run::LIMIT;
use crate::wait::until;

/// The person's end of a terminal.
pub struct Terminal {
    person: File,
    program: File,
    said: Arc<Mutex<String>>,
}

impl Terminal {
    /// A terminal with nobody's program at it yet.
    ///
    /// # Errors
    /// The system gives none.
    pub fn open() -> Result<Self> {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&person)?;
        unlockpt(&person)?;
        let name = ptsname(&person, Vec::new())?;
        let name = name.to_str().context("a name")?;
        let program = File::options().read(true).write(true).open(name).context("the program's end")?;
        let person = File::from(person);
        let said = Arc::new(Mutex::new(String::new()));
        let (mut from, to) = (person.try_clone()?, Arc::clone(&said));
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..n).unwrap_or_default()).into_owned();
                to.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Ok(Self { person, program, said })
    }

    /// Lets a program ask and answer here.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn seat<'c>(&self, command: &'c mut Command) -> Result<&'c mut Command> {
        let end = || self.program.try_clone().map(Stdio::from);
        Ok(command.stdin(end()?).stdout(end()?).stderr(end()?))
    }

    /// Everything to be seen so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it is to be seen.
    ///
    /// # Errors
    /// It is not; the error carries what is.
    pub fn shows(&self, wanted: &str) -> Result<()> {
        until(wanted, LIMIT, || self.said().contains(wanted).then_some(())).with_context(|| self.said())
    }

    /// Types it.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn types(&self, text: &str) -> Result<()> {
        (&self.person).write_all(text.as_bytes()).context("the terminal")
    }

    /// What is typed is shown.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn echoes(&self) -> Result<bool> {
        Ok(tcgetattr(&self.program)?.local_modes.contains(LocalModes::ECHO))
    }
}
