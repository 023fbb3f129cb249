//! Opens a terminal for an account: owned by it, its group `tty`, nobody else's to read.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;

use nix::unistd::{Gid, Uid};
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

/// From the host's own file, not its name service: that one may wait for servers, and everybody waits for this
/// process.
fn tty_group() -> Option<Gid> {
    let groups = BufReader::new(File::open("/etc/group").ok()?);
    let id = groups.split(b'\n').map_while(Result::ok).find_map(|line| id_of(b"tty", &line));
    id.map(Gid::from_raw)
}

/// The number in a line of group(5), if it is the group of this name.
fn id_of(name: &[u8], line: &[u8]) -> Option<u32> {
    let mut fields = line.split(|byte| *byte == b':');
    fields.next().filter(|found| *found == name)?;
    std::str::from_utf8(fields.nth(1)?).ok()?.trim().parse().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        for (line, id) in [
            ("tty:x:5:", Some(5)),
            ("tty:x:5:ann,bob", Some(5)),
            ("tty::4294967294:", Some(4_294_967_294)),
            ("ttys:x:6:", None),
            ("a:x:7:tty", None),
            ("tty:x:", None),
            ("tty:x:-1:", None),
            ("tty", None),
            ("+", None),
            ("", None),
        ] {
            assert_eq!(id_of(b"tty", line.as_bytes()), id, "{line}");
        }
    }
}
