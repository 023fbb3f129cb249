//! What a client has open: at most [`MAX`] files and directories.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

/// Most open at a time; below the soft limit of descriptors a session starts with.
pub(crate) const MAX: usize = 960;

/// An open file or directory.
pub(crate) enum Open {
    File { file: OwnedFd, append: bool },
    Directory(Box<rustix::fs::Dir>),
}

/// Handles by number.
#[derive(Default)]
pub(crate) struct Handles {
    open: BTreeMap<u32, Open>,
    next: u32,
}

impl Handles {
    /// Keeps something open; `None` when too much is.
    pub(crate) fn keep(&mut self, open: Open) -> Option<[u8; 4]> {
        if self.open.len() >= MAX {
            return None;
        }
        while self.open.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(number, open);
        Some(number.to_be_bytes())
    }

    pub(crate) fn get_mut(&mut self, handle: &[u8]) -> Option<&mut Open> {
        self.open.get_mut(&number(handle)?)
    }

    pub(crate) fn file(&self, handle: &[u8]) -> Option<(&OwnedFd, bool)> {
        match self.open.get(&number(handle)?)? {
            Open::File { file, append } => Some((file, *append)),
            Open::Directory(_) => None,
        }
    }

    pub(crate) fn close(&mut self, handle: &[u8]) -> Option<Open> {
        self.open.remove(&number(handle)?)
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }
}

fn number(handle: &[u8]) -> Option<u32> {
    handle.try_into().ok().map(u32::from_be_bytes)
}
