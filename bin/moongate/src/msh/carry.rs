//! A connection to a node's SSH service through the gate, and `msh proxy ssh`, which hands it to another program.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use client::BoxStream;
use runtime::{Direct as _, Random, direct};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::unix::pipe;
use wire::Reader;
use wire::dial::{Class, DialHeader, DialReply, Refusal, Target, TraceId};
use wire::route::Route;

use crate::gate::Way;

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
        let mut stream = way.dialer.connect(Route::Ssh).await.context("cannot reach the gate")?;
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

/// Copies between standard input and output and `stream` until the node is done.
///
/// # Errors
/// Either side broke.
pub(crate) async fn stdio(stream: BoxStream) -> Result<()> {
    let stream = RefCell::new(stream);
    let up = async {
        let mut to_node = Shared(&stream);
        let copied = match pipe_in() {
            Some(input) => copy(input, &mut to_node).await,
            None => copy(tokio::io::stdin(), &mut to_node).await,
        };
        to_node.shutdown().await.or(copied.map(drop))
    };
    let down = async {
        match pipe_out() {
            Some(output) => drain(&stream, output).await,
            None => copy(Shared(&stream), &mut tokio::io::stdout()).await,
        }
    };
    // The node's end decides: when it has no more to say, the program on our side is done too. That it takes no more
    // is no end: it may have said something last.
    tokio::pin!(up, down);
    let done = tokio::select! {
        done = &mut down => done,
        _ = &mut up => down.await,
    };
    match done {
        // The SSH inside knows whether anything is missing, and says so to whoever is still there to hear it.
        Err(cut) if cut.kind() == ErrorKind::UnexpectedEof => bail!("the connection to the gate was cut"),
        done => match done? {
            0 => bail!("the connection ended before the node said anything"),
            _ => Ok(()),
        },
    }
}

/// Copies to the end; how many bytes.
async fn copy(mut from: impl AsyncRead + Unpin, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<u64> {
    let (mut buffer, mut all) = (vec![0; CHUNK], 0);
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.flush().await.map(|()| all);
        }
        all += n as u64;
        to.write_all(buffer.get(..n).unwrap_or_default()).await?;
        to.flush().await?;
    }
}

/// What the node says into a pipe: copied while it comes inside TLS, moved by the kernel once it is bare. How many
/// bytes.
async fn drain(stream: &RefCell<BoxStream>, mut pipe: pipe::Sender) -> std::io::Result<u64> {
    let (mut buffer, mut refused, mut all) = (Vec::new(), false, 0);
    loop {
        let moved = if !refused && stream.borrow().reads_from().is_some() {
            buffer = Vec::new();
            match poll_fn(|cx| poll_moved(stream, &pipe, cx)).await {
                Err(error) if direct::is_refused(&error) => {
                    refused = true;
                    continue;
                }
                moved => moved?,
            }
        } else {
            buffer.resize(CHUNK, 0);
            let n = Shared(stream).read(&mut buffer).await?;
            pipe.write_all(buffer.get(..n).unwrap_or_default()).await?;
            n
        };
        if moved == 0 {
            return Ok(all);
        }
        all += moved as u64;
    }
}

fn poll_moved(
    stream: &RefCell<BoxStream>,
    pipe: &pipe::Sender,
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    match stream.borrow().reads_from() {
        Some(socket) => direct::poll_into_pipe(socket, pipe, cx),
        None => Poll::Ready(Err(ErrorKind::Unsupported.into())),
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
    let _ = rustix::pipe::fcntl_setpipe_size(&own, CHUNK * 4);
    pipe::Receiver::from_owned_fd(own).ok()
}

/// Standard output as a pipe written without helper threads; `None` when it is something else.
fn pipe_out() -> Option<pipe::Sender> {
    let own = std::io::stdout().as_fd().try_clone_to_owned().ok()?;
    let _ = rustix::pipe::fcntl_setpipe_size(&own, CHUNK * 4);
    pipe::Sender::from_owned_fd(own).ok()
}
