//! The line `ls -l` would show for a file, which some clients print as it is.

use std::collections::BTreeMap;

use nix::libc;
use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{FileType, Stat};

/// Names of users and groups met so far: at most [`Names::MAX`], then numbers.
#[derive(Default)]
pub(crate) struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Names {
    const MAX: usize = 1024;

    fn user(&mut self, uid: u32) -> String {
        if let Some(name) = self.users.get(&uid) {
            return name.clone();
        }
        let found = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name = found.map_or_else(|| uid.to_string(), |user| user.name);
        if self.users.len() < Self::MAX {
            self.users.insert(uid, name.clone());
        }
        name
    }

    fn group(&mut self, gid: u32) -> String {
        if let Some(name) = self.groups.get(&gid) {
            return name.clone();
        }
        let found = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
        let name = found.map_or_else(|| gid.to_string(), |group| group.name);
        if self.groups.len() < Self::MAX {
            self.groups.insert(gid, name.clone());
        }
        name
    }

    /// The line for `name`.
    pub(crate) fn line(&mut self, name: &[u8], stat: &Stat, now: i64) -> Vec<u8> {
        let user = self.user(stat.st_uid);
        let group = self.group(stat.st_gid);
        let facts = format!(
            "{} {:>4} {user:<8} {group:<8} {:>8} {} ",
            mode(stat.st_mode),
            stat.st_nlink,
            stat.st_size,
            time(stat.st_mtime, now),
        );
        [facts.as_bytes(), name].concat()
    }
}

fn mode(mode: u32) -> String {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::BlockDevice => 'b',
        FileType::CharacterDevice => 'c',
        FileType::RegularFile | FileType::Unknown => '-',
    };
    let mut out = String::from(kind);
    for (shift, special, mark) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        out.push(if bits & 4 != 0 { 'r' } else { '-' });
        out.push(if bits & 2 != 0 { 'w' } else { '-' });
        out.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => mark,
            (true, false) => mark.to_ascii_uppercase(),
        });
    }
    out
}

/// `Nov 20 23:59`, or with the year when it is not of the last half year.
fn time(seconds: i64, now: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = local(seconds);
    let month = usize::try_from(at.tm_mon).ok().and_then(|m| MONTHS.get(m)).unwrap_or(&"???");
    let recent = (now - 183 * 86_400..=now + 3600).contains(&seconds);
    if recent {
        format!("{month} {:>2} {:02}:{:02}", at.tm_mday, at.tm_hour, at.tm_min)
    } else {
        format!("{month} {:>2}  {}", at.tm_mday, at.tm_year + 1900)
    }
}

fn local(seconds: i64) -> libc::tm {
    let mut out = std::mem::MaybeUninit::<libc::tm>::zeroed();
    #[expect(unsafe_code, reason = "the host's time zone is the C library's knowledge")]
    // SAFETY: both pointers are to live values; all-zero bytes are a valid `tm`, which stays when the call fails.
    unsafe {
        libc::localtime_r(&raw const seconds, out.as_mut_ptr());
        out.assume_init()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_in_ls() {
        assert_eq!(mode(0o100_644), "-rw-r--r--");
        assert_eq!(mode(0o041_777), "drwxrwxrwt");
        assert_eq!(mode(0o104_755), "-rwsr-xr-x");
        assert_eq!(mode(0o102_644), "-rw-r-Sr--");
    }
}
