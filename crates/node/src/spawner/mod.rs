//! The privileged half of a host's SSH service: a small process that starts programs as local accounts.
//!
//! It is our own executable started again (`moongate spawner`) before the service gives up its privileges, with an
//! empty environment and one socket. It answers a short, phase-gated list of questions (`message`, `phase`), believes
//! no word about who somebody is (`claim`, `authorities`), and knows nothing of networks, policy or recordings. When the
//! service is gone it hangs up on every program and ends; when *it* is gone the service can start nothing more and must
//! end too ([`Spawner::gone`]).

mod account;
mod as_user;
mod authorities;
mod child;
pub mod claim;
mod client;
mod finder;
pub(crate) mod found;
mod jobs;
pub mod message;
mod monitor;
mod own_env;
pub mod phase;
pub(crate) mod reacher;
mod signal;
mod talk;
mod terminal;
mod transport;
mod turns;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

pub use account::Names;
pub use client::{Account, Bound, Pipes, Program, Pty, Running, Spawner};
pub(crate) use terminal::winsize;

use crate::Error;
use authorities::{Authorities, Pins};

/// The hidden subcommand under which our executable becomes the spawner.
pub const SUBCOMMAND: &str = "spawner";

/// What the privileged half is told when it is started, and by nobody later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// The file where root keeps whom to believe, in a directory that is not given away.
    pub pins: Option<PathBuf>,
    /// `permit_user_env`: an account's own file adds to the environment of its programs.
    pub own_env: bool,
}

/// Says that accounts' own files count.
const OWN_ENV: &str = "--own-env";

impl Orders {
    /// Reads them off the command line, after the subcommand.
    #[must_use]
    pub fn read(words: &[OsString]) -> Self {
        let own_env = words.iter().any(|word| word == OWN_ENV);
        let pins = words.iter().find(|word| *word != OWN_ENV).map(PathBuf::from);
        Self { pins, own_env }
    }

    fn words(&self) -> impl Iterator<Item = &OsStr> {
        let flag = self.own_env.then_some(OsStr::new(OWN_ENV));
        flag.into_iter().chain(self.pins.as_deref().map(Path::as_os_str))
    }
}

/// The privileged half's `main`. The socket to the other half is standard input; `judge` reads certificates, `names` knows
/// accounts.
///
/// Returns when the other half is gone. Must be called while the process has one thread.
///
/// # Errors
/// The socket failed, or a question was malformed or out of phase: someone else is asking.
pub fn main(orders: Orders, judge: claim::Judge, names: Names) -> Result<(), Error> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(Error::io("taking the socket"))?;
    let null = std::fs::File::open("/dev/null").map_err(Error::io("opening /dev/null"))?;
    nix::unistd::dup2_stdin(&null).map_err(|e| Error::Io("closing standard input", e.into()))?;
    drop(null);
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let _ = nix::unistd::chdir("/");
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    rustix::io::ioctl_fionbio(&socket, true).map_err(|e| Error::Io("preparing the socket", e.into()))?;
    let pins = match orders.pins {
        Some(file) if nix::unistd::Uid::effective().is_root() => Pins::File(file),
        Some(_) | None => Pins::Process,
    };
    monitor::Monitor::new(socket, Authorities::new(judge, pins), names, orders.own_env)?.serve()
}

/// A spawner that was started and not yet spoken to.
#[derive(Debug)]
pub struct Launched {
    socket: OwnedFd,
    pid: u32,
}

impl Launched {
    /// The spawner's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

/// Starts `executable spawner` with these orders and our present privileges. Call it before they are dropped
/// ([`crate::privilege`]) and before the runtime starts; then [`Spawner::attach`] inside the runtime.
///
/// # Errors
/// The process could not be started.
pub fn launch(executable: &Path, orders: &Orders) -> Result<Launched, Error> {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|e| Error::Io("making a socket pair", e.into()))?;
    rustix::io::ioctl_fionbio(&ours, true).map_err(|e| Error::Io("preparing the socket", e.into()))?;
    let child = Command::new(executable)
        .arg0("moongate")
        .arg(SUBCOMMAND)
        .args(orders.words())
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(Error::io("starting the spawner"))?;
    Ok(Launched { socket: ours, pid: child.id() })
}
