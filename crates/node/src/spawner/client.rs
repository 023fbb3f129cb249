//! The unprivileged half's side: handles that ask the spawner and give back what they hold when dropped.
//!
//! One task owns the socket (`talk`). Questions wait in a queue of [`QUEUE`]; when it is full, askers wait.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::Login;
use runtime::Scope;
use ssh::server::Proof;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Launched;
use super::claim::{Claim, MAX_AUTHORITIES};
use super::finder::BUSY;
use super::jobs::ASKED;
use super::message::{self, Answer, Exit, MAX, Question, Signal, Size, VERSION};
use super::talk::{Ask, Later, Reply, Shared, Talk, read, write};
use crate::Error;
use crate::fd::Watched;

pub use super::message::Program;

/// Questions that may wait.
const QUEUE: usize = 256;

/// How long one may wait for a place among the look-ups.
const ROOM: Duration = Duration::from_secs(10);
/// How long the spawner may take over what it has begun. It gives up long before that itself.
const BEGUN: Duration = Duration::from_secs(90);
const SILENT: &str = "the privileged half of this service does not answer: the host's administrator should see what \
                      keeps the process `moongate spawner` from running";

/// Asks the privileged half. Cheap to clone; clones share one conversation.
#[derive(Clone, Debug)]
pub struct Spawner(Arc<Shared>);

impl Spawner {
    /// Greets a launched spawner. The task that talks to it lives in `scope`.
    ///
    /// # Errors
    /// It does not answer as one of our version does.
    pub async fn attach(launched: Launched, scope: &Scope) -> Result<Self, Error> {
        let socket = Watched::new(launched.socket).map_err(Error::io("watching the socket"))?;
        let mut buffer = vec![0; MAX];
        let hello = Question::Hello { version: VERSION }.encode();
        write(&socket, &hello).await?;
        let only = match read(&socket, &mut buffer).await? {
            Some((Answer::Hello { version: VERSION, only }, _)) => only,
            Some(_) => return Err(Error::Protocol("no greeting")),
            None => return Err(Error::SpawnerGone),
        };
        let only = only.map(|name| name.parse::<Login>()).transpose();
        let only = only.map_err(|_| Error::Refused("this process's user has no usable name".into()))?;
        let (asks, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            asks,
            only,
            places: Semaphore::new(ASKED),
            dropped: Mutex::default(),
            notify: Notify::new(),
            gone: CancellationToken::new(),
        });
        scope.spawn("spawner", Talk::new(socket, queue, shared.clone()).run(buffer));
        Ok(Self(shared))
    }

    /// The only account sessions can have, when the spawner is not root.
    #[must_use]
    pub fn only_login(&self) -> Option<&Login> {
        self.0.only.as_ref()
    }

    /// Waits until the spawner is gone. A service that sees this must end.
    pub async fn gone(&self) {
        self.0.gone.cancelled().await;
    }

    /// Tells the public keys (as SSH packs them) of the authorities whose user certificates count from now on.
    ///
    /// # Errors
    /// [`Error::Refused`] with words for the log: some of them are not believed.
    pub async fn trust(&self, authorities: Vec<Vec<u8>>) -> Result<(), Error> {
        if authorities.len() > MAX_AUTHORITIES {
            return Err(Error::Refused(format!("more than {MAX_AUTHORITIES} user authorities")));
        }
        self.ask(Question::Trust { authorities }).await.map(drop)
    }

    /// Opens the account somebody has signed for, from this address. What it gives is good for one connection's life,
    /// and starts nothing once the certificate has ended; the next connection brings its own proof.
    ///
    /// # Errors
    /// [`Error::Refused`] with words for the person: not proven, unknown, expired, closed host, not root, not in time,
    /// too many at a time.
    pub async fn lookup(&self, proof: Proof, from: Option<IpAddr>) -> Result<Account, Error> {
        let login: Login =
            proof.login.parse().map_err(|_| Error::Refused("not the name of an account".to_owned()))?;
        let place = tokio::time::timeout(ROOM, self.0.places.acquire()).await;
        let _place = place.map_err(|_| Error::Refused(BUSY.to_owned()))?.map_err(|_| Error::SpawnerGone)?;
        let (handle, answer, _) = self.begin(Question::Lookup(Claim { proof, from })).await?;
        match answer {
            Answer::Found { uid, home, shell, .. } => {
                Ok(Account(Arc::new(Known { handle, uid, home: path(home), shell: path(shell), login })))
            }
            _ => Err(Error::Protocol("an answer to another question")),
        }
    }

    /// Asks for what other processes do, and waits for what comes of it. Dropped, it is given up there too.
    async fn begin(&self, question: Question) -> Result<(Handle, Answer, Vec<OwnedFd>), Error> {
        let done = tokio::time::timeout(BEGUN, self.done(question)).await;
        done.map_err(|_| Error::Refused(SILENT.to_owned()))?
    }

    async fn done(&self, question: Question) -> Result<(Handle, Answer, Vec<OwnedFd>), Error> {
        let (tell, told) = oneshot::channel();
        let (answer, _) = self.ask_with(question, Some(Later::Done(tell))).await?;
        let Answer::Begun { handle } = answer else {
            return Err(Error::Protocol("an answer to another question"));
        };
        let handle = Handle { spawner: self.clone(), handle };
        match told.await.map_err(|_| Error::SpawnerGone)? {
            (Answer::Denied { reason, .. }, _) => Err(Error::Refused(reason)),
            (answer, fds) => Ok((handle, answer, fds)),
        }
    }

    async fn ask(&self, question: Question) -> Reply {
        self.ask_with(question, None).await
    }

    async fn ask_with(&self, question: Question, later: Option<Later>) -> Reply {
        let question = question.encode();
        if question.len() > MAX {
            return Err(Error::Refused("the question is too long".into()));
        }
        let (reply, answer) = oneshot::channel();
        self.0.asks.send(Ask { question, reply, later }).await.map_err(|_| Error::SpawnerGone)?;
        answer.await.unwrap_or(Err(Error::SpawnerGone))
    }
}

/// Gives its handle back when dropped.
#[derive(Debug)]
struct Handle {
    spawner: Spawner,
    handle: u32,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let shared = &self.spawner.0;
        shared.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(self.handle);
        shared.notify.notify_one();
    }
}

/// A local account that may have sessions. Clones share it; the last one dropped gives it back.
#[derive(Clone, Debug)]
pub struct Account(Arc<Known>);

#[derive(Debug)]
struct Known {
    handle: Handle,
    login: Login,
    uid: u32,
    home: PathBuf,
    shell: PathBuf,
}

/// A terminal waiting for its program. Its master is ours to size and set up.
#[derive(Debug)]
pub struct Pty {
    handle: Handle,
    /// Our side.
    pub master: OwnedFd,
    /// The path of the other side.
    pub path: PathBuf,
}

/// Our ends of a program's standard descriptors.
#[derive(Debug)]
pub struct Pipes {
    /// To write to.
    pub stdin: OwnedFd,
    /// To read from.
    pub stdout: OwnedFd,
    /// To read from.
    pub stderr: OwnedFd,
}

/// A program that was started.
#[derive(Debug)]
pub struct Running {
    spawner: Spawner,
    session: u32,
    /// Its process id, for logs only.
    pub pid: u32,
    exit: oneshot::Receiver<Exit>,
    ended: Option<Exit>,
}

/// A listening socket made as an account. Dropping it removes its path.
#[derive(Debug)]
pub struct Bound {
    _handle: Handle,
    /// The socket; not blocking.
    pub socket: std::os::unix::net::UnixListener,
    /// Its path.
    pub path: PathBuf,
}

impl Account {
    /// Its name.
    #[must_use]
    pub fn login(&self) -> &Login {
        &self.0.login
    }

    /// Its user id.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.0.uid
    }

    /// Its home directory.
    #[must_use]
    pub fn home(&self) -> &std::path::Path {
        &self.0.home
    }

    /// Its shell.
    #[must_use]
    pub fn shell(&self) -> &std::path::Path {
        &self.0.shell
    }

    fn ask(&self) -> (&Spawner, u32) {
        (&self.0.handle.spawner, self.0.handle.handle)
    }

    /// Opens a terminal.
    ///
    /// # Errors
    /// The host has no more terminals.
    pub async fn open_pty(&self, size: Size) -> Result<Pty, Error> {
        let (spawner, account) = self.ask();
        let (answer, mut fds) = spawner.ask(Question::OpenPty { account, size }).await?;
        match (answer, fds.pop()) {
            (Answer::Pty { pty, path: at }, Some(master)) => {
                Ok(Pty { handle: Handle { spawner: spawner.clone(), handle: pty }, master, path: path(at) })
            }
            _ => Err(Error::Protocol("an answer to another question")),
        }
    }

    /// Starts a program on a terminal; its master is returned.
    ///
    /// # Errors
    /// The host has no more processes, or the command cannot be one.
    pub async fn run_on_pty(
        &self,
        pty: Pty,
        program: Program,
        env: Vec<(String, String)>,
    ) -> Result<(Running, OwnedFd), Error> {
        let (running, _) = self.run(Some(pty.handle.handle), program, env).await?;
        Ok((running, pty.master))
    }

    /// Starts a program on three pipes.
    ///
    /// # Errors
    /// The host has no more processes, or the command cannot be one.
    pub async fn run_on_pipes(
        &self,
        program: Program,
        env: Vec<(String, String)>,
    ) -> Result<(Running, Pipes), Error> {
        let (running, fds) = self.run(None, program, env).await?;
        match <[OwnedFd; 3]>::try_from(fds) {
            Ok([stdin, stdout, stderr]) => Ok((running, Pipes { stdin, stdout, stderr })),
            Err(_) => Err(Error::Protocol("not three pipes")),
        }
    }

    async fn run(
        &self,
        pty: Option<u32>,
        program: Program,
        mut env: Vec<(String, String)>,
    ) -> Result<(Running, Vec<OwnedFd>), Error> {
        if matches!(&program, Program::Command(command) if command.len() > message::MAX_COMMAND) {
            return Err(Error::Refused("the command is too long".into()));
        }
        env.truncate(message::MAX_ENV);
        env.retain(|(_, value)| value.len() <= message::MAX_VALUE);
        let (spawner, account) = self.ask();
        let (tell, exit) = oneshot::channel();
        let question = Question::Spawn { account, pty, program, env };
        let (answer, fds) = spawner.ask_with(question, Some(Later::Exit(tell))).await?;
        let Answer::Spawned { session, pid } = answer else {
            return Err(Error::Protocol("an answer to another question"));
        };
        Ok((Running { spawner: spawner.clone(), session, pid, exit, ended: None }, fds))
    }

    /// A listening socket for a forwarded agent, in a directory only the account can enter.
    ///
    /// # Errors
    /// It could not be made.
    pub async fn agent_socket(&self) -> Result<Bound, Error> {
        let (spawner, account) = self.ask();
        bound(spawner.begin(Question::AgentSocket { account }).await?)
    }

    /// A listening socket at `path`, bound with the account's rights and mode 0600.
    ///
    /// # Errors
    /// Anything is there already, the account may not, or the file system there does not answer.
    pub async fn bind(&self, path: &[u8]) -> Result<Bound, Error> {
        let (spawner, account) = self.ask();
        let question = Question::Bind { account, path: checked(path)? };
        bound(spawner.begin(question).await?)
    }

    /// Connects to the socket at `path` with the account's rights. The stream does not block.
    ///
    /// # Errors
    /// Nobody listens there, the account may not, or the file system there does not answer.
    pub async fn connect(&self, path: &[u8]) -> Result<std::os::unix::net::UnixStream, Error> {
        let (spawner, account) = self.ask();
        let question = Question::Connect { account, path: checked(path)? };
        let (_, answer, mut fds) = spawner.begin(question).await?;
        match (answer, fds.pop()) {
            (Answer::Socket { .. }, Some(fd)) => Ok(fd.into()),
            _ => Err(Error::Protocol("an answer to another question")),
        }
    }
}

impl Running {
    /// Signals the program's process group. Does nothing once it has ended.
    ///
    /// # Errors
    /// The spawner is gone.
    pub async fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.spawner.ask(Question::Signal { session: self.session, signal }).await.map(|_| ())
    }

    /// Waits for its end. Safe to cancel and to call again.
    ///
    /// # Errors
    /// The spawner is gone.
    pub async fn ended(&mut self) -> Result<Exit, Error> {
        if let Some(exit) = self.ended {
            return Ok(exit);
        }
        let exit = (&mut self.exit).await.map_err(|_| Error::SpawnerGone)?;
        self.ended = Some(exit);
        Ok(exit)
    }
}

fn bound((handle, answer, mut fds): (Handle, Answer, Vec<OwnedFd>)) -> Result<Bound, Error> {
    match (answer, fds.pop()) {
        (Answer::Socket { path: at, .. }, Some(fd)) => {
            Ok(Bound { _handle: handle, socket: fd.into(), path: path(at) })
        }
        _ => Err(Error::Protocol("an answer to another question")),
    }
}

fn checked(path: &[u8]) -> Result<Vec<u8>, Error> {
    // sun_path holds 108 bytes with its end.
    if path.is_empty() || path.len() > 107 || path.contains(&0) {
        return Err(Error::Refused("not a socket path".into()));
    }
    Ok(path.to_vec())
}

fn path(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}
