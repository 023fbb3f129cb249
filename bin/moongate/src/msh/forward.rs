//! Forwards of `msh ssh`: `-L` and `-R` with ports and Unix sockets, `-D` (SOCKS5) and the agent.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use runtime::Scope;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use ssh::connection::{Event, Incoming};
use ssh::{Channel, Connection};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes,
};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::either::Either;
use wire::ssh::connection::ChannelKind;

use super::args::Ssh;
use super::target::{End, Forward, parse_dynamic};

/// Connections forwarded at once by one listener; more wait.
const AT_ONCE: usize = 256;
/// How long a SOCKS client may take to say where it wants to go.
const GREETING: Duration = Duration::from_secs(10);
/// Between two tries to accept after one failed.
const AGAIN: Duration = Duration::from_secs(1);
const BUFFER: usize = 64 * 1024;
/// Connections that may wait at a socket until they are accepted.
const WAITING: i32 = 128;

/// The forwards asked for.
pub(crate) struct Plan {
    local: Vec<Forward>,
    remote: Vec<Forward>,
    dynamic: Vec<(String, u16)>,
    agent: bool,
}

impl Plan {
    /// Parses the flags.
    ///
    /// # Errors
    /// One of them makes no sense.
    pub(crate) fn parse(wanted: &Ssh) -> Result<Self> {
        Ok(Self {
            local: wanted.local.iter().map(|t| Forward::parse(t)).collect::<Result<_>>()?,
            remote: wanted.remote.iter().map(|t| Forward::parse(t)).collect::<Result<_>>()?,
            dynamic: wanted.dynamic.iter().map(|t| parse_dynamic(t)).collect::<Result<_>>()?,
            agent: wanted.forward_agent,
        })
    }

    /// Listens, asks the node to listen, and serves in `scope`.
    ///
    /// # Errors
    /// A port is taken, or the node refuses to listen.
    pub(crate) async fn start(
        self,
        connection: &Connection,
        incoming: Incoming,
        scope: &Scope,
    ) -> Result<()> {
        for Forward { from, to } in self.local {
            let (door, connection) = (Door::open(&from).await?, connection.clone());
            serve(door, scope, move |stream| local(connection.clone(), stream, to.clone()));
        }
        for (host, port) in self.dynamic {
            let (door, connection) = (Door::open(&End::Port(host, port)).await?, connection.clone());
            serve(door, scope, move |stream| socks(connection.clone(), stream));
        }
        let mut remote = Vec::new();
        for Forward { mut from, to } in self.remote {
            let listening = match &mut from {
                End::Path(path) => connection.listen_unix(&path.to_string_lossy()).await,
                End::Port(host, port) => connection.listen(host, *port).await.map(|chosen| {
                    if std::mem::replace(port, chosen) == 0 {
                        eprintln!("Allocated port {chosen} for remote forward to {to}");
                    }
                }),
            };
            listening.with_context(|| format!("the node does not listen on {from}"))?;
            remote.push(Forward { from, to });
        }
        let (inner, agent) = (scope.clone(), self.agent);
        scope.spawn("forwards from the node", hear(incoming, remote, agent, inner));
        Ok(())
    }
}

/// A connection here, whatever it came in at or goes out to.
type Stream = Either<TcpStream, UnixStream>;

/// Where connections come from.
trait Listen: Send + Sync + 'static {
    type Stream: Send + 'static;
    /// The next connection.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// A place here where connections come in.
enum Door {
    Port(TcpListener),
    Path { listener: UnixListener, _named: Named },
}

/// A socket's name, which goes with it.
struct Named(PathBuf);

impl Drop for Named {
    fn drop(&mut self) {
        // Nothing is lost with it: what is left is taken for what it is by whoever comes next.
        _ = std::fs::remove_file(&self.0);
    }
}

impl Door {
    /// Listens. No host or `*` is every address of this machine, as in ssh(1); a socket is for its owner alone, and
    /// takes the place of one that nobody listens at any more.
    async fn open(at: &End) -> Result<Self> {
        let failed = || format!("cannot listen on {at}");
        match at {
            End::Port(host, port) => {
                let host = if matches!(host.as_str(), "" | "*") { "0.0.0.0" } else { host };
                let listener = TcpListener::bind((host, *port)).await.with_context(failed)?;
                if *port == 0 {
                    eprintln!("Listening on {}", listener.local_addr()?);
                }
                Ok(Self::Port(listener))
            }
            End::Path(path) => {
                let listener = match private(path) {
                    Err(Errno::ADDRINUSE) if left_behind(path).await => {
                        std::fs::remove_file(path).with_context(failed)?;
                        private(path)
                    }
                    bound => bound,
                };
                let listener = UnixListener::from_std(listener.with_context(failed)?)?;
                Ok(Self::Path { listener, _named: Named(path.clone()) })
            }
        }
    }
}

/// A socket at `path` that its owner alone can use, from the first moment on.
fn private(path: &Path) -> Result<std::os::unix::net::UnixListener, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // What the socket is allowed, its name is allowed when it gets one (unix(7)).
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    net::listen(&socket, WAITING)?;
    Ok(socket.into())
}

/// Whether `path` is a socket whose program has gone.
async fn left_behind(path: &Path) -> bool {
    UnixStream::connect(path).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

impl Listen for Door {
    type Stream = Stream;
    async fn next(&self) -> io::Result<Stream> {
        match self {
            Self::Port(listener) => {
                let (stream, _) = listener.accept().await?;
                // It may have gone again; whoever reads from it hears that.
                _ = stream.set_nodelay(true);
                Ok(Either::Left(stream))
            }
            Self::Path { listener, .. } => Ok(Either::Right(listener.accept().await?.0)),
        }
    }
}

/// Connects to what a forward leads to.
async fn reach(to: &End) -> io::Result<Stream> {
    Ok(match to {
        End::Port(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Either::Left(stream)
        }
        End::Path(path) => Either::Right(UnixStream::connect(path).await?),
    })
}

/// Where a connection came from, as the node is told; a Unix socket has no address.
fn origin(stream: &Stream) -> (String, u16) {
    match stream {
        Either::Left(stream) => stream.peer_addr().ok(),
        Either::Right(_) => None,
    }
    .map_or_else(|| (Ipv4Addr::LOCALHOST.to_string(), 0), |peer| (peer.ip().to_string(), peer.port()))
}

/// Accepts for ever; each connection is a task of the scope.
fn serve<F, W>(door: Door, scope: &Scope, work: F)
where
    F: Fn(Stream) -> W + Send + Sync + 'static,
    W: Future<Output = Result<()>> + Send + 'static,
{
    let say = |what: &str| eprintln!("msh: forward: {}", crate::show::clean_lines(what));
    scope.spawn("forward", accept(door, scope.clone(), AGAIN, say, work));
}

/// Accepts for ever. When no connection can be had, says so once and tries `again` after a while; what waits meanwhile
/// waits with the system.
async fn accept<L, W>(
    listener: L,
    scope: Scope,
    again: Duration,
    say: impl Fn(&str) + Clone + Send + 'static,
    work: impl Fn(L::Stream) -> W,
) where
    L: Listen,
    W: Future<Output = Result<()>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut failing = false;
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = match listener.next().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: that passes when connections end.
                if !failing {
                    say(&format!("cannot accept a connection, trying again: {error}"));
                }
                failing = true;
                tokio::time::sleep(again).await;
                continue;
            }
        };
        if std::mem::take(&mut failing) {
            say("connections are accepted again");
        }
        let (done, say) = (work(stream), say.clone());
        scope.spawn("forwarded connection", async move {
            if let Err(error) = done.await {
                say(&format!("{error:#}"));
            }
            drop(permit);
        });
    }
}

async fn join(mut a: impl AsyncRead + AsyncWrite + Unpin, mut b: impl AsyncRead + AsyncWrite + Unpin) {
    // Either side may hang up at any time; that is how forwards end.
    drop(copy_bidirectional_with_sizes(&mut a, &mut b, BUFFER, BUFFER).await);
}

/// Opens the way from the node to `to`.
async fn onwards(connection: &Connection, to: &End, (origin, port): (String, u16)) -> Result<Channel> {
    match to {
        End::Port(host, there) => connection.open_direct_tcp(host, *there, (&origin, port)).await,
        End::Path(path) => {
            connection.open(ChannelKind::DirectUnix { path: path.to_string_lossy().into() }).await
        }
    }
    .with_context(|| format!("the node does not connect to {to}"))
}

async fn local(connection: Connection, stream: Stream, to: End) -> Result<()> {
    let channel = onwards(&connection, &to, origin(&stream)).await?;
    join(stream, channel.into_stream()).await;
    Ok(())
}

/// SOCKS5 (RFC 1928): no authentication, CONNECT only.
async fn socks(connection: Connection, mut stream: Stream) -> Result<()> {
    let (host, port) =
        tokio::time::timeout(GREETING, greet(&mut stream)).await.context("the SOCKS client is silent")??;
    let opened = onwards(&connection, &End::Port(host, port), origin(&stream)).await;
    let code = if opened.is_ok() { 0 } else { 5 };
    stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    join(stream, opened?.into_stream()).await;
    Ok(())
}

async fn greet(stream: &mut Stream) -> Result<(String, u16)> {
    let version = stream.read_u8().await?;
    anyhow::ensure!(version == 5, "the client speaks SOCKS version {version}, not 5");
    let mut methods = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut methods).await?;
    if !methods.contains(&0) {
        stream.write_all(&[5, 0xff]).await?;
        bail!("the SOCKS client insists on a password");
    }
    stream.write_all(&[5, 0]).await?;
    let (_, command, _, kind) =
        (stream.read_u8().await?, stream.read_u8().await?, stream.read_u8().await?, stream.read_u8().await?);
    let host = match kind {
        1 => Ipv4Addr::from(stream.read_u32().await?).to_string(),
        4 => Ipv6Addr::from(stream.read_u128().await?).to_string(),
        3 => {
            let mut name = vec![0; usize::from(stream.read_u8().await?)];
            stream.read_exact(&mut name).await?;
            String::from_utf8(name).context("the host name is not text")?
        }
        other => bail!("unknown SOCKS address type {other}"),
    };
    let port = stream.read_u16().await?;
    if command != 1 {
        stream.write_all(&[5, 7, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        bail!("the SOCKS client asks for something else than CONNECT");
    }
    Ok((host, port))
}

/// Serves what the node opens: connections to where it listens for us, and the agent.
async fn hear(mut incoming: Incoming, remote: Vec<Forward>, agent: bool, scope: Scope) {
    let leads = |is: &dyn Fn(&End) -> bool| remote.iter().find(|f| is(&f.from)).map(|f| f.to.clone());
    while let Some(event) = incoming.next().await {
        let Event::Open(opening) = event else { continue };
        let to = match &opening.kind {
            ChannelKind::ForwardedTcp(path) => {
                leads(&|from| matches!(from, End::Port(_, port) if u32::from(*port) == path.port))
            }
            ChannelKind::ForwardedUnix { path: at } => {
                leads(&|from| matches!(from, End::Path(path) if path == Path::new(at)))
            }
            ChannelKind::Agent if agent => {
                std::env::var_os("SSH_AUTH_SOCK").map(|path| End::Path(path.into()))
            }
            _ => None,
        };
        // Nothing else was asked for: dropping it refuses.
        let Some(to) = to else { continue };
        scope.spawn("forwarded from the node", async move {
            match reach(&to).await {
                Ok(stream) => {
                    if let Ok(channel) = opening.accept() {
                        join(stream, channel.into_stream()).await;
                    }
                }
                Err(error) => opening.unreachable(&error.to_string()),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use super::*;

    /// Fails three times, then has a connection every time.
    struct OutOfDescriptors(AtomicU32);

    impl Listen for OutOfDescriptors {
        type Stream = ();
        async fn next(&self) -> io::Result<()> {
            if self.0.fetch_add(1, Ordering::SeqCst) < 3 {
                return Err(rustix::io::Errno::MFILE.into());
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_listener_without_descriptors_says_so_once_waits_and_goes_on() {
        let (scope, began, again) = (Scope::root("test"), Instant::now(), Duration::from_millis(20));
        let said = Arc::new(Mutex::new(Vec::new()));
        let (served, mut done) = tokio::sync::mpsc::channel(1);
        let told = said.clone();
        let say = move |what: &str| told.lock().unwrap().push(what.to_owned());
        let work = move |()| {
            let served = served.clone();
            async move { Ok(served.send(()).await?) }
        };

        scope.spawn("forward", accept(OutOfDescriptors(AtomicU32::new(0)), scope.clone(), again, say, work));
        done.recv().await.unwrap();

        assert!(began.elapsed() >= again * 3, "each try waits");
        let said = said.lock().unwrap().clone();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("Too many open files"), "{said:?}");
        assert_eq!(said[1], "connections are accepted again");
    }
}
