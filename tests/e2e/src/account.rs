//! An account of this machine for the length of a test.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::run::run;

/// An account with a home; removed with it when dropped.
pub struct Account(String);

impl Account {
    /// Makes one whose name has `word` in it; `None` without the right to.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(word: &str) -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        // The name is this run's own: another may be going on.
        let name = format!("e2e{word}{}", std::process::id());
        run(Command::new("useradd").args(["-m", "-s", "/bin/bash", "-p", "*", &name]))?.ok()?;
        Ok(Some(Self(name)))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        PathBuf::from("/home").join(&self.0)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        run(Command::new("userdel").args(["-rf", &self.0])).ok();
    }
}
