//! Forwards of `msh ssh`: `-L`, `-R`, `-D` (SOCKS5) and the agent.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use runtime::Scope;
use ssh::Connection;
use ssh::connection::{Event, Incoming};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes,
};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use wire::ssh::connection::ChannelKind;

use super::args::Ssh;
use super::target::{Forward, parse_dynamic};

/// Connections forwarded at once by one listener; more wait.
const AT_ONCE: usize = 256;
/// How long a SOCKS client may take to say where it wants to go.
const GREETING: Duration = Duration::from_secs(10);
/// Between two tries to accept after one failed.
const AGAIN: Duration = Duration::from_secs(1);
const BUFFER: usize = 64 * 1024;

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
        for forward in self.local {
            let listener = bind(&forward.bind, forward.port).await?;
            let connection = connection.clone();
            serve(listener, scope, move |stream, peer| {
                local(connection.clone(), stream, peer, forward.clone())
            });
        }
        for (host, port) in self.dynamic {
            let listener = bind(&host, port).await?;
            let connection = connection.clone();
            serve(listener, scope, move |stream, peer| socks(connection.clone(), stream, peer));
        }
        let mut remote = Vec::new();
        for forward in self.remote {
            let port = connection
                .listen(&forward.bind, forward.port)
                .await
                .with_context(|| format!("the node does not listen on {}:{}", forward.bind, forward.port))?;
            if forward.port == 0 {
                eprintln!(
                    "Allocated port {port} for remote forward to {}:{}",
                    forward.host, forward.host_port
                );
            }
            remote.push((port, forward));
        }
        let (inner, agent) = (scope.clone(), self.agent);
        scope.spawn("forwards from the node", hear(incoming, remote, agent, inner));
        Ok(())
    }
}

/// Listens; no host or `*` is every address of this machine, as in ssh(1).
async fn bind(host: &str, port: u16) -> Result<TcpListener> {
    let host = if matches!(host, "" | "*") { "0.0.0.0" } else { host };
    let listener =
        TcpListener::bind((host, port)).await.with_context(|| format!("cannot listen on {host}:{port}"))?;
    if port == 0 {
        eprintln!("Listening on {}", listener.local_addr()?);
    }
    Ok(listener)
}

/// Where connections come from.
trait Listen: Send + Sync + 'static {
    type Stream: Send + 'static;
    /// The next connection.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;
    fn next(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send {
        self.accept()
    }
}

/// Accepts for ever; each connection is a task of the scope.
fn serve<F, W>(listener: TcpListener, scope: &Scope, work: F)
where
    F: Fn(TcpStream, SocketAddr) -> W + Send + Sync + 'static,
    W: Future<Output = Result<()>> + Send + 'static,
{
    let say = |what: &str| eprintln!("msh: forward: {}", crate::show::clean_lines(what));
    scope.spawn("forward", accept(listener, scope.clone(), AGAIN, say, work));
}

/// Accepts for ever. When no connection can be had, says so once and tries `again` after a while; what waits meanwhile
/// waits with the system.
async fn accept<L, W>(
    listener: L,
    scope: Scope,
    again: Duration,
    say: impl Fn(&str) + Clone + Send + 'static,
    work: impl Fn(L::Stream, SocketAddr) -> W,
) where
    L: Listen,
    W: Future<Output = Result<()>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut failing = false;
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.next().await {
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
        let (done, say) = (work(stream, peer), say.clone());
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

async fn local(connection: Connection, stream: TcpStream, peer: SocketAddr, forward: Forward) -> Result<()> {
    let origin = (peer.ip().to_string(), peer.port());
    let channel = connection
        .open_direct_tcp(&forward.host, forward.host_port, (&origin.0, origin.1))
        .await
        .with_context(|| {
        format!("the node does not connect to {}:{}", forward.host, forward.host_port)
    })?;
    stream.set_nodelay(true)?;
    join(stream, channel.into_stream()).await;
    Ok(())
}

/// SOCKS5 (RFC 1928): no authentication, CONNECT only.
async fn socks(connection: Connection, mut stream: TcpStream, peer: SocketAddr) -> Result<()> {
    let (host, port) =
        tokio::time::timeout(GREETING, greet(&mut stream)).await.context("the SOCKS client is silent")??;
    let origin = (peer.ip().to_string(), peer.port());
    let opened = connection.open_direct_tcp(&host, port, (&origin.0, origin.1)).await;
    let code = if opened.is_ok() { 0 } else { 5 };
    stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    let channel = opened.with_context(|| format!("the node does not connect to {host}:{port}"))?;
    stream.set_nodelay(true)?;
    join(stream, channel.into_stream()).await;
    Ok(())
}

async fn greet(stream: &mut TcpStream) -> Result<(String, u16)> {
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

/// Serves what the node opens: connections to ports it listens on for us, and the agent.
async fn hear(mut incoming: Incoming, remote: Vec<(u16, Forward)>, agent: bool, scope: Scope) {
    while let Some(event) = incoming.next().await {
        let Event::Open(opening) = event else { continue };
        match &opening.kind {
            ChannelKind::ForwardedTcp(path) => {
                let found =
                    remote.iter().find(|(port, _)| u32::from(*port) == path.port).map(|(_, f)| f.clone());
                let Some(forward) = found else { continue };
                scope.spawn("forwarded from the node", async move {
                    match TcpStream::connect((forward.host.as_str(), forward.host_port)).await {
                        Ok(stream) => {
                            if let Ok(channel) = opening.accept() {
                                join(stream, channel.into_stream()).await;
                            }
                        }
                        Err(error) => opening.unreachable(&error.to_string()),
                    }
                });
            }
            ChannelKind::Agent if agent => {
                let Some(socket) = std::env::var_os("SSH_AUTH_SOCK") else { continue };
                scope.spawn("agent", async move {
                    match UnixStream::connect(socket).await {
                        Ok(stream) => {
                            if let Ok(channel) = opening.accept() {
                                join(stream, channel.into_stream()).await;
                            }
                        }
                        Err(error) => opening.unreachable(&error.to_string()),
                    }
                });
            }
            // Nothing else was asked for: dropping it refuses.
            _ => {}
        }
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
        async fn next(&self) -> io::Result<((), SocketAddr)> {
            if self.0.fetch_add(1, Ordering::SeqCst) < 3 {
                return Err(rustix::io::Errno::MFILE.into());
            }
            Ok(((), SocketAddr::from((Ipv4Addr::LOCALHOST, 1))))
        }
    }

    #[tokio::test]
    async fn a_listener_without_descriptors_says_so_once_waits_and_goes_on() {
        let (scope, began, again) = (Scope::root("test"), Instant::now(), Duration::from_millis(20));
        let said = Arc::new(Mutex::new(Vec::new()));
        let (served, mut done) = tokio::sync::mpsc::channel(1);
        let told = said.clone();
        let say = move |what: &str| told.lock().unwrap().push(what.to_owned());
        let work = move |(), _| {
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
