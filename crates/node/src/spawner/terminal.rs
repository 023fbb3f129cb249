//! Opens a terminal for an account: owned by it, its group `tty`, nobody else's to read.

use std::io;
use std::os::fd::OwnedFd;

use nix::unistd::{Gid, Group, Uid};
use rustix::fs::Mode;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::account::Account;
use super::message::Size;

/// The master, the other side, and its path.
pub(crate) fn open(account: &Account, size: Size) -> io::Result<(OwnedFd, OwnedFd, Vec<u8>)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let path = rustix::pty::ptsname(&master, Vec::new())?.into_bytes();
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    rustix::termios::tcsetwinsize(&terminal, winsize(size))?;
    if Uid::effective().is_root() {
        let (group, mode) = match tty_group() {
            Some(group) => (group, Mode::from_raw_mode(0o620)),
            None => (account.gid, Mode::from_raw_mode(0o600)),
        };
        nix::unistd::fchown(&terminal, Some(account.uid), Some(group))?;
        rustix::fs::fchmod(&terminal, mode)?;
    }
    Ok((master, terminal, path))
}

fn tty_group() -> Option<Gid> {
    Group::from_name("tty").ok().flatten().map(|group| group.gid)
}

/// The kernel's form of a size; a terminal of nothing is 80 by 24.
pub(crate) fn winsize(size: Size) -> Winsize {
    Winsize {
        ws_col: if size.cols == 0 { 80 } else { size.cols },
        ws_row: if size.rows == 0 { 24 } else { size.rows },
        ws_xpixel: size.width,
        ws_ypixel: size.height,
    }
}
