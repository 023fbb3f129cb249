//! A connection to a node's SSH service through the gate, and `msh proxy ssh`, which hands it to another program.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use client::BoxStream;
use runtime::shunt::{self, End};
use runtime::{Direct as _, Random};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::unix::pipe;
use wire::Reader;
use wire::dial::{Class, DialHeader, DialReply, Refusal, Target, TraceId};
use wire::route::Route;

use crate::gate::Way;
use crate::show::unwritten;

/// How long the gate may take to answer for the node.
const DEADLINE: Duration = Duration::from_secs(30);
/// Bytes taken at once when copying: a TLS record's worth and more, one system call each way.
const CHUNK: usize = 128 * 1024;

/// Opens the SSH service of `node`.
///
/// # Errors
/// The gate cannot be reached, or says why the node cannot.
pub(crate) async fn open(way: &Way, node: &str, cluster: &str, class: Class) -> Result<BoxStream> {
    let target = Target::parse(node, cluster).with_context(|| format!("`{node}` is no node"))?;
    let work = async {
        let mut stream = way.dialer.connect(Route::Ssh).await?;
        let mut header = Vec::with_capacity(DialHeader::MAX);
        DialHeader::new(target, TraceId(Random::system().bytes()), class).encode(&mut header);
        stream.write_all(&header).await?;
        stream.flush().await?;
        match reply(&mut stream).await? {
            DialReply::Ok => Ok(stream),
            DialReply::Refused(refusal, message) => Err(refused(node, refusal, &message)),
        }
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .map_err(|_| anyhow::anyhow!("the gate did not connect {node} within {} s", DEADLINE.as_secs()))?
}

fn refused(node: &str, refusal: Refusal, message: &str) -> anyhow::Error {
    let what = match refusal {
        Refusal::Unknown => "is not connected to the gate (see `msh ls`)",
        Refusal::Ambiguous => "is the name of several nodes: use an id",
        Refusal::Unreachable => "did not answer through its tunnel",
        Refusal::Denied => "is not reachable with this certificate",
        Refusal::Busy => "cannot be reached just now: try again",
    };
    anyhow::anyhow!("{node} {what}: {}", crate::show::clean(message))
}

/// Reads the gate's answer and not a byte more: what follows is the node's.
async fn reply(stream: &mut BoxStream) -> Result<DialReply> {
    let mut bytes = vec![0; 2];
    stream.read_exact(&mut bytes).await.context("the gate hung up before it answered")?;
    let length = bytes.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
    if length + 2 > DialReply::MAX {
        bail!("the gate's answer is too long: is it a Moongate of this version?");
    }
    bytes.resize(length + 2, 0);
    stream
        .read_exact(bytes.get_mut(2..).unwrap_or_default())
        .await
        .context("the gate hung up within its answer")?;
    DialReply::decode(&mut Reader::new(&bytes))?.context("the gate's answer is cut")
}

/// Passes bytes between standard input and output and `stream` until the node is done. Once all are pipes and sockets
/// and nothing else, this thread does nothing but that: keystrokes are quickest so.
///
/// # Errors
/// Either side broke.
pub(crate) async fn stdio(stream: BoxStream) -> Result<()> {
    let stream = RefCell::new(stream);
    let held = Cell::new(0);
    let (input, output) = (pipe_in(), pipe_out());
    let pipes = input.is_some() && output.is_some();
    let up = async {
        let mut to_node = Shared(&stream);
        let _ = match input {
            Some(input) => copy(input, &mut to_node, &held).await,
            None => copy(tokio::io::stdin(), &mut to_node, &held).await,
        };
        to_node.shutdown().await
    };
    let down = async {
        match output {
            Some(mut output) => copy(Shared(&stream), &mut output, &held).await,
            None => copy(Shared(&stream), &mut tokio::io::stdout(), &held).await,
        }
    };
    let plain = poll_fn(|_| {
        let stream = stream.borrow();
        let plain = pipes && held.get() == 0 && stream.reads_directly() && stream.writes_directly();
        if plain { Poll::Ready(()) } else { Poll::Pending }
    });
    // The node's end decides: when it has no more to say, the program on our side is done too. That it takes no more
    // is no end: it may have said something last.
    let done = {
        tokio::pin!(up, down);
        tokio::select! {
            biased;
            done = &mut down => Some(done),
            _ = &mut up => Some(down.await),
            () = plain => None,
        }
    };
    let Some(done) = done else { return pass_on(stream.into_inner()) };
    match done {
        Ok(0) => bail!("the connection ended before the node said anything"),
        Ok(_) => Ok(()),
        // The SSH inside knows whether anything is missing, and says so to whoever is still there to hear it.
        Err(Broke::Reading(cut)) if cut.kind() == ErrorKind::UnexpectedEof => {
            bail!("the connection to the gate was cut")
        }
        Err(Broke::Reading(error)) => Err(error).context("the connection to the gate broke"),
        Err(Broke::Writing(error)) => Err(unwritten(error)),
    }
}

/// Passes on what is left, in this thread: nothing else is to be done in this process.
fn pass_on(stream: BoxStream) -> Result<()> {
    let socket = stream.into_socket().context(
        "lost the connection to the gate while taking over its socket: \
         connect again, or set MOONGATE_CARRIER=websocket, which does without that",
    )?;
    let from = std::io::stdin().as_fd().try_clone_to_owned()?;
    let to = std::io::stdout().as_fd().try_clone_to_owned()?;
    match shunt::carry(End::Pipes { from, to }, End::Socket(socket)) {
        // One side takes no more. Whether anything is missing is known to the SSH inside.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.map(drop).context("the connection to the gate broke"),
    }
}

/// Which side failed a copy.
enum Broke {
    Reading(std::io::Error),
    Writing(std::io::Error),
}

/// Copies to the end; how many bytes. `held` counts those who hold bytes just now.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
    held: &Cell<u32>,
) -> Result<u64, Broke> {
    let (mut buffer, mut all) = (vec![0; CHUNK], 0);
    loop {
        let n = from.read(&mut buffer).await.map_err(Broke::Reading)?;
        if n == 0 {
            return to.flush().await.map(|()| all).map_err(Broke::Writing);
        }
        held.set(held.get() + 1);
        all += n as u64;
        to.write_all(buffer.get(..n).unwrap_or_default()).await.map_err(Broke::Writing)?;
        to.flush().await.map_err(Broke::Writing)?;
        held.set(held.get() - 1);
    }
}

/// The stream for both directions at once: they are polled in turn, by one task.
struct Shared<'a>(&'a RefCell<BoxStream>);

impl AsyncRead for Shared<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, out)
    }
}

impl AsyncWrite for Shared<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(cx)
    }
}

/// Standard input as a pipe read without helper threads; `None` when it is something else.
fn pipe_in() -> Option<pipe::Receiver> {
    let own = std::io::stdin().as_fd().try_clone_to_owned().ok()?;
    let _ = rustix::pipe::fcntl_setpipe_size(&own, CHUNK);
    pipe::Receiver::from_owned_fd(own).ok()
}

/// Standard output as a pipe written without helper threads; `None` when it is something else.
fn pipe_out() -> Option<pipe::Sender> {
    let own = std::io::stdout().as_fd().try_clone_to_owned().ok()?;
    let _ = rustix::pipe::fcntl_setpipe_size(&own, CHUNK);
    pipe::Sender::from_owned_fd(own).ok()
}
