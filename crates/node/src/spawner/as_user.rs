//! What must be done with an account's own rights without starting a program: sockets at paths it chose.
//!
//! The spawner's effective user changes for the length of one closure (as sshd does it). Failing to change back ends
//! the process: nothing may be answered with rights nobody meant.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::account::Account;

/// Runs `work` as `account`; as ourselves when we are not root.
pub(crate) fn as_account<T>(account: &Account, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if !Uid::current().is_root() {
        return work();
    }
    let back = Back { groups: nix::unistd::getgroups()? };
    nix::unistd::setgroups(&account.groups)?;
    nix::unistd::setegid(account.gid)?;
    nix::unistd::seteuid(account.uid)?;
    let outcome = work();
    drop(back);
    outcome
}

/// Brings root back when dropped, whatever happened in between.
struct Back {
    groups: Vec<Gid>,
}

impl Drop for Back {
    fn drop(&mut self) {
        let root = (Uid::from_raw(0), Gid::from_raw(0));
        let restored = nix::unistd::seteuid(root.0)
            .and_then(|()| nix::unistd::setegid(root.1))
            .and_then(|()| nix::unistd::setgroups(&self.groups));
        if restored.is_err() {
            std::process::abort();
        }
    }
}

/// Where a path asked for by the account's person leads: relative ones start at home.
pub(crate) fn resolve(account: &Account, path: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(account.home.as_bytes())).join(OsStr::from_bytes(path))
}

/// Binds and listens at `path`. The socket is made with mode 0600.
pub(crate) fn bind(path: &Path) -> io::Result<OwnedFd> {
    let socket = unix_socket()?;
    let address = SocketAddrUnix::new(path)?;
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let bound = rustix::net::bind(&socket, &address);
    nix::sys::stat::umask(before);
    bound?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket)
}

/// Connects to `path` without waiting: a full backlog is a refusal.
pub(crate) fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = unix_socket()?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn unix_socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?)
}

/// Makes a directory only the account can enter, and a listening socket for its agent in it.
pub(crate) fn agent_socket() -> io::Result<(OwnedFd, PathBuf)> {
    let directory = nix::unistd::mkdtemp("/tmp/ssh-XXXXXXXXXX")?;
    let path = directory.join(format!("agent.{}", nix::unistd::getpid()));
    match bind(&path) {
        Ok(socket) => Ok((socket, path)),
        Err(error) => {
            drop(std::fs::remove_dir(&directory));
            Err(error)
        }
    }
}

/// Removes a bound socket's path if it is still a socket, and the directory made for an agent.
pub(crate) fn remove(path: &Path, own_directory: bool) {
    use std::os::unix::fs::FileTypeExt;
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        drop(std::fs::remove_file(path));
    }
    if own_directory && let Some(directory) = path.parent() {
        drop(std::fs::remove_dir(directory));
    }
}

/// A path as bytes for an answer.
pub(crate) fn bytes(path: PathBuf) -> Vec<u8> {
    path.into_os_string().into_vec()
}
