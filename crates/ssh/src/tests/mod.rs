//! A client and a server joined by a pipe, and tests of the whole room over it.

mod credentials;
mod defects;
mod handshake;
mod openssh;
mod sessions;
mod strict;

use std::sync::Arc;
use std::time::Duration;

use runtime::Scope;
use tokio::io::DuplexStream;

use crate::client::{self, Connected, Credential};
use crate::server::{self, Accepted, Gate};
use crate::{
    Channel, ChannelKind, Connection, Error, Event, HostKey, Incoming, PrivateKey, PublicKey, Received,
    RequestKind,
};

/// Lets in one key, whatever the login.
struct Only(PublicKey);

impl Gate for Only {
    type Who = String;

    fn worth_signing(&self, _: &str, _: &PublicKey) -> bool {
        true
    }

    async fn admit(&self, login: &str, key: &PublicKey) -> Option<String> {
        (*key == self.0).then(|| login.to_owned())
    }
}

/// Both ends' settings, and a user who may come in.
struct World {
    server: server::Config,
    client: client::Config,
    user: Arc<PrivateKey>,
    scope: Scope,
}

/// Both ends, driven.
struct Joined {
    client: Connection,
    client_incoming: Incoming,
    server: Connection,
    server_incoming: Incoming,
}

impl World {
    fn new() -> Self {
        let host = Arc::new(PrivateKey::generate("host").unwrap());
        Self {
            server: server::Config::new(vec![HostKey::plain(host)]),
            client: client::Config::default(),
            user: Arc::new(PrivateKey::generate("user").unwrap()),
            scope: Scope::root("test"),
        }
    }

    fn credential(&self) -> Credential {
        Credential { key: self.user.public(), signer: self.user.clone() }
    }

    async fn shake(
        &self,
        ours: DuplexStream,
        theirs: DuplexStream,
    ) -> (Result<Connected<DuplexStream>, Error>, Result<Accepted<DuplexStream, String>, Error>) {
        let gate = Only(self.user.public());
        let credentials = [self.credential()];
        let trust = |_: &PublicKey| Ok(());
        let client = client::connect(ours, Arc::new(self.client.clone()), &trust, "ann", &credentials);
        let server = server::accept(theirs, Arc::new(self.server.clone()), &gate);
        tokio::join!(client, server)
    }

    async fn join(&self) -> Joined {
        self.join_by(64 * 1024).await
    }

    async fn join_by(&self, pipe: usize) -> Joined {
        let (ours, theirs) = tokio::io::duplex(pipe);
        let (client, server) = self.shake(ours, theirs).await;
        let (client, server) = (client.unwrap(), server.unwrap());
        self.scope.spawn("client", client.driver);
        self.scope.spawn("server", server.driver);
        Joined {
            client: client.connection,
            client_incoming: client.incoming,
            server: server.connection,
            server_incoming: server.incoming,
        }
    }
}

impl Joined {
    /// A session, held from both ends: the client's, the server's.
    async fn session(&mut self) -> (Channel, Channel) {
        let (ours, theirs) = tokio::join!(self.client.open_session(), async {
            let Some(Event::Open(opening)) = self.server_incoming.next().await else { panic!("no opening") };
            assert_eq!(opening.kind, ChannelKind::Session);
            opening.accept().unwrap()
        });
        (ours.unwrap(), theirs)
    }
}

/// Fails the test rather than hang.
async fn soon<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it hangs")
}

/// Reads data to its end.
async fn read_all(channel: &Channel) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match channel.recv().await.unwrap() {
            Received::Data(bytes) => all.extend_from_slice(&bytes),
            Received::Extended(..) | Received::Exit(_) => {}
            Received::Request(request) => request.accept(),
            Received::Eof | Received::Closed => return all,
        }
    }
}

/// Gives back every byte until the end.
async fn echo(channel: Channel) {
    loop {
        match channel.recv().await {
            Ok(Received::Data(bytes)) => {
                if channel.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Ok(Received::Extended(..) | Received::Exit(_)) => {}
            Ok(Received::Request(request)) => request.accept(),
            Ok(Received::Eof) => channel.eof(),
            Ok(Received::Closed) | Err(_) => return,
        }
    }
}

/// Bytes that tell where they belong.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from((n * 31 + n / 251) % 256).unwrap()).collect()
}
