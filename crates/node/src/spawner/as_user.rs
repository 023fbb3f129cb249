//! What must be done with an account's own rights without starting a program: sockets at paths it chose.
//!
//! Done by a process that has become the account (`reacher`): a path may lead to a file server that does not answer.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::account::Account;

/// Where agents' sockets are, in directories of their own.
pub(crate) const AGENTS: &str = "/tmp";

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
    let directory = nix::unistd::mkdtemp(&Path::new(AGENTS).join("ssh-XXXXXXXXXX"))?;
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
