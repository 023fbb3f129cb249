//! The privileged loop: one question at a time, in order, and a word when a program ends or an account is known.
//!
//! Single-threaded, because that is what fork and changing users want. So nothing here waits for anybody but the other
//! half: what may take long, the look-up of an account or the way along a path, is done by other processes (`finder`,
//! `reacher`). Tables are bounded; a handle leads only to what an earlier answer gave. A question that is malformed or out
//! of phase ends the process, and with it every session. An account is opened only for a sign-in that `authorities`
//! believes; policy is not known here.

mod lookup;
mod reach;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use model::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, SigmaskHow, Signal as Sig};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus};
use nix::unistd::Pid;
use rustix::pipe::PipeFlags;

use super::account::{Account, Names, Powers};
use super::as_user;
use super::authorities::Authorities;
use super::child::{Plan, Stdio, environment};
use super::finder::{About, Finder};
use super::jobs::Jobs;
use super::message::{Answer, Exit, MAX, Program, Question, Signal, Size, VERSION};
use super::phase::{Phase, allowed};
use super::reacher::{Reacher, Wish};
use super::transport;
use super::turns::{Job, Turns};
use crate::Error;

/// Most accounts, terminals, programs and sockets together.
const MAX_HANDLES: usize = 65_536;
/// Pipes of programs without a terminal: fewer switches between writer and reader.
const PIPE: usize = 256 * 1024;

/// What a handle leads to.
enum Held {
    /// In `lookups`, until it is an account, or in `turns` or `reaches`, until it is a socket.
    Begun,
    Account {
        account: Account,
        good_until: Timestamp,
    },
    Pty {
        account: u32,
        terminal: OwnedFd,
    },
    Running(Pid),
    Bound {
        account: Account,
        path: PathBuf,
        own_directory: bool,
    },
}

/// An answer with the descriptors that go beside it.
struct Reply(Answer, Vec<OwnedFd>);

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self(answer, Vec::new())
    }
}

fn refused(reason: impl Into<String>) -> Reply {
    Answer::Refused { reason: reason.into() }.into()
}

pub(crate) struct Monitor {
    socket: OwnedFd,
    own: OwnedFd,
    powers: Powers,
    names: Names,
    authorities: Authorities,
    phase: Phase,
    own_env: bool,
    held: BTreeMap<u32, Held>,
    lookups: Jobs<Finder, About>,
    turns: Turns,
    reaches: Jobs<Reacher, Job>,
    next: u32,
}

impl Monitor {
    /// `own_env`: accounts' own files add to the environment of their programs.
    pub(crate) fn new(
        socket: OwnedFd,
        authorities: Authorities,
        names: Names,
        own_env: bool,
    ) -> Result<Self, Error> {
        let own = std::fs::File::open("/proc/self/exe").map_err(Error::io("opening our own executable"))?;
        Ok(Self {
            socket,
            own: own.into(),
            powers: Powers::now(),
            names,
            authorities,
            phase: Phase::Greeting,
            own_env,
            held: BTreeMap::new(),
            lookups: Jobs::default(),
            turns: Turns::default(),
            reaches: Jobs::default(),
            next: 1,
        })
    }

    /// Serves until the other half is gone, whatever signal comes, then hangs up on every program still running.
    pub(crate) fn serve(mut self) -> Result<(), Error> {
        let ended = children_signal().map_err(Error::io("watching for ended programs"))?;
        let mut buffer = vec![0; MAX + 1];
        let outcome = loop {
            if let Err(error) = self.begin_reaches() {
                break Err(error);
            }
            let answered = match self.wait(ended.as_fd()) {
                Ok(answered) => answered,
                Err(error) => break Err(Error::Io("waiting for questions", error)),
            };
            while let Ok(Some(_)) = ended.read_signal() {}
            if let Err(error) = self.tell(&answered) {
                break Err(error);
            }
            match self.turn(&mut buffer) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.hang_up();
        match outcome {
            Err(Error::Io(_, error)) if is_gone(&error) => Ok(()),
            outcome => outcome,
        }
    }

    /// What has happened meanwhile, apart from questions.
    fn tell(&mut self, answered: &[u32]) -> Result<(), Error> {
        self.hear(answered)?;
        self.hear_reaches(answered)?;
        self.reap()?;
        self.give_up_overdue()?;
        self.give_up_overdue_reaches()
    }

    /// Until there is a question, a child has ended, one has an answer, or it is time to give a job up: the jobs that are
    /// answered.
    fn wait(&self, ended: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
        // Not a moment too early: a poll that comes back with nothing to do comes again.
        let at_most = self.patience().map(|time| time.as_millis().saturating_add(1));
        let at_most =
            at_most.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
        let mut fds =
            vec![PollFd::new(self.socket.as_fd(), PollFlags::POLLIN), PollFd::new(ended, PollFlags::POLLIN)];
        let about = fds.len();
        let looked = self.lookups.open().map(|(job, worker, _)| (job, worker.way.as_fd()));
        let reached = self.reaches.open().map(|(job, worker, _)| (job, worker.way.as_fd()));
        let (jobs, ways): (Vec<u32>, Vec<BorrowedFd<'_>>) = looked.chain(reached).unzip();
        fds.extend(ways.into_iter().map(|way| PollFd::new(way, PollFlags::POLLIN)));
        match nix::poll::poll(&mut fds, at_most) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let told = fds.iter().skip(about).map(|fd| fd.any().unwrap_or(true));
        Ok(jobs.into_iter().zip(told).filter_map(|(job, told)| told.then_some(job)).collect())
    }

    /// Answers one question if there is one; `false` at the end of the conversation.
    fn turn(&mut self, buffer: &mut [u8]) -> Result<bool, Error> {
        let got = match transport::receive(&self.socket, buffer) {
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if is_gone(&error) => return Ok(false),
            Err(error) => return Err(Error::Io("reading a question", error)),
        };
        let Some((len, _uninvited)) = got else { return Ok(false) };
        let question = Question::decode(buffer.get(..len).unwrap_or_default())?;
        if !allowed(self.phase, &question) {
            return Err(Error::Protocol("a question out of phase"));
        }
        let Reply(answer, fds) = match self.answer(question) {
            Err(Error::Refused(reason)) => refused(reason),
            answered => answered?,
        };
        self.say(&answer, &fds)?;
        Ok(true)
    }

    fn say(&self, answer: &Answer, fds: &[OwnedFd]) -> Result<(), Error> {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let bytes = answer.encode();
        loop {
            match transport::send(&self.socket, &bytes, &fds) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
                    let waited = nix::poll::poll(&mut fds, PollTimeout::NONE);
                    if waited.is_err_and(|e| e != nix::errno::Errno::EINTR) {
                        return Err(Error::Protocol("the other half does not read"));
                    }
                }
                sent => return sent.map_err(Error::io("answering")),
            }
        }
    }

    fn answer(&mut self, question: Question) -> Result<Reply, Error> {
        if self.held.len() >= MAX_HANDLES && takes_a_handle(&question) {
            return Ok(refused("too many sessions on this host"));
        }
        Ok(match question {
            Question::Hello { version } => self.hello(version)?,
            Question::Trust { authorities } => self.trust(&authorities)?,
            Question::Lookup(claim) => self.lookup(&claim)?,
            Question::OpenPty { account, size } => self.open_pty(account, size)?,
            Question::Spawn { account, pty, program, env } => self.spawn(account, pty, program, env)?,
            Question::Signal { session, signal } => self.signal(session, signal),
            Question::AgentSocket { account } => self.reach(account, |_| Wish::Agent)?,
            Question::Bind { account, path } => {
                self.reach(account, |owner| Wish::Bind(as_user::resolve(owner, &path)))?
            }
            Question::Connect { account, path } => {
                self.reach(account, |owner| Wish::Connect(as_user::resolve(owner, &path)))?
            }
            Question::Close { handle } => self.close(handle),
        })
    }

    fn hello(&mut self, version: u16) -> Result<Reply, Error> {
        if version != VERSION {
            return Err(Error::Protocol("another version"));
        }
        self.phase = Phase::Serving;
        let only = match &self.powers {
            Powers::Anyone => None,
            Powers::Only(name) => Some(name.clone()),
        };
        Ok(Answer::Hello { version: VERSION, only }.into())
    }

    fn hold(&mut self, held: Held) -> u32 {
        let mut handle = self.next.max(1);
        while self.held.contains_key(&handle) {
            handle = handle.wrapping_add(1).max(1);
        }
        self.next = handle.wrapping_add(1);
        self.held.insert(handle, held);
        handle
    }

    /// The account behind a handle, while its certificate is good. Asking with a handle that is none is a breach, not
    /// a mistake.
    fn account(&self, handle: u32) -> Result<&Account, Error> {
        match self.held.get(&handle) {
            Some(Held::Account { account, good_until }) if now() < *good_until => Ok(account),
            Some(Held::Account { .. }) => Err(Error::Refused("the certificate has expired".to_owned())),
            _ => Err(Error::Protocol("a handle that is no account")),
        }
    }

    fn trust(&mut self, authorities: &[Vec<u8>]) -> Result<Reply, Error> {
        self.authorities.told(authorities).map_err(|why| told_log("trust", why))?;
        Ok(Answer::Done.into())
    }

    fn open_pty(&mut self, account: u32, size: Size) -> Result<Reply, Error> {
        let owner = self.account(account)?;
        Ok(match super::terminal::open(owner, size) {
            Ok((master, terminal, path)) => {
                let pty = self.hold(Held::Pty { account, terminal });
                Reply(Answer::Pty { pty, path }, vec![master])
            }
            Err(error) => refused(format!("no terminal: {error}")),
        })
    }

    fn spawn(
        &mut self,
        account: u32,
        pty: Option<u32>,
        program: Program,
        env: Vec<(String, String)>,
    ) -> Result<Reply, Error> {
        let owner = self.account(account)?.clone();
        let (stdio, ours) = match pty {
            Some(pty) => match self.held.remove(&pty) {
                Some(Held::Pty { account: of, terminal }) if of == account => {
                    (Stdio::Terminal(terminal), Vec::new())
                }
                _ => return Err(Error::Protocol("a handle that is not this account's terminal")),
            },
            None => match pipes() {
                Ok((stdio, ours)) => (stdio, ours),
                Err(error) => return Ok(refused(format!("no pipes: {error}"))),
            },
        };
        let env = environment(&owner, env);
        let plan = match Plan::new(&owner, program, stdio, env, (self.own.as_fd(), self.own_env)) {
            Ok(plan) => plan,
            Err(reason) => return Ok(refused(reason)),
        };
        Ok(match plan.start() {
            Ok(child) => {
                let session = self.hold(Held::Running(child));
                let pid = u32::try_from(child.as_raw()).unwrap_or_default();
                Reply(Answer::Spawned { session, pid }, ours)
            }
            Err(error) => refused(format!("no process: {error}")),
        })
    }

    fn signal(&mut self, session: u32, signal: Signal) -> Reply {
        // An ended program's handle is gone before its process id can be another's.
        if let Some(Held::Running(child)) = self.held.get(&session)
            && let Ok(signal) = Sig::try_from(i32::from(signal as u8))
        {
            // A child that has just been made is not the leader of a group yet, and is all there is of it.
            if nix::sys::signal::killpg(*child, signal) == Err(nix::errno::Errno::ESRCH) {
                let _ = nix::sys::signal::kill(*child, signal);
            }
        }
        Answer::Done.into()
    }

    fn close(&mut self, handle: u32) -> Reply {
        match self.held.remove(&handle) {
            Some(Held::Bound { account, path, own_directory }) => self.remove(account, path, own_directory),
            Some(running @ Held::Running(_)) => {
                // Only its end closes a program.
                self.held.insert(handle, running);
            }
            Some(Held::Begun) => {
                self.give_up(handle);
                self.give_up_reach(handle);
            }
            Some(Held::Account { .. } | Held::Pty { .. }) | None => {}
        }
        Answer::Done.into()
    }

    /// Tells of every program that has ended, and what look-ups have found.
    fn reap(&mut self) -> Result<(), Error> {
        loop {
            let (pid, exit) = match nix::sys::wait::waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Exit::Code(u8::try_from(code).unwrap_or(255))),
                Ok(WaitStatus::Signaled(pid, signal, core)) => {
                    (pid, Exit::Signal { number: u8::try_from(signal as i32).unwrap_or(0), core })
                }
                Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return Ok(()),
                Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(Error::Io("collecting ended programs", error.into())),
            };
            let session = self
                .held
                .iter()
                .find(|(_, held)| matches!(held, Held::Running(child) if *child == pid))
                .map(|(session, _)| *session);
            if let Some(session) = session {
                self.held.remove(&session);
                self.say(&Answer::Exited { session, exit }, &[])?;
            } else {
                self.broke_off(pid)?;
                self.broke_off_reach(pid)?;
            }
        }
    }

    fn hang_up(mut self) {
        self.end_lookups();
        for held in self.held.values() {
            if let Held::Running(child) = held {
                let _ = nix::sys::signal::killpg(*child, Sig::SIGHUP);
            }
        }
        self.remove_all();
    }
}

/// Whether something is held for the answer. All else, above all ending programs, goes on where no more can be held.
fn takes_a_handle(question: &Question) -> bool {
    match question {
        Question::Lookup(_)
        | Question::OpenPty { .. }
        | Question::Spawn { .. }
        | Question::AgentSocket { .. }
        | Question::Bind { .. }
        | Question::Connect { .. } => true,
        Question::Hello { .. }
        | Question::Trust { .. }
        | Question::Signal { .. }
        | Question::Close { .. } => false,
    }
}

/// The other half has ended.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Its number is its own until it is collected.
fn end(child: Pid) {
    let _ = nix::sys::signal::kill(child, Sig::SIGKILL);
}

/// The child's ends and ours, in the order stdin, stdout, stderr.
fn pipes() -> io::Result<(Stdio, Vec<OwnedFd>)> {
    let pipe = || -> io::Result<(OwnedFd, OwnedFd)> {
        let ends = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // A smaller pipe only costs speed.
        let _ = rustix::pipe::fcntl_setpipe_size(&ends.0, PIPE);
        Ok(ends)
    };
    let (stdin, to_stdin) = pipe()?;
    let (from_stdout, stdout) = pipe()?;
    let (from_stderr, stderr) = pipe()?;
    Ok((Stdio::Pipes(stdin, stdout, stderr), vec![to_stdin, from_stdout, from_stderr]))
}

fn children_signal() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    mask.add(Sig::SIGCHLD);
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)?;
    // A key on the terminal or a supervisor may tell the whole group: then the other half drains, and needs us until it
    // is gone.
    let told: SigSet = [Sig::SIGTERM, Sig::SIGINT, Sig::SIGHUP, Sig::SIGQUIT].into_iter().collect();
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_BLOCK, Some(&told), None)?;
    Ok(SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// Says on the service's standard error what the other half must not be able to hide.
fn told_log(about: &str, why: String) -> Error {
    let line: String = format!("{about}: {why}").chars().filter(|c| !c.is_control()).take(1024).collect();
    eprintln!("moongate spawner: refused: {line}");
    Error::Refused(why)
}

fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the spawner has no one to be given a clock by")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    use super::super::authorities::Pins;
    use super::*;

    #[test]
    fn programs_can_be_ended_where_no_more_can_be_held() {
        let (ours, _theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        let nobody: super::super::claim::Judge = |_, _, _, _| Err("nobody".to_owned());
        let mut monitor =
            Monitor::new(ours, Authorities::new(nobody, Pins::Process), Names::SYSTEM, false).unwrap();
        let path = || PathBuf::from("/nowhere");
        let account = || Account {
            login: "ann".into(),
            uid: nix::unistd::Uid::current(),
            gid: nix::unistd::Gid::current(),
            groups: vec![],
            home: c"/".into(),
            shell: c"/bin/sh".into(),
        };
        for _ in 0..MAX_HANDLES {
            monitor.hold(Held::Bound { account: account(), path: path(), own_directory: false });
        }
        let mut ask = |question| monitor.answer(question).map(|Reply(answer, _)| answer).unwrap();

        let refused = ask(Question::Bind { account: 1, path: b"x".to_vec() });
        let ended = ask(Question::Signal { session: 70_000, signal: Signal::Kill });

        assert!(matches!(refused, Answer::Refused { .. }));
        assert_eq!(ended, Answer::Done);
    }
}
