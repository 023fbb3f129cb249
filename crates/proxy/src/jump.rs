//! The jump host: `ssh -J gate:3080 login@node` with nothing but OpenSSH.
//!
//! The outer SSH ends here, the inner one at the node. A live certificate of the user authority gets in, under any login;
//! only connections to nodes are opened, by name or id, whatever port is asked for. No shells, no forwards, no agent.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use model::Identity;
use pki::Trust;
use runtime::{Clock, Place, Scope};
use ssh::server::{Accepted, Config, Gate as Door};
use ssh::{ChannelKind, Connection, Event, Incoming, Opening, PublicKey};
use tokio::sync::OwnedSemaphorePermit;
use tunnel::Registry;
use wire::dial::{Class, DialHeader, Target, TraceId};

use crate::BoxStream;
use crate::limits::{People, TOO_MANY_PEOPLE};

const NO_SHELL: &str =
    "this is Moongate's gate, not a host: use `ssh -J <gate> <login>@<node>` or `msh ssh <login>@<node>`";
const NO_FORWARD: &str = "only connections to nodes of the cluster are opened here";

/// Channels one connection may have open at a time.
const MAX_CHANNELS: usize = 64;

/// How long saying goodbye may take.
const GOODBYE: std::time::Duration = std::time::Duration::from_secs(1);

/// What the jump host needs.
pub(crate) struct Jump {
    pub(crate) config: Arc<Config>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) clock: Clock,
    pub(crate) registry: Registry,
    pub(crate) cluster: String,
    pub(crate) random: runtime::Random,
    pub(crate) people: People,
}

struct Certificates {
    trust: Arc<Trust>,
    clock: Clock,
    peer: SocketAddr,
}

impl Door for Certificates {
    type Who = Identity;

    async fn admit(&self, _login: &str, key: &PublicKey) -> Option<Identity> {
        let certificate = pki::ssh::Certificate::from_blob(key.as_bytes()).ok()?;
        match pki::ssh::verify_user(&certificate, &self.trust, Some(self.peer.ip()), self.clock.now()) {
            Ok(user) => Some(user.identity),
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "a certificate was refused at the jump host");
                None
            }
        }
    }
}

/// Whether the one who has this place is the only one on the connection.
fn is_alone(place: &OwnedSemaphorePermit) -> bool {
    place.semaphore().available_permits() == MAX_CHANNELS - place.num_permits()
}

impl Jump {
    /// Serves one connection to its end.
    pub(crate) async fn serve(self, stream: BoxStream, peer: SocketAddr, pending: Place, scope: &Scope) {
        let door = Certificates { trust: self.trust.clone(), clock: self.clock.clone(), peer };
        let accepted = match ssh::server::accept(stream, self.config.clone(), &door).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%peer, %error, "no SSH here");
                return;
            }
        };
        drop(pending);
        let Accepted { who, incoming, driver, connection, .. } = accepted;
        let good_for = who.expires_at.since(self.clock.now());
        let channels = scope.child("jump");
        let mut driver = std::pin::pin!(driver);
        let Some(_presence) = who.user().and_then(|name| self.people.enter(name)) else {
            connection.disconnect(TOO_MANY_PEOPLE);
            let _ = tokio::time::timeout(GOODBYE, driver.as_mut()).await;
            return;
        };
        tokio::select! {
            _ = driver.as_mut() => {}
            () = self.open_all((&connection, incoming), &who, peer, &channels) => {}
            () = tokio::time::sleep(good_for) => {
                connection.disconnect("your certificate has expired: sign in again");
                let _ = tokio::time::timeout(GOODBYE, driver.as_mut()).await;
            }
        }
        channels.cancel();
    }

    async fn open_all(
        &self,
        (connection, mut incoming): (&Connection, Incoming),
        who: &Identity,
        peer: SocketAddr,
        scope: &Scope,
    ) {
        let places = Arc::new(tokio::sync::Semaphore::new(MAX_CHANNELS));
        while let Some(event) = incoming.next().await {
            match event {
                Event::Open(opening) => match places.clone().try_acquire_owned() {
                    Ok(place) => self.open((connection, opening), who, peer, scope, place),
                    Err(_) => opening.prohibit("too many connections at a time"),
                },
                Event::Listen(listen) => listen.refuse(),
            }
        }
        // The peer asks for nothing more; the driver says when the connection is over.
        std::future::pending::<()>().await;
    }

    fn open(
        &self,
        (connection, opening): (&Connection, Opening),
        who: &Identity,
        peer: SocketAddr,
        scope: &Scope,
        place: OwnedSemaphorePermit,
    ) {
        let host = match &opening.kind {
            ChannelKind::DirectTcp(path) => path.host.clone(),
            ChannelKind::Session => return opening.prohibit(NO_SHELL),
            ChannelKind::ForwardedTcp(_)
            | ChannelKind::DirectUnix { .. }
            | ChannelKind::ForwardedUnix { .. }
            | ChannelKind::Agent
            | ChannelKind::X11 { .. }
            | ChannelKind::Unknown(_)
            | ChannelKind::Unreadable(_) => return opening.prohibit(NO_FORWARD),
        };
        let Ok(target) = Target::parse(&host, &self.cluster) else {
            return opening.unreachable("that is not the name of a node");
        };
        let trace = TraceId(self.random.bytes());
        let header = DialHeader { target, client: Some(peer), trace, class: Class::Interactive };
        let stream = match self.registry.dial(&header) {
            Ok(stream) => stream,
            Err(error) => return opening.unreachable(&error.to_string()),
        };
        let Ok(channel) = opening.accept() else { return };
        tracing::info!(%peer, user = %who.display_name(), node = %header.target, %trace, "jump");
        let connection = connection.clone();
        scope.spawn("jump channel", async move {
            let carried = ssh::relay(channel, stream).await;
            tracing::debug!(%trace, ?carried, "jump over");
            if carried.broke == Some(ErrorKind::TimedOut) && is_alone(&place) {
                // A closed channel has no words for people; they see these where nothing else goes through here.
                connection.disconnect(&format!("node `{}` did not answer in time", header.target));
            }
            drop(place);
        });
    }
}
