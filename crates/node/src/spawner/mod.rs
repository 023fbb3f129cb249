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
pub mod message;
mod monitor;
pub mod phase;
mod signal;
mod terminal;
mod transport;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

pub use client::{Account, Bound, Pipes, Program, Pty, Running, Spawner};
pub(crate) use terminal::winsize;

use crate::Error;
use authorities::{Authorities, Pins};

/// The hidden subcommand under which our executable becomes the spawner.
pub const SUBCOMMAND: &str = "spawner";

/// The privileged half's `main`. The socket to the other half is standard input; `pins` is where root keeps whom to
/// believe; `judge` reads certificates.
///
/// Returns when the other half is gone. Must be called while the process has one thread.
///
/// # Errors
/// The socket failed, or a question was malformed or out of phase: someone else is asking.
pub fn main(pins: Option<PathBuf>, judge: claim::Judge) -> Result<(), Error> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(Error::io("taking the socket"))?;
    let null = std::fs::File::open("/dev/null").map_err(Error::io("opening /dev/null"))?;
    nix::unistd::dup2_stdin(&null).map_err(|e| Error::Io("closing standard input", e.into()))?;
    drop(null);
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let _ = nix::unistd::chdir("/");
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    rustix::io::ioctl_fionbio(&socket, true).map_err(|e| Error::Io("preparing the socket", e.into()))?;
    let pins = match pins {
        Some(file) if nix::unistd::Uid::effective().is_root() => Pins::File(file),
        Some(_) | None => Pins::Process,
    };
    monitor::Monitor::new(socket, Authorities::new(judge, pins))?.serve()
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

/// Starts `executable spawner [pins]` with our present privileges; `pins` is the file where root keeps whom to believe,
/// in a directory that is not given away. Call it before they are dropped ([`crate::privilege`]) and before the runtime
/// starts; then [`Spawner::attach`] inside the runtime.
///
/// # Errors
/// The process could not be started.
pub fn launch(executable: &Path, pins: Option<&Path>) -> Result<Launched, Error> {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|e| Error::Io("making a socket pair", e.into()))?;
    rustix::io::ioctl_fionbio(&ours, true).map_err(|e| Error::Io("preparing the socket", e.into()))?;
    let child = Command::new(executable)
        .arg0("moongate")
        .arg(SUBCOMMAND)
        .args(pins)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(Error::io("starting the spawner"))?;
    Ok(Launched { socket: ours, pid: child.id() })
}
