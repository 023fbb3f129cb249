//! The step between fork and exec: become the account, arrange descriptors, start the program.
//!
//! Everything is looked up before the fork ([`Plan`]); what follows it is system calls on values already made, and the
//! account's own file of variables where the host permits one: read as the account, by this process alone. The spawner
//! has one thread, so its child may allocate. Nothing returns: the program starts, or the process ends with a message on its own
//! standard error and code 254 (the account could not be entered) or 126/127 (the program could not be started).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::{ForkResult, Pid};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::account::Account;
use super::message::Program;
use super::own_env::{self, Environment};

/// The child's standard descriptors.
pub(crate) enum Stdio {
    /// A terminal, which becomes the controlling one.
    Terminal(OwnedFd),
    /// Stdin, stdout, stderr.
    Pipes(OwnedFd, OwnedFd, OwnedFd),
}

/// What is to run.
enum Image {
    Path(CString),
    /// Our own executable, by descriptor: the account may be unable to reach its path.
    Own(OwnedFd),
}

/// Everything the child needs, made before the fork.
pub(crate) struct Plan {
    become_account: bool,
    account: Account,
    stdio: Stdio,
    image: Image,
    argv: Vec<CString>,
    env: Environment,
    /// The account's own file adds to it.
    own_env: bool,
    open_files: Option<(u64, u64)>,
}

impl Plan {
    pub(crate) fn new(
        account: &Account,
        program: Program,
        stdio: Stdio,
        env: Environment,
        (own, own_env): (BorrowedFd<'_>, bool),
    ) -> Result<Self, String> {
        let shell = account.shell.as_bytes();
        // Our own program takes nothing from it.
        let own_env = own_env && program != Program::FileTransfer;
        let base = shell.rsplit(|b| *b == b'/').next().unwrap_or(shell);
        let c_string =
            |bytes: Vec<u8>| CString::new(bytes).map_err(|_| "the command has a NUL byte".to_owned());
        let (image, argv) = match program {
            Program::Shell => {
                (Image::Path(account.shell.clone()), vec![c_string([b"-".as_slice(), base].concat())?])
            }
            Program::Command(command) => (
                Image::Path(account.shell.clone()),
                vec![c_string(base.to_vec())?, c"-c".to_owned(), c_string(command)?],
            ),
            Program::FileTransfer => {
                let own = own.try_clone_to_owned().map_err(|e| e.to_string())?;
                (Image::Own(own), vec![c"moongate".to_owned(), c"sftp-server".to_owned()])
            }
        };
        let open_files = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).ok();
        Ok(Self {
            become_account: nix::unistd::Uid::effective().is_root(),
            account: account.clone(),
            stdio,
            image,
            argv,
            env,
            own_env,
            open_files,
        })
    }

    /// Forks and starts. Returns the child's process id, which is also its process group's and session's.
    pub(crate) fn start(self) -> Result<Pid, Errno> {
        #[expect(unsafe_code, reason = "fork is how a process becomes another user's")]
        // SAFETY: the spawner has one thread, so no lock can be held by a thread that does not exist in the child;
        // the child looks after its own values and then execs or exits.
        let forked = unsafe { nix::unistd::fork() }?;
        match forked {
            ForkResult::Parent { child } => Ok(child),
            ForkResult::Child => self.run(),
        }
    }

    fn run(mut self) -> ! {
        if nix::unistd::setsid().is_err() || self.arrange_stdio().is_err() {
            leave(254);
        }
        reset_signals();
        if let Some((soft, hard)) = self.open_files {
            let soft = soft.min(1024);
            let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, soft, hard);
        }
        if self.become_account
            && let Err(error) = enter(&self.account)
        {
            complain(&[b"cannot become the account: ", error.desc().as_bytes()]);
            leave(254);
        }
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        if let Err(error) = nix::unistd::chdir(self.account.home.as_c_str()) {
            let home = self.account.home.as_bytes();
            complain(&[b"could not enter home directory ", home, b": ", error.desc().as_bytes()]);
            let _ = nix::unistd::chdir(c"/");
        }
        let env = self.environment();
        close_on_exec_from(3);
        let (error, path) = self.exec(&env);
        complain(&[path, b": ", error.desc().as_bytes()]);
        leave(if error == Errno::ENOENT { 127 } else { 126 })
    }

    fn arrange_stdio(&self) -> Result<(), Errno> {
        let (stdin, stdout, stderr) = match &self.stdio {
            Stdio::Terminal(terminal) => {
                rustix::process::ioctl_tiocsctty(terminal).map_err(|e| Errno::from_raw(e.raw_os_error()))?;
                (terminal.as_fd(), terminal.as_fd(), terminal.as_fd())
            }
            Stdio::Pipes(stdin, stdout, stderr) => (stdin.as_fd(), stdout.as_fd(), stderr.as_fd()),
        };
        nix::unistd::dup2_stdin(stdin)?;
        nix::unistd::dup2_stdout(stdout)?;
        nix::unistd::dup2_stderr(stderr)
    }

    /// With what the account's own file says, and words about what of it is not taken.
    fn environment(&mut self) -> Vec<CString> {
        let env = std::mem::take(&mut self.env);
        if !self.own_env {
            return env.with(own_env::Own::default());
        }
        let own = own_env::read(&self.account.home, self.account.uid);
        for words in &own.complaints {
            complain(&[words.as_bytes()]);
        }
        env.with(own)
    }

    fn exec(&self, env: &[CString]) -> (Errno, &[u8]) {
        match &self.image {
            Image::Path(path) => {
                let Err(error) = nix::unistd::execve(path, &self.argv, env);
                (error, path.as_bytes())
            }
            Image::Own(file) => {
                let Err(error) =
                    nix::unistd::execveat(file, c"", &self.argv, env, nix::fcntl::AtFlags::AT_EMPTY_PATH);
                (error, b"file transfer")
            }
        }
    }
}

/// Becomes the account for good: groups, group, user, in that order, and then the proof that there is no way back.
pub(super) fn enter(Account { uid, gid, groups, .. }: &Account) -> Result<(), Errno> {
    nix::unistd::setgroups(groups)?;
    nix::unistd::setresgid(*gid, *gid, *gid)?;
    nix::unistd::setresuid(*uid, *uid, *uid)?;
    let root = nix::unistd::Uid::from_raw(0);
    if !uid.is_root() && nix::unistd::setresuid(root, root, root).is_ok() {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Every signal back to its default, none blocked: Rust's start ignores SIGPIPE and the spawner blocks SIGCHLD
/// and those that would end it.
fn reset_signals() {
    for number in 1..=64 {
        #[expect(unsafe_code, reason = "the program must not inherit our signal handling")]
        // SAFETY: SIG_DFL installs no handler; a number the kernel does not know is refused with EINVAL.
        unsafe {
            libc::signal(number, libc::SIG_DFL);
        }
    }
    let _ = nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Marks every descriptor from `first` on so that the program does not get it.
fn close_on_exec_from(first: libc::c_uint) {
    #[expect(unsafe_code, reason = "no library wraps close_range with this flag")]
    // SAFETY: only flags of this process's descriptors change; nothing is closed before exec. Kernels before 5.11
    // refuse, and then the flag each descriptor was opened with does the same work.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_uint,
        );
    }
}

/// Closes what is open here apart from the three standard descriptors and these: for a child that is no program.
pub(super) fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open.into_iter().filter(|fd| *fd > 2 && !kept.contains(fd)) {
        // The directory's own is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

fn complain(parts: &[&[u8]]) {
    for part in parts.iter().chain([&b"\r\n".as_slice()]) {
        let _ = nix::unistd::write(io::stderr(), part);
    }
}

/// Forks a helper of the spawner's, and gives the way to it: packets both ways, for us without waiting. `work` is all the
/// helper does, with its own end and the spawner's number; its code is what it gives. Must be called while the process has
/// one thread.
///
/// # Errors
/// There is no socket pair or no process to be had.
pub(super) fn helper(work: impl FnOnce(&OwnedFd, Pid) -> u8) -> io::Result<(Pid, OwnedFd)> {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    // Ours alone: the helper has nothing else to do than wait.
    rustix::io::ioctl_fionbio(&ours, true)?;
    let spawner = nix::unistd::getpid();
    #[expect(unsafe_code, reason = "what may hang must be done by one that can be killed")]
    // SAFETY: the spawner has one thread, so no lock can be held by a thread that does not exist in the child; the
    // child does its work and ends by itself.
    let forked = unsafe { nix::unistd::fork() }?;
    match forked {
        ForkResult::Parent { child } => Ok((child, ours)),
        ForkResult::Child => leave(i32::from(work(&theirs, spawner))),
    }
}

/// This child ends with the spawner; `false` where that has ended already.
pub(super) fn end_with(spawner: Pid) -> bool {
    let bound = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    bound.is_ok() && nix::unistd::getppid() == spawner
}

/// Ends without running anything of the parent's that was copied by the fork.
pub(super) fn leave(code: i32) -> ! {
    #[expect(unsafe_code, reason = "after fork, exit handlers of the parent must not run")]
    // SAFETY: _exit only ends the process.
    unsafe {
        libc::_exit(code)
    }
}

/// Makes the environment of a program: what every session has, then what was asked for and is allowed.
pub(crate) fn environment(account: &Account, asked: Vec<(String, String)>) -> Environment {
    let pair = |name: &str, value: &[u8]| CString::new([name.as_bytes(), b"=", value].concat()).ok();
    let login = account.login.as_bytes();
    let fixed = [
        pair("HOME", account.home.as_bytes()),
        pair("USER", login),
        pair("LOGNAME", login),
        pair("SHELL", account.shell.as_bytes()),
        pair("PATH", crate::env::search_path(account.uid.as_raw()).as_bytes()),
        pair("MAIL", &[b"/var/mail/", login].concat()),
    ];
    let wanted = asked
        .into_iter()
        .filter(|(name, _)| crate::env::service_may_set(name))
        .map(|(name, value)| pair(&name, value.as_bytes()));
    Environment { fixed: fixed.into_iter().flatten().collect(), asked: wanted.flatten().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_starts_empty_and_takes_only_allowed_names() {
        let account = Account {
            login: "ann".into(),
            uid: nix::unistd::Uid::from_raw(1000),
            gid: nix::unistd::Gid::from_raw(1000),
            groups: vec![],
            home: c"/home/ann".into(),
            shell: c"/bin/bash".into(),
        };
        let asked = [("LANG", "C.UTF-8"), ("LD_PRELOAD", "/tmp/x.so"), ("PATH", "/tmp"), ("TERM", "a\0b")]
            .map(|(n, v)| (n.to_owned(), v.to_owned()));

        let env = environment(&account, asked.to_vec()).with(own_env::Own::default());

        assert_eq!(
            env.iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>(),
            [
                "HOME=/home/ann",
                "USER=ann",
                "LOGNAME=ann",
                "SHELL=/bin/bash",
                "PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games",
                "MAIL=/var/mail/ann",
                "LANG=C.UTF-8",
            ]
        );
    }
}
