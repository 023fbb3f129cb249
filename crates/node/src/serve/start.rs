//! Starts what a channel asks for, as a session: decided, on record, then running, then over.
//!
//! The order is the point: no permit, no session; no acknowledged start, no process; no process, no first byte.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use model::resource::Notice as Told;
use policy::{Denial, Permit, SshAction};
use runtime::Seldom;
use session::event::{SessionRef, Status, kinds};
use session::{About, EndReason, Kind, Outcome, Session, Stream, Terms};
use ssh::{Channel, Request};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::files::Files;
use super::keep::{self, Bell, Key};
use super::notice;
use super::report::{connection_of, server_of};
use super::visit::Visit;
use super::wishes::{Terminal, Wishes};
use crate::copy::{self, Copy};
use crate::kept::{self, Visitor};
use crate::pump::{self, Stopped, Taps};
use crate::sftp::watch::Watcher;
use crate::spawner::message::Exit;
use crate::spawner::{self, Account, Running};

/// What a channel asks to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Shell,
    Command(Vec<u8>),
    Subsystem(String),
}

impl Program {
    pub(super) fn command(&self) -> String {
        match self {
            Program::Shell => String::new(),
            Program::Command(command) => String::from_utf8_lossy(command).into_owned(),
            Program::Subsystem(name) => name.clone(),
        }
    }

    /// What the rules must grant: all of it.
    fn actions(&self, copy: Option<&Copy>) -> &'static [SshAction] {
        match (self, copy) {
            (Program::Shell, _) => &[SshAction::Shell],
            (Program::Command(_), None) => &[SshAction::Exec],
            (Program::Command(_), Some(_)) => &[SshAction::Exec, SshAction::FileCopy],
            (Program::Subsystem(_), _) => &[SshAction::FileCopy],
        }
    }

    fn kind(&self, terminal: Option<&Terminal>) -> Kind {
        match (self, terminal) {
            (Program::Subsystem(_), _) => Kind::Subsystem,
            (Program::Shell, _) | (_, Some(_)) => Kind::Shell,
            (Program::Command(_), None) => Kind::Exec,
        }
    }
}

/// How a start that is not allowed ends for the client.
const REFUSED: u32 = 255;

/// Starts the program and serves it to its end.
pub(super) async fn run(
    visit: &Arc<Visit>,
    channel: &Channel,
    mut wishes: Wishes,
    program: Program,
    request: Request,
) {
    let command = program.command();
    let copy = matches!(program, Program::Command(_)).then(|| copy::asked(&command)).flatten();
    if let Program::Subsystem(name) = &program
        && name != "sftp"
    {
        record_refusal(visit, &program, copy.as_ref(), "unknown subsystem").await;
        return request.refuse();
    }
    if matches!(program, Program::Subsystem(_)) {
        // Files pass over pipes, where what is done to them is seen. A terminal set to change nothing would carry them
        // past that.
        wishes.pty = None;
    }
    let permit = match decide(visit, &program, copy.as_ref()) {
        Ok(permit) => permit,
        Err(denial) => {
            record_refusal(visit, &program, copy.as_ref(), &denial.to_string()).await;
            request.accept();
            return farewell(channel, Denial::PUBLIC).await;
        }
    };
    let account = match &visit.account {
        Ok(account) => account.clone(),
        Err(words) => {
            record_refusal(visit, &program, copy.as_ref(), words).await;
            request.accept();
            return farewell(channel, words).await;
        }
    };
    let told = permit.obligations().recording.notice;
    let about = about(visit, &permit, &program, wishes.pty.as_ref());
    let terms = Terms::of(permit, Some(visit.seat.clone()));
    let kept = visit.node.0.settings.session_grace > Duration::ZERO
        && matches!(program, Program::Shell)
        && wishes.keep.is_some()
        && wishes.pty.is_some();
    let scope = if kept { &visit.stay } else { &visit.scope };
    let session = match visit.node.0.deps.sessions.open(terms, about, scope).await {
        Ok(session) => session,
        Err(error) => {
            tracing::warn!(%error, "no session");
            request.accept();
            return farewell(channel, &why_no_session(&error, told)).await;
        }
    };
    let told = (told, wishes.agreed);
    if !kept {
        wishes.keep = None;
        return perform((visit, channel), (session, account, told), wishes, (program, copy), request).await;
    }
    let gone = CancellationToken::new();
    wishes.gone = Some(gone.clone().drop_guard());
    let (visit, channel) = (visit.clone(), channel.clone());
    visit.stay.clone().spawn_graceful("kept shell", async move {
        perform((&visit, &channel), (session, account, told), wishes, (program, copy), request).await;
    });
    gone.cancelled().await;
}

/// Runs it to its end.
async fn perform(
    (visit, channel): (&Arc<Visit>, &Channel),
    (session, account, told): (Session, Account, (Told, bool)),
    wishes: Wishes,
    (program, copy): (Program, Option<Copy>),
    request: Request,
) {
    let run = Run { visit, channel, session: &session, account: &account, told };
    let stopped = run.serve(wishes, &program, request).await;
    let outcome = run.conclude(stopped, &program, copy.as_ref()).await;
    session.finish(outcome);
}

/// What the person may know about a session that could not be: nothing of recordings where the rules are silent.
fn why_no_session(error: &session::Error, told: Told) -> String {
    match (error, told) {
        (session::Error::NotOnRecord(_) | session::Error::Spool(_), Told::Silent) => {
            "the session could not be started".to_owned()
        }
        (error, _) => error.to_string(),
    }
}

fn decide(visit: &Visit, program: &Program, copy: Option<&Copy>) -> Result<Permit, Denial> {
    let mut granted = Err(Denial::NotGranted);
    for what in program.actions(copy) {
        granted = Ok(visit.ask(*what)?);
    }
    granted
}

fn about(visit: &Visit, permit: &Permit, program: &Program, terminal: Option<&Terminal>) -> About {
    About {
        // The door lets in users only.
        user: visit.user.clone(),
        login: visit.login.clone(),
        impersonator: visit.who.impersonator.as_ref().map(ToString::to_string),
        kind: program.kind(terminal),
        command: program.command(),
        term: terminal.map(|terminal| terminal.term.clone()).unwrap_or_default(),
        size: terminal.map(|terminal| (terminal.size.cols, terminal.size.rows)),
        client_addr: visit.peer.client.map(|client| client.to_string()).unwrap_or_default(),
        local_addr: visit.peer.local.map(|local| local.to_string()),
        roles: vec![permit.granted_by().to_string()],
        revision: Some(permit.revision()),
    }
}

/// Tells why nothing runs, and closes.
async fn farewell(channel: &Channel, words: &str) {
    drop(channel.write_stderr(format!("{words}\r\n").as_bytes()).await);
    channel.exit_status(REFUSED);
    channel.eof();
    channel.close();
}

async fn record_refusal(visit: &Visit, program: &Program, copy: Option<&Copy>, why: &str) {
    let (who, server, connection) = (visit.who(), server_of(&visit.node), connection_of(&visit.peer));
    let (session, status) = (SessionRef::default(), Status::failed(why));
    if copy.is_some_and(|copy| copy.scp) {
        return visit.emit(&kinds::ScpDisallowed { who, server, session, status }).await;
    }
    match program {
        Program::Subsystem(name) => {
            let name = name.clone();
            visit.emit(&kinds::Subsystem { who, server, connection, session, status, name }).await;
        }
        Program::Shell | Program::Command(_) => {
            let exit_error = Some(why.to_owned());
            let (login, command) = (visit.login.to_string(), program.command());
            let event = kinds::Exec {
                who,
                server,
                connection,
                session,
                status,
                login,
                command,
                exit_error,
                ..kinds::Exec::default()
            };
            visit.emit(&event).await;
        }
    }
}

/// A session that is on record, and what it runs with.
pub(super) struct Run<'a> {
    pub(super) visit: &'a Arc<Visit>,
    pub(super) channel: &'a Channel,
    pub(super) session: &'a Session,
    pub(super) account: &'a Account,
    /// What the person is told of being recorded, and whether they agreed beforehand.
    pub(super) told: (Told, bool),
}

/// How it went.
struct Stop<'a> {
    stopped: Stopped,
    running: Option<Running>,
    taps: Taps,
    files: Option<Files<'a>>,
    /// Who was at a kept shell last, if anybody was.
    last: Option<Visitor>,
}

impl Stop<'_> {
    /// Nothing ran.
    fn before(stopped: Stopped) -> Self {
        Self { stopped, running: None, taps: Taps::default(), files: None, last: None }
    }
}

impl<'a> Run<'a> {
    async fn serve(&self, mut wishes: Wishes, program: &Program, request: Request) -> Stop<'a> {
        let terminal = wishes.pty.take();
        let key = wishes.keep.take().zip(wishes.gone.take());
        let env = self.environment(wishes, terminal.as_ref());
        let start = match program {
            Program::Shell => spawner::Program::Shell,
            Program::Command(command) => spawner::Program::Command(command.clone()),
            Program::Subsystem(_) => spawner::Program::FileTransfer,
        };
        match terminal {
            Some(terminal) => self.on_terminal((terminal, key), start, env, request).await,
            None => self.on_pipes(start, env, request).await,
        }
    }

    fn nothing(why: &crate::Error) -> Stop<'a> {
        Stop::before(Stopped::Failed(pump::words(why)))
    }

    async fn on_terminal(
        &self,
        (terminal, key): (Terminal, Option<(Key, DropGuard)>),
        start: spawner::Program,
        env: Vec<(String, String)>,
        request: Request,
    ) -> Stop<'a> {
        request.accept();
        if let Err(stopped) = notice::tell(self.visit, self.session, self.channel, self.told, &start).await {
            return Stop::before(stopped);
        }
        let (mut running, master) = match self.account.run_on_pty(terminal.pty, start, env).await {
            Ok(started) => started,
            Err(error) => return Self::nothing(&error),
        };
        let pumped = async {
            let (visit, tap) = (self.visit, self.session.tap());
            let stays = &visit.node.0.stays;
            // Beyond the bounds a shell is an ordinary one; its client notices when it comes back.
            let listed =
                key.and_then(|(key, gone)| Some((stays.list(key, &visit.user, &visit.login)?, gone)));
            let Some((listed, gone)) = listed else {
                let quiet = Quiet(self);
                return (pump::terminal(self.channel, tap, &mut running, master, &quiet).await, None);
            };
            let from = connection_of(&visit.peer);
            let first = Visitor { channel: self.channel.clone(), seen: None, from, _gone: gone };
            let grace = visit.node.0.settings.session_grace;
            let program = (tap, &mut running, master);
            let bell = Bell { session: self.session, user: &visit.user, stay: &visit.stay };
            kept::terminal(program, (first, listed.porch()), grace, &bell).await
        };
        let stopping = pin!(notice::stopping(self.visit, self.session, self.channel));
        let mut stopping = Seldom::new(stopping);
        let (stopped, last) = tokio::select! {
            biased;
            pumped = pumped => pumped,
            never = &mut stopping => match never {},
        };
        Stop { running: Some(running), last, ..Stop::before(stopped) }
    }

    async fn on_pipes(
        &self,
        start: spawner::Program,
        env: Vec<(String, String)>,
        request: Request,
    ) -> Stop<'a> {
        request.accept();
        if let Err(stopped) = notice::tell_aside(self.session, self.channel, self.told).await {
            return Stop::before(stopped);
        }
        let tap = self.session.tap();
        let transfer = start == spawner::Program::FileTransfer;
        let (mut running, pipes) = match self.account.run_on_pipes(start, env).await {
            Ok(started) => started,
            Err(error) => return Self::nothing(&error),
        };
        let files = transfer.then(|| Files::new(self.session, self.visit));
        let mut taps = if transfer {
            Taps::default()
        } else {
            Taps {
                stdin: Some(tap.stream(Stream::Stdin)),
                stdout: Some(tap.stream(Stream::Stdout)),
                stderr: Some(tap.stream(Stream::Stderr)),
            }
        };
        let watcher = transfer.then(Watcher::new);
        let stopped = match &files {
            Some(files) => {
                pump::pipes(self.channel, tap, (&mut running, pipes), (&mut taps, watcher), files).await
            }
            None => {
                pump::pipes(self.channel, tap, (&mut running, pipes), (&mut taps, None), &Quiet(self)).await
            }
        };
        Stop { stopped, running: Some(running), taps, files, last: None }
    }

    /// What the program is told of the connection. Nothing of ours where the rules are silent.
    fn environment(&self, wishes: Wishes, terminal: Option<&Terminal>) -> Vec<(String, String)> {
        let mut env = wishes.env;
        let mut set = |name: &str, value: String| env.push((name.to_owned(), value));
        if let Some(client) = self.visit.peer.client {
            let local = self.visit.peer.local;
            let (address, port) =
                local.map_or(("127.0.0.1".to_owned(), 22), |l| (l.ip().to_string(), l.port()));
            set("SSH_CLIENT", format!("{} {} {port}", client.ip(), client.port()));
            set("SSH_CONNECTION", format!("{} {} {address} {port}", client.ip(), client.port()));
        }
        if let Some(terminal) = terminal {
            set("SSH_TTY", terminal.pty.path.to_string_lossy().into_owned());
            if !terminal.term.is_empty() {
                set("TERM", terminal.term.clone());
            }
        }
        if let Some(agent) = wishes.agent {
            set("SSH_AUTH_SOCK", agent);
        }
        if self.told.0 != Told::Silent {
            let host = &self.visit.node.0.deps.host;
            set("SSH_SESSION_ID", self.session.id().to_string());
            set("SSH_MOONGATE_USER", self.visit.user.to_string());
            set("SSH_MOONGATE_HOST_UUID", host.id.to_string());
            set("SSH_MOONGATE_CLUSTER_NAME", host.cluster.to_string());
            let proxy = &self.visit.node.0.settings.web_proxy;
            if !proxy.is_empty() {
                set("SSH_SESSION_WEBPROXY_ADDR", proxy.clone());
            }
        }
        env
    }

    /// What a person is told whose session is ended from here.
    fn goodbye(&self, reason: &EndReason) -> String {
        let own = matches!(reason, EndReason::Idle(_)).then(|| self.visit.own_words("\r\n")).flatten();
        match (own, self.told.0) {
            (Some(own), _) => own,
            (_, Told::Silent) => reason.silent(),
            (_, Told::Banner | Told::Consent) => reason.public(),
        }
    }

    /// Tells both sides how it ended, and sees to it that the program has.
    async fn conclude(&self, stop: Stop<'a>, program: &Program, copy: Option<&Copy>) -> Outcome {
        let Stop { stopped, running, taps, files, last } = stop;
        let channel = last.as_ref().map_or(self.channel, |visitor| &visitor.channel);
        let mut outcome = stopped.outcome();
        match &stopped {
            Stopped::Ended(exit) => pump::tell_exit(channel, *exit),
            Stopped::HungUp => {}
            Stopped::Told(reason) => {
                self.session
                    .emit(|facts| kinds::ClientDisconnect {
                        who: facts.who.clone(),
                        server: facts.server.clone(),
                        connection: facts.connection.clone(),
                        session: facts.session.clone(),
                        reason: reason.to_string(),
                    })
                    .await;
                // A person who does not read is not waited for.
                let words = self.goodbye(reason);
                let words = format!("\r\n{words}");
                drop(tokio::time::timeout(GOODBYE, farewell(channel, &words)).await);
            }
            Stopped::Failed(words) => {
                drop(tokio::time::timeout(GOODBYE, farewell(channel, words)).await);
            }
        }
        channel.close();
        let totals = [taps.stdin, taps.stdout, taps.stderr];
        let mut streams = std::collections::BTreeMap::new();
        for tap in totals.into_iter().flatten() {
            let total = tap.total();
            // A session that was told to end takes no more frames; the event has the numbers all the same.
            drop(tap.finish().await);
            let value = kinds::StreamTotal { bytes: total.bytes, sha256: total.hash.to_string() };
            streams.insert(total.stream.as_str().to_owned(), value);
        }
        if let (Some(running), false) = (running, matches!(stopped, Stopped::Ended(_))) {
            let exit = pump::hang_up(running).await;
            if let Some(Exit::Code(code)) = exit {
                outcome.status = Some(i32::from(code));
            }
        }
        if let Some(files) = files {
            files.finish().await;
        }
        self.record(program, copy, &outcome, streams).await;
        outcome
    }
}

/// How long a person may take to hear why their session was ended.
const GOODBYE: Duration = Duration::from_secs(2);

/// Reports sizes; a session that moves no files by a protocol we read reports none.
struct Quiet<'a>(&'a Run<'a>);

impl pump::Notice for Quiet<'_> {
    async fn ended(&self) -> EndReason {
        self.0.visit.told_to_end(self.0.session).await
    }

    async fn resized(&self, cols: u16, rows: u16) {
        keep::resized(self.0.session, cols, rows).await;
    }

    async fn files(&self, _: Vec<crate::sftp::watch::Seen>) {}
}
