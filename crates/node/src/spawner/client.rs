//! The unprivileged half's side: handles that ask the spawner and give back what they hold when dropped.
//!
//! One task owns the socket. Questions wait in a queue of [`QUEUE`]; when it is full, askers wait. Answers come in
//! the order of the questions, so no numbers are needed to match them; ends of programs come in between.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::Login;
use runtime::Scope;
use ssh::server::Proof;
use tokio::io::Interest;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::claim::{Claim, MAX_AUTHORITIES};
use super::message::{self, Answer, Exit, MAX, Question, Signal, Size, VERSION};
use super::{Launched, transport};
use crate::Error;
use crate::fd::Watched;

pub use super::message::Program;

/// Questions that may wait.
const QUEUE: usize = 256;

/// How long the host may take to look an account up: its name service may be across a network.
const LOOKUP: Duration = Duration::from_secs(60);
const SLOW_NAMES: &str = "this host takes too long to look the account up: its administrator should see whether its \
                          name service (LDAP, SSSD) answers";

type Reply = Result<(Answer, Vec<OwnedFd>), Error>;

/// Asks the privileged half. Cheap to clone; clones share one conversation.
#[derive(Clone, Debug)]
pub struct Spawner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    asks: mpsc::Sender<Ask>,
    only: Option<Login>,
    /// Handles dropped since the task last looked; bounded by how many were given out.
    dropped: Mutex<Vec<u32>>,
    notify: Notify,
    gone: CancellationToken,
}

#[derive(Debug)]
struct Ask {
    /// Encoded, of at most [`MAX`] bytes.
    question: Vec<u8>,
    reply: oneshot::Sender<Reply>,
    /// Where the end of a program is to be told, for Spawn.
    exit: Option<oneshot::Sender<Exit>>,
}

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
            dropped: Mutex::default(),
            notify: Notify::new(),
            gone: CancellationToken::new(),
        });
        let talk = Talk {
            socket,
            queue,
            unsent: VecDeque::new(),
            answers: VecDeque::new(),
            exits: BTreeMap::new(),
            shared: shared.clone(),
        };
        scope.spawn("spawner", talk.run(buffer));
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
    /// [`Error::Refused`] with words for the person: not proven, unknown, expired, closed host, not root, not in time.
    pub async fn lookup(&self, proof: Proof, from: Option<IpAddr>) -> Result<Account, Error> {
        let login: Login =
            proof.login.parse().map_err(|_| Error::Refused("not the name of an account".to_owned()))?;
        let asked = self.ask(Question::Lookup(Claim { proof, from }));
        let answered = tokio::time::timeout(LOOKUP, asked).await;
        let (answer, _) = answered.map_err(|_| Error::Refused(SLOW_NAMES.to_owned()))??;
        let Answer::Account { account, uid, home, shell, .. } = answer else {
            return Err(Error::Protocol("an answer to another question"));
        };
        let handle = Handle { spawner: self.clone(), handle: account };
        Ok(Account(Arc::new(Known { handle, uid, home: path(home), shell: path(shell), login })))
    }

    async fn ask(&self, question: Question) -> Reply {
        self.ask_with(question, None).await
    }

    async fn ask_with(&self, question: Question, exit: Option<oneshot::Sender<Exit>>) -> Reply {
        let question = question.encode();
        if question.len() > MAX {
            return Err(Error::Refused("the question is too long".into()));
        }
        let (reply, answer) = oneshot::channel();
        self.0.asks.send(Ask { question, reply, exit }).await.map_err(|_| Error::SpawnerGone)?;
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
        let (answer, fds) = spawner.ask_with(question, Some(tell)).await?;
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
        self.bound(spawner.ask(Question::AgentSocket { account }).await?)
    }

    /// A listening socket at `path`, bound with the account's rights and mode 0600.
    ///
    /// # Errors
    /// Anything is there already, or the account may not.
    pub async fn bind(&self, path: &[u8]) -> Result<Bound, Error> {
        let (spawner, account) = self.ask();
        let question = Question::Bind { account, path: checked(path)? };
        self.bound(spawner.ask(question).await?)
    }

    fn bound(&self, (answer, mut fds): (Answer, Vec<OwnedFd>)) -> Result<Bound, Error> {
        match (answer, fds.pop()) {
            (Answer::Socket { socket, path: at }, Some(fd)) => Ok(Bound {
                _handle: Handle { spawner: self.ask().0.clone(), handle: socket },
                socket: fd.into(),
                path: path(at),
            }),
            _ => Err(Error::Protocol("an answer to another question")),
        }
    }

    /// Connects to the socket at `path` with the account's rights. The stream does not block.
    ///
    /// # Errors
    /// Nobody listens there, or the account may not.
    pub async fn connect(&self, path: &[u8]) -> Result<std::os::unix::net::UnixStream, Error> {
        let (spawner, account) = self.ask();
        let question = Question::Connect { account, path: checked(path)? };
        let (answer, mut fds) = spawner.ask(question).await?;
        match (answer, fds.pop()) {
            (Answer::Socket { socket: 0, .. }, Some(fd)) => Ok(fd.into()),
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

type Waiting = (oneshot::Sender<Reply>, Option<oneshot::Sender<Exit>>);

struct Talk {
    socket: Watched,
    queue: mpsc::Receiver<Ask>,
    /// Questions on their way, and who waits for the answers: one somebody asked, or all that was given back together.
    unsent: VecDeque<(Vec<u8>, Option<Waiting>)>,
    /// Who waits for each answer, in order; nobody for what was given back.
    answers: VecDeque<Option<Waiting>>,
    exits: BTreeMap<u32, oneshot::Sender<Exit>>,
    shared: Arc<Shared>,
}

impl Talk {
    async fn run(mut self, mut buffer: Vec<u8>) {
        let gone = self.shared.gone.clone().drop_guard();
        if let Err(error) = self.talk(&mut buffer).await {
            tracing::error!(%error, "spawner lost");
        }
        drop(gone);
    }

    /// Listens at all times: a spawner whose answers nobody takes takes no questions.
    async fn talk(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let shared = self.shared.clone();
        loop {
            // Cancel safe: datagrams are read and written whole or not at all; the others are queues.
            tokio::select! {
                got = read(&self.socket, buffer) => match got? {
                    Some((answer, fds)) => self.hear(answer, fds)?,
                    None => return Err(Error::SpawnerGone),
                },
                sent = write_first(&self.socket, &self.unsent), if !self.unsent.is_empty() => {
                    sent?;
                    self.answers.extend(self.unsent.pop_front().map(|(_, waiting)| waiting));
                }
                Some(ask) = self.queue.recv(), if self.unsent.is_empty() => {
                    self.unsent.push_back((ask.question, Some((ask.reply, ask.exit))));
                }
                () = shared.notify.notified(), if self.unsent.is_empty() => self.give_back(),
            }
        }
    }

    fn give_back(&mut self) {
        let dropped =
            std::mem::take(&mut *self.shared.dropped.lock().unwrap_or_else(PoisonError::into_inner));
        self.unsent.extend(dropped.into_iter().map(|handle| (Question::Close { handle }.encode(), None)));
    }

    fn hear(&mut self, answer: Answer, fds: Vec<OwnedFd>) -> Result<(), Error> {
        if let Answer::Exited { session, exit } = answer {
            if let Some(tell) = self.exits.remove(&session) {
                let _ = tell.send(exit);
            }
            return Ok(());
        }
        let waiting = self.answers.pop_front().ok_or(Error::Protocol("an answer nobody asked for"))?;
        let Some((reply, exit)) = waiting else { return Ok(()) };
        if let (Answer::Spawned { session, .. }, Some(tell)) = (&answer, exit) {
            self.exits.insert(*session, tell);
        }
        let unheard = match answer {
            Answer::Refused { reason } => reply.send(Err(Error::Refused(reason))),
            answer => reply.send(Ok((answer, fds))),
        };
        // An asker that went away drops the descriptors with the answer; what it would have held goes back.
        if let Err(Ok((answer, _))) = unheard {
            self.unsent.extend(answer.undone().map(|question| (question.encode(), None)));
        }
        Ok(())
    }
}

async fn write_first(socket: &Watched, unsent: &VecDeque<(Vec<u8>, Option<Waiting>)>) -> Result<(), Error> {
    match unsent.front() {
        Some((question, _)) => write(socket, question).await,
        None => Ok(()),
    }
}

async fn write(socket: &Watched, bytes: &[u8]) -> Result<(), Error> {
    socket.io(Interest::WRITABLE, |socket| transport::send(socket.as_fd(), bytes, &[])).await.map_err(
        |error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Error::SpawnerGone,
            _ => Error::Io("asking the spawner", error),
        },
    )
}

async fn read(socket: &Watched, buffer: &mut [u8]) -> Result<Option<(Answer, Vec<OwnedFd>)>, Error> {
    let got = socket
        .io(Interest::READABLE, |socket| transport::receive(socket.as_fd(), buffer))
        .await
        .map_err(Error::io("hearing the spawner"))?;
    let Some((len, fds)) = got else { return Ok(None) };
    Ok(Some((Answer::decode(buffer.get(..len).unwrap_or_default())?, fds)))
}
