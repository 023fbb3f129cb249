//! A shell on a node: the SSH connection, the pump that fills the buffer, and who is looking at it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, ready};
use std::time::Duration;

use model::NodeId;
use runtime::Scope;
use serde_json::{Value, json};
use ssh::{Channel, Connection, Pty, Received, RequestKind, Size};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::buffer::Buffer;
use super::{DETACHED, frame};
use crate::reach::{DIAL, NoReach, Reached, reach, say_agreed};
use crate::session::{IdleState, Keep, Person, Sessions, lock};

/// The variable with a page's key to its shell, the one with how much of its output was drawn, and the subsystem that
/// leads back to it (docs/formats/kept-shell.md).
const KEY: &str = "MOONGATE_KEEP";
const SEEN: &str = "MOONGATE_SEEN";
const RESUME: &str = "resume@moongate";
/// How long saying goodbye to a node may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// The terminal type announced.
const TERM: &str = "xterm-256color";

/// Who looks: the number of the last WebSocket, and whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) number: u64,
    pub(crate) there: bool,
}

/// Who writes input, and how much of it the node's channel has had since the terminal began.
#[derive(Default)]
struct Pen {
    /// The number of the one line that may.
    owner: u64,
    written: u64,
}

/// What a line gets that takes the view over.
pub(crate) struct Attachment {
    pub(crate) number: u64,
    pub(crate) view: watch::Receiver<View>,
    /// Input that lines before it have written: what follows is the next.
    pub(crate) had: u64,
}

/// What a page wants.
pub(crate) struct Wanted {
    pub(crate) node: NodeId,
    pub(crate) login: String,
    pub(crate) keep: Option<Keep>,
    /// Where the person is.
    pub(crate) from: SocketAddr,
    pub(crate) size: Size,
    /// How much of a kept shell's output the page has drawn.
    pub(crate) seen: u64,
}

/// Why there is no shell.
pub(crate) enum NoShell {
    /// The node has not kept it.
    Gone,
    /// In words for the person.
    Why(String),
}

impl From<String> for NoShell {
    fn from(why: String) -> Self {
        Self::Why(why)
    }
}

/// A shell on a node.
pub(crate) struct Shell {
    pub(crate) id: String,
    pub(crate) node: NodeId,
    pub(crate) login: String,
    pub(crate) channel: Channel,
    connection: Connection,
    scope: Scope,
    /// Cancelled when the pump has stopped.
    over: CancellationToken,
    /// When that was.
    ended: OnceLock<Instant>,
    buffer: Mutex<Buffer>,
    grew: Notify,
    drained: Notify,
    view: watch::Sender<View>,
    pen: Mutex<Pen>,
    /// Whether the browser is locked.
    idle: watch::Receiver<IdleState>,
}

impl Shell {
    /// Opens a shell for `person`, or comes back to one, and starts its pump.
    pub(crate) async fn open(
        person: &Person,
        sessions: &Sessions,
        wanted: Wanted,
    ) -> Result<Arc<Self>, NoShell> {
        let place = (&wanted.node, wanted.login.as_str());
        let Reached { banner, connection, scope } =
            reach(person, sessions, place, wanted.from, "terminal").await.map_err(|e| e.to_string())?;
        let (channel, mut buffer) = timeout(DIAL, start(person, &connection, &wanted))
            .await
            .map_err(|_| "the node did not start a shell in time".to_owned())?
            .map_err(|error| match (error, &wanted.keep) {
                (ssh::Error::RequestRefused(_), Some(Keep { back: true, .. })) => NoShell::Gone,
                (error, _) => NoReach::from(&error, &wanted.login).to_string().into(),
            })?;
        let Wanted { node, login, keep, .. } = wanted;
        let (view, _) = watch::channel(View { number: 0, there: true });
        // A node counts the output of a shell it may keep, and a banner is none.
        if keep.is_none() {
            buffer.push(banner.unwrap_or_default().replace('\n', "\r\n").as_bytes());
        }
        let shell = Arc::new(Self {
            id: data_encoding::HEXLOWER.encode(&person.random.bytes::<8>()),
            node,
            login,
            channel,
            connection,
            scope: scope.clone(),
            over: CancellationToken::new(),
            ended: OnceLock::new(),
            buffer: Mutex::new(buffer),
            grew: Notify::new(),
            drained: Notify::new(),
            view,
            pen: Mutex::default(),
            idle: person.idle.watch(),
        });
        let pumped = shell.clone();
        scope.spawn("terminal pump", async move { pumped.pump().await });
        Ok(shell)
    }

    /// Reads the channel while there is room, until it ends or nobody has looked for too long.
    async fn pump(&self) {
        let how = tokio::select! {
            how = self.read() => how,
            () = self.abandoned() => {
                self.hang_up();
                json!({"state": "ended", "why": "nobody came back"})
            }
        };
        lock(&self.buffer).finish(how);
        self.ended.get_or_init(Instant::now);
        self.grew.notify_one();
        self.channel.close();
        self.connection.disconnect("the terminal is over");
        self.over.cancel();
    }

    async fn read(&self) -> Value {
        let mut exit = None;
        loop {
            let drained = self.drained.notified();
            if !lock(&self.buffer).has_room() {
                drained.await;
                continue;
            }
            match self.channel.recv().await {
                Ok(Received::Data(bytes) | Received::Extended(_, bytes)) => {
                    lock(&self.buffer).push(&bytes);
                    self.grew.notify_one();
                }
                Ok(Received::Exit(how)) => exit = Some(how),
                Ok(Received::Request(request)) => request.refuse(),
                Ok(Received::Eof) => {}
                Ok(Received::Closed) => return ending(exit.as_ref()),
                Err(error) => return json!({"state": "lost", "why": error.to_string()}),
            }
        }
    }

    /// Nobody has looked for [`DETACHED`] although they could.
    async fn abandoned(&self) {
        let mut view = self.view.subscribe();
        loop {
            let seen = *view.borrow_and_update();
            let moved = if seen.there {
                view.changed().await
            } else {
                tokio::select! {
                    moved = view.changed() => moved,
                    () = self.waits_in_vain() => return,
                }
            };
            if moved.is_err() {
                return;
            }
        }
    }

    /// [`DETACHED`] in which the browser was not locked. While it is, the session's own end is the bound.
    async fn waits_in_vain(&self) {
        let mut idle = self.idle.clone();
        while idle.wait_for(|state| !state.locked).await.is_ok() {
            if timeout(DETACHED, idle.wait_for(|state| state.locked)).await.is_err() {
                return;
            }
        }
    }

    /// Takes the view over, and the pen: whoever had them writes nothing more and is told by the number.
    pub(crate) fn attach(&self) -> Attachment {
        let mut number = 0;
        self.view.send_modify(|view| {
            number = view.number + 1;
            *view = View { number, there: true };
        });
        let mut pen = lock(&self.pen);
        pen.owner = pen.owner.max(number);
        Attachment { number, view: self.view.subscribe(), had: pen.written }
    }

    /// Writes some input for the line of this number, and says how much; never for one that another has followed.
    /// Cancel safe: what was written is counted.
    pub(crate) async fn write(&self, number: u64, input: &[u8]) -> Result<usize, ssh::Error> {
        let mut write = pin!(self.channel.write(input));
        poll_fn(|cx| {
            let mut pen = lock(&self.pen);
            if pen.owner != number {
                return Poll::Pending;
            }
            let wrote = ready!(write.as_mut().poll(cx));
            if let Ok(count) = &wrote {
                pen.written += *count as u64;
            }
            Poll::Ready(wrote)
        })
        .await
    }

    /// Lets go of the view, unless somebody else has it.
    pub(crate) fn detach(&self, number: u64) {
        self.view.send_if_modified(|view| {
            let own = view.number == number;
            view.there &= !own;
            own
        });
    }

    /// Output after `offset`, as a frame, with the offset behind it; waits for some. `Err` is how it ended.
    pub(crate) async fn next(&self, offset: u64) -> Result<(u64, Vec<u8>), Value> {
        loop {
            let grew = self.grew.notified();
            {
                let buffer = lock(&self.buffer);
                if let Some((at, bytes)) = buffer.after(offset) {
                    return Ok((at + bytes.len() as u64, frame::output(at, bytes)));
                }
                if let Some(how) = buffer.ended() {
                    return Err(how.clone());
                }
            }
            grew.await;
        }
    }

    /// The page has drawn everything before `offset`.
    pub(crate) fn acknowledge(&self, offset: u64) {
        let made_room = lock(&self.buffer).acknowledge(offset);
        if made_room {
            self.drained.notify_one();
        }
    }

    /// Resolves when the node has said that it is there, or the connection has ended, which shows elsewhere.
    pub(crate) async fn answers(&self) {
        drop(self.connection.ping().await);
    }

    pub(crate) fn is_over(&self) -> bool {
        lock(&self.buffer).ended().is_some() || self.scope.is_cancelled()
    }

    /// When its pump stopped; `None` also where it was cut off.
    pub(crate) fn ended(&self) -> Option<Instant> {
        self.ended.get().copied()
    }

    /// It is over, and nobody is told how any more.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_over() && self.ended().is_none_or(|at| at.elapsed() >= DETACHED)
    }

    /// It is over without an end that could be told.
    pub(crate) fn is_cut(&self) -> bool {
        self.scope.is_cancelled() && lock(&self.buffer).ended().is_none()
    }

    /// The person closed it. The node is told, within [`GOODBYE`].
    pub(crate) fn end(&self) {
        self.hang_up();
        self.channel.close();
        let (connection, scope, over) = (self.connection.clone(), self.scope.clone(), self.over.clone());
        self.scope.spawn("terminal goodbye", async move {
            if timeout(GOODBYE, over.cancelled()).await.is_err() {
                connection.disconnect("closed by its user");
                over.cancel();
                scope.cancel();
            }
        });
    }

    /// Nobody will come back to it: a node that would keep it does not.
    fn hang_up(&self) {
        // A channel that is closed needs no telling.
        drop(self.channel.signal("HUP"));
    }

    /// Resolves when it is over, soon after [`Shell::end`].
    pub(crate) async fn gone(&self) {
        self.over.cancelled().await;
    }

    pub(crate) fn held(&self) -> u64 {
        lock(&self.buffer).end()
    }
}

/// A channel with the shell on it, and the buffer its output goes on in.
async fn start(
    person: &Person,
    connection: &Connection,
    wanted: &Wanted,
) -> Result<(Channel, Buffer), ssh::Error> {
    let channel = connection.open_session().await?;
    if let Some(keep) = &wanted.keep {
        channel.env(KEY, keep.key.expose())?;
        if keep.back {
            channel.env(SEEN, wanted.seen.to_string())?;
            channel.subsystem(RESUME).await?;
            channel.window_change(wanted.size)?;
            let buffer = goes_on(&channel).await?;
            return Ok((channel, buffer));
        }
    }
    say_agreed(person, &channel)?;
    // The page draws UTF-8 and 24-bit colours whatever the host's own settings are.
    for (name, value) in [("LC_CTYPE", "C.UTF-8"), ("COLORTERM", "truecolor")] {
        channel.env(name, value)?;
    }
    channel.request_pty(Pty { term: TERM.to_owned(), size: wanted.size, modes: Vec::new() }).await?;
    channel.shell().await?;
    Ok((channel, Buffer::default()))
}

/// A kept shell says first, in eight bytes, where the output that follows stands.
async fn goes_on(channel: &Channel) -> Result<Buffer, ssh::Error> {
    let mut said = Vec::new();
    loop {
        if let Some((offset, rest)) = said.split_first_chunk::<8>() {
            let mut buffer = Buffer::starting_at(u64::from_be_bytes(*offset));
            buffer.push(rest);
            return Ok(buffer);
        }
        match channel.recv().await? {
            Received::Data(bytes) => said.extend_from_slice(&bytes),
            Received::Request(request) => request.refuse(),
            Received::Extended(..) | Received::Exit(_) | Received::Eof => {}
            Received::Closed => return Err(ssh::Error::Closed),
        }
    }
}

fn ending(exit: Option<&RequestKind>) -> Value {
    match exit {
        Some(RequestKind::ExitStatus(status)) => json!({"state": "ended", "status": status}),
        Some(RequestKind::ExitSignal { name, .. }) => json!({"state": "ended", "signal": name}),
        _ => json!({"state": "ended"}),
    }
}
