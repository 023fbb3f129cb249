//! ONE task for a channel: what a program says goes to the person and past the tap, what the person says goes to the
//! program, until the program has ended, the channel is gone, or the session must stop.
//!
//! Back-pressure is the SSH window: while the person does not read, nothing is read from the program, and the other
//! way round. A quiet channel holds no buffers. While the program does not read, the person's requests (signals,
//! sizes) are still heard.

use std::os::fd::OwnedFd;
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use runtime::Seldom;
use session::{EndReason, Outcome, StreamTap, Tap};
use ssh::{Channel, Received, Request, RequestKind};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::fd::Watched;
use crate::hearing::Hearing;
use crate::sftp::watch::{Seen, Watcher};
use crate::spawner::message::{Exit, Signal};
use crate::spawner::{Pipes, Running};

/// One read from a pipe.
const PIPE_CHUNK: usize = 64 * 1024;
/// How long a program may take to end after its person has hung up.
const GRACE: Duration = Duration::from_secs(10);
/// How long the system may take to end it after that.
const KILLED: Duration = Duration::from_secs(5);

/// Why pumping stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The program ended and everything it said was passed on.
    Ended(Exit),
    /// The person closed the channel, or the connection died.
    HungUp,
    /// The session had to end.
    Told(EndReason),
    /// The host failed.
    Failed(String),
}

impl Stopped {
    /// What became of it, for the session.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Stopped::Ended(Exit::Code(code)) => Outcome::exit(i32::from(*code)),
            Stopped::Ended(exit @ Exit::Signal { number, .. }) => {
                let name = exit.signal_name().map_or_else(|| number.to_string(), str::to_owned);
                Outcome { signal: Some(name), ..Outcome::default() }
            }
            Stopped::HungUp => Outcome { reason: "the client went away".to_owned(), ..Outcome::default() },
            Stopped::Told(reason) => Outcome::ended(reason),
            Stopped::Failed(words) => Outcome { reason: words.clone(), ..Outcome::default() },
        }
    }
}

/// What a pump reports while it runs, and who tells it to stop.
pub(crate) trait Notice: Send + Sync {
    /// Resolves when the session must stop. Asked again and again: cancel safe.
    fn ended(&self) -> impl Future<Output = EndReason> + Send;
    /// The terminal has a new size.
    fn resized(&self, cols: u16, rows: u16) -> impl Future<Output = ()> + Send;
    /// Files were touched.
    fn files(&self, seen: Vec<Seen>) -> impl Future<Output = ()> + Send;
}

/// Why one side stopped early.
pub(crate) enum Break {
    HungUp,
    Told(EndReason),
    Failed(String),
}

impl From<Break> for Stopped {
    fn from(why: Break) -> Self {
        match why {
            Break::HungUp => Stopped::HungUp,
            Break::Told(reason) => Stopped::Told(reason),
            Break::Failed(words) => Stopped::Failed(words),
        }
    }
}

impl From<ssh::Error> for Break {
    fn from(_: ssh::Error) -> Self {
        // A channel that cannot be written or read any more.
        Break::HungUp
    }
}

impl From<session::Error> for Break {
    fn from(error: session::Error) -> Self {
        match error {
            session::Error::Ended(reason) => Break::Told(reason),
            other => Break::Failed(other.to_string()),
        }
    }
}

/// Pumps a program on a terminal.
pub(crate) async fn terminal(
    channel: &Channel,
    tap: &Tap,
    running: &mut Running,
    master: OwnedFd,
    notice: &impl Notice,
) -> Stopped {
    let master = match Watched::new(master) {
        Ok(master) => master,
        Err(error) => return Stopped::Failed(error.to_string()),
    };
    let signals = Signals::default();
    let exited = CancellationToken::new();
    let show = show(Hearing::new(&master, &exited), channel, tap);
    let listen = listen(channel, tap, Sink::Terminal(&master), &signals, notice);
    tokio::pin!(show, listen);
    let delivered = pin!(signals.deliver(running));
    let mut delivered = Seldom::new(delivered);
    let told = pin!(notice.ended());
    let mut told = Seldom::new(told);
    let (mut exit, mut silent) = (None, false);
    loop {
        if let (Some(exit), true) = (exit, silent) {
            return Stopped::Ended(exit);
        }
        // All are kept and go on where they were.
        tokio::select! {
            // Output first: what was said before an end is still shown.
            biased;
            shown = &mut show, if !silent => match shown {
                Ok(()) => silent = true,
                Err(why) => return why.into(),
            },
            why = &mut listen => return why.into(),
            ended = &mut delivered, if exit.is_none() => match ended {
                Ok(ended) => {
                    exit = Some(ended);
                    exited.cancel();
                }
                Err(why) => return why.into(),
            },
            reason = &mut told => return Stopped::Told(reason),
        }
    }
}

/// From the terminal to the person.
async fn show(mut hearing: Hearing<'_>, channel: &Channel, tap: &Tap) -> Result<(), Break> {
    while let Some(said) = hearing.next().await {
        tap.output(&said).await?;
        channel.write_all(&said).await?;
    }
    Ok(())
}

/// Where what the person says goes.
pub(crate) enum Sink<'a> {
    Terminal(&'a Watched),
    Pipe { pipe: Option<Watched>, tap: Option<&'a mut StreamTap>, watcher: Option<&'a Mutex<Watcher>> },
}

/// Signals on their way from the listening side to the side that has the program.
#[derive(Default)]
pub(crate) struct Signals {
    queue: std::sync::Mutex<Vec<Signal>>,
    news: tokio::sync::Notify,
    hung_up: std::sync::atomic::AtomicBool,
}

impl Signals {
    /// Most that wait: more are the same wish again.
    const MAX: usize = 16;

    /// The person has asked for the hang-up: they will not come back.
    pub(crate) fn hung_up(&self) -> bool {
        self.hung_up.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn send(&self, signal: Signal) {
        if signal == Signal::Hup {
            self.hung_up.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        let mut queue = self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if queue.len() < Self::MAX {
            queue.push(signal);
        }
        self.news.notify_one();
    }

    /// Delivers until the program ends.
    pub(crate) async fn deliver(&self, running: &mut Running) -> Result<Exit, Break> {
        loop {
            tokio::select! {
                exit = running.ended() => return exit.map_err(|e| Break::Failed(e.to_string())),
                () = self.news.notified() => {}
            }
            let waiting =
                std::mem::take(&mut *self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
            for signal in waiting {
                running.signal(signal).await.map_err(|e| Break::Failed(e.to_string()))?;
            }
        }
    }
}

/// From the person to the program, until the channel closes. An end of input alone does not end it.
pub(crate) async fn listen(
    channel: &Channel,
    tap: &Tap,
    mut sink: Sink<'_>,
    signals: &Signals,
    notice: &impl Notice,
) -> Break {
    loop {
        let step = match channel.recv().await {
            Ok(Received::Data(bytes)) => sink.take(bytes, channel, tap, signals, notice).await,
            Ok(Received::Request(request)) => asked(request, &sink, tap, signals, notice).await,
            Ok(Received::Eof) => {
                sink.close();
                Ok(())
            }
            Ok(Received::Extended(..) | Received::Exit(_)) => Ok(()),
            Ok(Received::Closed) | Err(_) => Err(Break::HungUp),
        };
        if let Err(why) = step {
            return why;
        }
    }
}

async fn asked(
    request: Request,
    sink: &Sink<'_>,
    tap: &Tap,
    signals: &Signals,
    notice: &impl Notice,
) -> Result<(), Break> {
    match (&request.kind, sink) {
        (RequestKind::WindowChange(size), Sink::Terminal(master)) => {
            let size = crate::pty::size(*size);
            if crate::pty::resize(master, size).is_ok() {
                tap.resize(size.cols, size.rows).await?;
                notice.resized(size.cols, size.rows).await;
            }
            request.accept();
        }
        (RequestKind::Signal { name }, _) => match Signal::named(name) {
            Some(signal) => {
                signals.send(signal);
                request.accept();
            }
            None => request.refuse(),
        },
        _ => request.refuse(),
    }
    Ok(())
}

impl Sink<'_> {
    async fn take(
        &mut self,
        mut bytes: Bytes,
        channel: &Channel,
        tap: &Tap,
        signals: &Signals,
        notice: &impl Notice,
    ) -> Result<(), Break> {
        match self {
            Sink::Terminal(_) => tap.input(&bytes).await?,
            Sink::Pipe { pipe, tap: stream, watcher } => {
                let moved = pipe.take().map(Watched::follow).transpose();
                *pipe = moved.map_err(|e| Break::Failed(e.to_string()))?;
                match stream {
                    Some(stream) => stream.pass(&bytes).await?,
                    None => tap.moved(0, bytes.len() as u64),
                }
                if let Some(watcher) = watcher {
                    let mut watcher = watcher.lock().await;
                    watcher.client(&bytes).map_err(|e| Break::Failed(e.to_string()))?;
                }
            }
        }
        while !bytes.is_empty() {
            let to = match self {
                Sink::Terminal(master) => *master,
                Sink::Pipe { pipe: Some(pipe), .. } => pipe,
                // The program closed its input.
                Sink::Pipe { pipe: None, .. } => return Ok(()),
            };
            let wrote = tokio::select! {
                // Most often there is room.
                biased;
                wrote = to.write(&bytes) => wrote,
                got = channel.urgent() => {
                    match got? {
                        Received::Request(request) => asked(request, self, tap, signals, notice).await?,
                        _ => return Err(Break::HungUp),
                    }
                    continue;
                }
            };
            match wrote {
                Ok(n) => bytes.advance(n.min(bytes.len())),
                Err(_) => match self {
                    // The terminal is closed: its program has ended or will.
                    Sink::Terminal(_) => return Ok(()),
                    Sink::Pipe { pipe, .. } => {
                        *pipe = None;
                        let _ = channel.tell(RequestKind::Eow);
                    }
                },
            }
        }
        Ok(())
    }

    /// No more will be said. A terminal has no way to hear that.
    fn close(&mut self) {
        if let Sink::Pipe { pipe, .. } = self {
            *pipe = None;
        }
    }
}

/// The three streams of a command as they are captured; `None` where nothing is.
#[derive(Default)]
pub(crate) struct Taps {
    pub(crate) stdin: Option<StreamTap>,
    pub(crate) stdout: Option<StreamTap>,
    pub(crate) stderr: Option<StreamTap>,
}

/// Pumps a program on pipes. A `watcher` reads file-transfer packets as they pass.
pub(crate) async fn pipes(
    channel: &Channel,
    tap: &Tap,
    (running, pipes): (&mut Running, Pipes),
    (taps, watcher): (&mut Taps, Option<Watcher>),
    notice: &impl Notice,
) -> Stopped {
    let watched = [pipes.stdin, pipes.stdout, pipes.stderr].map(Watched::new);
    let [Ok(stdin), Ok(stdout), Ok(stderr)] = watched else {
        return Stopped::Failed("the program's pipes cannot be watched".to_owned());
    };
    let watcher = watcher.map(Mutex::new);
    let signals = Signals::default();
    let sink = Sink::Pipe { pipe: Some(stdin), tap: taps.stdin.as_mut(), watcher: watcher.as_ref() };
    let out = Voice {
        pipe: stdout,
        kind: None,
        session: tap,
        tap: taps.stdout.as_mut(),
        watcher: watcher.as_ref(),
    };
    let err = Voice {
        pipe: stderr,
        kind: Some(ssh::STDERR),
        session: tap,
        tap: taps.stderr.as_mut(),
        watcher: None,
    };
    let said = async {
        let ((), (), exit) =
            tokio::try_join!(out.say(channel, notice), err.say(channel, notice), signals.deliver(running))?;
        Ok::<Exit, Break>(exit)
    };
    let stopped = tokio::select! {
        biased;
        said = said => said.map_or_else(Stopped::from, Stopped::Ended),
        why = listen(channel, tap, sink, &signals, notice) => why.into(),
        reason = notice.ended() => Stopped::Told(reason),
    };
    if let Some(watcher) = watcher {
        notice.files(watcher.into_inner().finish()).await;
    }
    stopped
}

/// One of a program's two output pipes.
struct Voice<'a> {
    pipe: Watched,
    kind: Option<u32>,
    session: &'a Tap,
    tap: Option<&'a mut StreamTap>,
    watcher: Option<&'a Mutex<Watcher>>,
}

impl Voice<'_> {
    /// From the pipe to the person, until it is closed.
    async fn say(mut self, channel: &Channel, notice: &impl Notice) -> Result<(), Break> {
        // Kept while there is more to read at once: a fresh one costs a page fault for each of its pages.
        let mut buffer = Vec::new();
        while self.pipe.readable().await.is_ok() {
            buffer.clear();
            buffer.reserve(PIPE_CHUNK);
            match self.pipe.try_read_into(&mut buffer) {
                Ok(0) | Err(Some(_)) => break,
                Ok(_) => {}
                Err(None) => {
                    buffer = Vec::new();
                    continue;
                }
            }
            match &mut self.tap {
                Some(tap) => tap.pass(&buffer).await?,
                None => self.session.moved(buffer.len() as u64, 0),
            }
            if let Some(watcher) = self.watcher {
                let mut watcher = watcher.lock().await;
                watcher.server(&buffer).map_err(|e| Break::Failed(e.to_string()))?;
                let seen = watcher.take();
                drop(watcher);
                if !seen.is_empty() {
                    notice.files(seen).await;
                }
            }
            match self.kind {
                None => channel.write_all(&buffer).await?,
                Some(_) => channel.write_stderr(&buffer).await?,
            }
            self.pipe = self.pipe.follow().map_err(|e| Break::Failed(e.to_string()))?;
        }
        Ok(())
    }
}

/// Ends a program whose person is gone: hangs up, waits, then kills.
pub(crate) async fn hang_up(mut running: Running) -> Option<Exit> {
    for (signal, patience) in [(Signal::Hup, GRACE), (Signal::Kill, KILLED)] {
        if running.signal(signal).await.is_err() {
            return None;
        }
        if let Ok(exit) = tokio::time::timeout(patience, running.ended()).await {
            return exit.ok();
        }
    }
    tracing::warn!(pid = running.pid, "a program could not be ended");
    None
}

/// Tells the person how the program ended, and closes.
pub(crate) fn tell_exit(channel: &Channel, exit: Exit) {
    match exit {
        Exit::Code(code) => channel.exit_status(u32::from(code)),
        Exit::Signal { number, core } => match exit.signal_name() {
            Some(name) => channel.exit_signal(name, core, ""),
            // A signal the protocol has no name for, as shells tell it.
            None => channel.exit_status(128 + u32::from(number)),
        },
    }
    channel.eof();
    channel.close();
}

/// Puts an error of the spawner into words for the person.
pub(crate) fn words(error: &Error) -> String {
    match error {
        Error::Refused(words) => words.clone(),
        Error::SpawnerGone | Error::Protocol(_) | Error::Malformed(_) | Error::Io(..) => {
            tracing::error!(%error, "a session could not be started");
            "the session could not be started".to_owned()
        }
    }
}
