//! Gives up root before the first stranger is heard.
//!
//! `bin` calls this once, before the runtime starts and after the spawner was launched. What stays is the right to
//! bind ports below 1024 (the one port may be 443); everything else goes, for good. A process that is not root
//! changes nothing.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::libc;
use nix::unistd::{Gid, Uid, User};
use rustix::fs::{AtFlags, Mode, OFlags};

use crate::Error;

/// The account the unprivileged half runs as, where the host has it.
pub const USER: &str = "moongate";

/// Whom the unprivileged half shall run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Not root: nothing to give up.
    Already,
    /// Become this account.
    Become {
        /// Its name.
        name: String,
        /// Its user id.
        uid: u32,
        /// Its group id.
        gid: u32,
    },
    /// Root, and nobody else to be: run as root and say so loudly.
    StayRoot,
}

impl Plan {
    /// Whether a directory on the way to `path` is the account's: then what is found there may be a trap for root.
    #[must_use]
    pub fn reaches(&self, path: &Path) -> bool {
        let Plan::Become { uid, .. } = self else { return false };
        path.ancestors().skip(1).any(|above| owner(above) == Some(*uid))
    }
}

fn owner(path: &Path) -> Option<u32> {
    std::fs::metadata(path).ok().map(|meta| meta.uid())
}

/// Decides whom to become: the owner of `data_dir` if that is not root, else the account [`USER`] if there is one.
///
/// # Errors
/// The name service failed.
pub fn plan(data_dir: &Path) -> Result<Plan, Error> {
    if !Uid::effective().is_root() {
        return Ok(Plan::Already);
    }
    let lookup_failed = |e: nix::errno::Errno| Error::Io("looking up the service's account", e.into());
    let user = match owner(data_dir) {
        Some(uid) if uid != 0 => User::from_uid(Uid::from_raw(uid)).map_err(lookup_failed)?,
        _ => User::from_name(USER).map_err(lookup_failed)?,
    };
    Ok(match user {
        Some(user) if !user.uid.is_root() => {
            Plan::Become { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }
        }
        _ => Plan::StayRoot,
    })
}

/// Makes `data_dir` (created 0700 when missing) and everything in it the account's, without following links; `data_dir`
/// itself may be one that root made.
///
/// # Errors
/// Something in it cannot be opened or given away.
pub fn give_data_dir(data_dir: &Path, plan: &Plan) -> Result<(), Error> {
    let Plan::Become { uid, gid, .. } = plan else { return Ok(()) };
    if !data_dir.exists() {
        use std::os::unix::fs::DirBuilderExt;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
        made.map_err(Error::io("making the data directory"))?;
    }
    let by_root = |meta: std::fs::Metadata| meta.is_symlink() && meta.uid() == 0;
    let target = if std::fs::symlink_metadata(data_dir).is_ok_and(by_root) {
        std::fs::canonicalize(data_dir).map_err(Error::io("finding the data directory"))?
    } else {
        data_dir.to_owned()
    };
    let top = rustix::fs::open(&target, DIRECTORY, Mode::empty())
        .map_err(|e| Error::Io("opening the data directory", e.into()))?;
    give_tree(top, (*uid, *gid), 64).map_err(|e| Error::Io("giving the data directory away", e.into()))
}

/// A directory itself, never one that a link leads to.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Fd-relative, links unfollowed, depth bounded: what lies in the directory may be a trap.
fn give_tree(directory: OwnedFd, to: (u32, u32), depth: u32) -> rustix::io::Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(to.0), rustix::fs::Gid::from_raw(to.1));
    rustix::fs::fchown(&directory, Some(uid), Some(gid))?;
    for entry in rustix::fs::Dir::read_from(directory.as_fd())? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        // What was looked at is what is given away: whoever owns the directory may put another file in its place.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let it = match rustix::fs::openat(&directory, name, flags, Mode::empty()) {
            // Another process of ours may be at work in it.
            Err(rustix::io::Errno::NOENT) => continue,
            it => it?,
        };
        let stat = rustix::fs::fstat(&it)?;
        match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
            rustix::fs::FileType::Directory if depth > 0 => {
                match rustix::fs::openat(&directory, name, DIRECTORY, Mode::empty()) {
                    Err(rustix::io::Errno::NOENT) => {}
                    inner => give_tree(inner?, to, depth - 1)?,
                }
            }
            // A second name elsewhere would be given away too.
            rustix::fs::FileType::RegularFile if stat.st_nlink > 1 => {}
            _ => rustix::fs::chownat(&it, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?,
        }
    }
    Ok(())
}

/// Carries the plan out. Must run before any thread is started.
///
/// # Errors
/// A step failed; the process must not go on.
pub fn drop_to(plan: &Plan) -> Result<(), Error> {
    let Plan::Become { name, uid, gid } = plan else { return Ok(()) };
    let failed = |e: nix::errno::Errno| Error::Io("giving up root", e.into());
    let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
    let name = std::ffi::CString::new(name.as_str()).map_err(|_| Error::Protocol("account name"))?;
    keep_capabilities(true).map_err(failed)?;
    nix::unistd::initgroups(&name, gid).map_err(failed)?;
    nix::unistd::setresgid(gid, gid, gid).map_err(failed)?;
    nix::unistd::setresuid(uid, uid, uid).map_err(failed)?;
    keep_only_low_ports().map_err(failed)?;
    keep_capabilities(false).map_err(failed)?;
    no_new_privileges().map_err(failed)?;
    if nix::unistd::setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(Error::Protocol("root came back"));
    }
    Ok(())
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> Result<(), nix::errno::Errno> {
    #[expect(unsafe_code, reason = "no library in the tree wraps these two options")]
    // SAFETY: both options take plain numbers and touch no memory.
    let outcome = unsafe { libc::prctl(option, value, 0, 0, 0) };
    nix::errno::Errno::result(outcome).map(drop)
}

fn keep_capabilities(keep: bool) -> Result<(), nix::errno::Errno> {
    prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(keep))
}

fn no_new_privileges() -> Result<(), nix::errno::Errno> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// capabilities(7): version 3 has two 32-bit words for each set.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilitySets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn keep_only_low_ports() -> Result<(), nix::errno::Errno> {
    const VERSION_3: u32 = 0x2008_0522;
    const NET_BIND_SERVICE: u32 = 1 << 10;
    let only = CapabilitySets { effective: NET_BIND_SERVICE, permitted: NET_BIND_SERVICE, inheritable: 0 };
    set_capabilities(VERSION_3, only).or_else(|_| {
        // A container may not have the right at all; then nothing is kept.
        set_capabilities(VERSION_3, CapabilitySets::default())
    })
}

fn set_capabilities(version: u32, low: CapabilitySets) -> Result<(), nix::errno::Errno> {
    let header = CapabilityHeader { version, pid: 0 };
    let sets = [low, CapabilitySets::default()];
    #[expect(unsafe_code, reason = "no library in the tree wraps capset")]
    // SAFETY: both pointers are to live values of the layout capset(2) asks for; the kernel only reads them.
    let outcome = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    nix::errno::Errno::result(outcome).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_the_data_directory_is_whom_root_becomes() {
        let dir = tempfile::tempdir().unwrap();
        if !Uid::effective().is_root() {
            assert_eq!(plan(dir.path()).unwrap(), Plan::Already);
            return;
        }
        let nobody = User::from_name("nobody").unwrap().expect("every system has nobody");
        nix::unistd::chown(dir.path(), Some(nobody.uid), Some(nobody.gid)).unwrap();

        let plan = plan(dir.path()).unwrap();

        let Plan::Become { name, uid, .. } = plan else { panic!("{plan:?}") };
        assert_eq!((name.as_str(), uid), ("nobody", nobody.uid.as_raw()));
    }

    #[test]
    fn a_data_directory_is_given_away_without_following_links() {
        if !Uid::effective().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::create_dir(dir.path().join("spool")).unwrap();
        std::fs::write(dir.path().join("spool/0.seg"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("trap")).unwrap();
        std::fs::write(dir.path().join("two names"), "x").unwrap();
        std::fs::hard_link(dir.path().join("two names"), dir.path().join("spool/other")).unwrap();
        let to = Plan::Become { name: "nobody".into(), uid: 65534, gid: 65534 };

        give_data_dir(dir.path(), &to).unwrap();

        let uid = |path: &Path| owner(path).unwrap();
        assert_eq!(uid(&dir.path().join("spool/0.seg")), 65534);
        assert_eq!(uid(outside.path()), 0);
        assert_eq!(uid(&dir.path().join("two names")), 0);
        let link = std::fs::symlink_metadata(dir.path().join("trap")).unwrap();
        assert_eq!(link.uid(), 65534);
    }

    #[test]
    fn a_data_directory_may_be_a_link_of_roots_and_of_nobody_elses() {
        if !Uid::effective().is_root() {
            return;
        }
        let nobody = 65534;
        let to = Plan::Become { name: "nobody".into(), uid: nobody, gid: nobody };
        for (maker, given) in [(0, true), (nobody, false)] {
            let dir = tempfile::tempdir().unwrap();
            let (link, target) = (dir.path().join("data"), dir.path().join("elsewhere"));
            std::fs::create_dir(&target).unwrap();
            std::os::unix::fs::symlink(&target, &link).unwrap();
            std::os::unix::fs::lchown(&link, Some(maker), Some(maker)).unwrap();

            let outcome = give_data_dir(&link, &to);

            assert_eq!(outcome.is_ok(), given, "{maker}: {outcome:?}");
            assert_eq!(owner(&target), Some(if given { nobody } else { 0 }), "{maker}");
        }
    }

    #[test]
    fn an_account_reaches_what_lies_below_a_directory_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let ours = owner(dir.path()).unwrap();
        let to = |uid| Plan::Become { name: "someone".into(), uid, gid: uid };
        // A link that leads out of it is in its reach as well: it made it, or could make it anew.
        std::os::unix::fs::symlink("/etc", dir.path().join("store")).unwrap();

        for below in ["lock", "store/lock", "missing/lock", "../lock"] {
            let path = dir.path().join(below);
            assert!(to(ours).reaches(&path), "{below}");
            assert!(!to(ours + 1).reaches(&path), "{below}");
            assert!(!Plan::StayRoot.reaches(&path) && !Plan::Already.reaches(&path), "{below}");
        }
    }
}
