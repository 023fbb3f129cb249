//! Copies between a forwarded connection and its channel until both directions are done.
//!
//! Each direction ends by itself, so half-closed connections work. Memory: one read of [`CHUNK`] bytes while a
//! direction moves, none while it is quiet; the channel's window and the socket are the back-pressure.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ssh::{Channel, Received};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// One read.
const CHUNK: usize = 64 * 1024;

/// How much went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// To the client.
    pub(crate) to_client: u64,
    /// From the client.
    pub(crate) from_client: u64,
}

/// When something last went through a connection, to the millisecond.
pub(crate) struct Pulse {
    began: Instant,
    last: AtomicU64,
}

impl Pulse {
    /// Something went through just now.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Something goes through.
    pub(crate) fn beat(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// For how long nothing has.
    pub(crate) fn quiet_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

/// A socket's reading half, which can say that something is there before a buffer is spent on it.
pub(crate) trait Source {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
    fn read_into(&self, buffer: &mut Vec<u8>) -> io::Result<usize>;
}

macro_rules! source {
    ($type:ty) => {
        impl Source for $type {
            async fn readable(&self) -> io::Result<()> {
                <$type>::readable(self).await
            }

            fn read_into(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
                self.try_read_buf(buffer)
            }
        }
    };
}

source!(tcp::OwnedReadHalf);
source!(unix::OwnedReadHalf);

/// Relays a TCP connection.
pub(crate) async fn tcp(channel: &Channel, stream: TcpStream, pulse: &Pulse) -> Moved {
    let (read, write) = stream.into_split();
    both(channel, read, write, pulse).await
}

/// Relays a connection to a Unix socket.
pub(crate) async fn unix(channel: &Channel, stream: UnixStream, pulse: &Pulse) -> Moved {
    let (read, write) = stream.into_split();
    both(channel, read, write, pulse).await
}

async fn both(channel: &Channel, read: impl Source, write: impl AsyncWrite + Unpin, pulse: &Pulse) -> Moved {
    let ends = Ends::default();
    let (from_client, to_client) =
        tokio::join!(up(channel, write, pulse, &ends), down(channel, read, pulse, &ends));
    channel.close();
    Moved { to_client, from_client }
}

/// What one direction tells the other.
#[derive(Default)]
struct Ends {
    /// The client has closed the channel: nobody hears what the socket still says.
    gone: CancellationToken,
    /// The socket has said all.
    said: CancellationToken,
}

/// From the channel to the socket.
async fn up(channel: &Channel, mut write: impl AsyncWrite + Unpin, pulse: &Pulse, ends: &Ends) -> u64 {
    let mut moved = 0;
    let mut is_open = true;
    loop {
        let bytes = match channel.recv().await {
            Ok(Received::Data(bytes)) => bytes,
            Ok(Received::Request(request)) => {
                request.refuse();
                continue;
            }
            Ok(Received::Extended(..) | Received::Exit(_)) => continue,
            Ok(Received::Eof) => break,
            Ok(Received::Closed) | Err(_) => {
                is_open = false;
                break;
            }
        };
        if write.write_all(&bytes).await.is_err() {
            // The other end is gone: what still comes is dropped with the channel.
            channel.close();
            break;
        }
        moved += bytes.len() as u64;
        pulse.beat();
    }
    drop(write.shutdown().await);
    if is_open {
        tokio::select! {
            () = closed(channel) => {}
            () = ends.said.cancelled() => return moved,
        }
    }
    ends.gone.cancel();
    moved
}

/// Ready when the client wants nothing more of the channel.
async fn closed(channel: &Channel) {
    while let Ok(received) = channel.recv().await {
        match received {
            Received::Request(request) => request.refuse(),
            Received::Closed => return,
            Received::Data(_) | Received::Extended(..) | Received::Exit(_) | Received::Eof => {}
        }
    }
}

/// From the socket to the channel.
async fn down(channel: &Channel, read: impl Source, pulse: &Pulse, ends: &Ends) -> u64 {
    let mut moved = 0;
    let mut gone = pin!(ends.gone.cancelled());
    loop {
        let readable = tokio::select! {
            biased;
            readable = read.readable() => readable,
            () = &mut gone => break,
        };
        if readable.is_err() {
            break;
        }
        let mut buffer = Vec::with_capacity(CHUNK);
        match read.read_into(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        }
        if channel.write_all(&buffer).await.is_err() {
            break;
        }
        moved += buffer.len() as u64;
        pulse.beat();
    }
    channel.eof();
    ends.said.cancel();
    moved
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use runtime::Scope;
    use ssh::client::{self, Credential};
    use ssh::server::{self, Gate};
    use ssh::{Event, HostKey, PrivateKey, PublicKey};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    struct Anyone;

    impl Gate for Anyone {
        type Who = ();

        fn worth_signing(&self, _: &str, _: &PublicKey) -> bool {
            true
        }

        async fn admit(&self, _: &str, _: &PublicKey) -> Option<()> {
            Some(())
        }
    }

    /// A channel's two ends.
    async fn channel(scope: &Scope) -> (Channel, Channel) {
        let key = || Arc::new(PrivateKey::generate("test").unwrap());
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let signer = key();
        let credentials = [Credential { key: signer.public(), signer }];
        let trust = |_: &PublicKey| Ok(());
        let config = Arc::new(server::Config::new(vec![HostKey::plain(key())]));
        let (client, server) = tokio::join!(
            client::connect(ours, Arc::new(client::Config::default()), &trust, "ann", &credentials),
            server::accept(theirs, config, &Anyone),
        );
        let (client, mut server) = (client.unwrap(), server.unwrap());
        scope.spawn("client", client.driver);
        scope.spawn("server", server.driver);
        let (near, far) = tokio::join!(client.connection.open_direct_tcp("far", 1, ("", 0)), async {
            let Some(Event::Open(opening)) = server.incoming.next().await else { panic!("no opening") };
            opening.accept().unwrap()
        });
        (near.unwrap(), far)
    }

    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn a_closed_channel_lets_go_of_a_service_that_says_nothing() {
        for half_closed_before in [false, true] {
            let scope = Scope::root("test");
            let (near, far) = channel(&scope).await;
            let (service, socket) = sockets().await;
            let pulse = Pulse::new();
            let client = async {
                near.write_all(b"hello").await.unwrap();
                if half_closed_before {
                    near.eof();
                }
                near.close();
            };

            let (moved, ()) = tokio::join!(tcp(&far, socket, &pulse), client);

            assert_eq!(moved, Moved { to_client: 0, from_client: 5 }, "{half_closed_before}");
            drop(service);
        }
    }

    #[tokio::test]
    async fn what_a_service_says_after_the_clients_end_arrives() {
        let scope = Scope::root("test");
        let (near, far) = channel(&scope).await;
        let (mut service, socket) = sockets().await;
        let pulse = Pulse::new();
        let service = async move {
            let mut asked = Vec::new();
            service.read_to_end(&mut asked).await.unwrap();
            service.write_all(&asked).await.unwrap();
        };
        let client = async {
            near.write_all(b"hello").await.unwrap();
            near.eof();
            let Received::Data(answer) = near.recv().await.unwrap() else { panic!("no answer") };
            answer
        };

        let (moved, (), answer) = tokio::join!(tcp(&far, socket, &pulse), service, client);

        assert_eq!(&answer[..], b"hello");
        assert_eq!(moved, Moved { to_client: 5, from_client: 5 });
    }
}
