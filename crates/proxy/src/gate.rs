//! What becomes of one connection: its first bytes are looked at, and it is handed to whoever it is for.
//!
//! The same gate takes what comes out of a WebSocket: only TLS there, and no second WebSocket inside. Every look has a
//! deadline and a bound; a stranger gets no answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::websocket;
use client::{BoxStream, Keyring};
use model::{ClusterName, Identity, UserName};
use pki::Trust;
use runtime::direct::Wrapped;
use runtime::{Clock, Place, Random, Scope, Shunt};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tunnel::Registry;
use wire::Reader;
use wire::dial::{DialHeader, DialReply, Refusal};
use wire::http_head::{self, HttpHead};
use wire::proxy_header::{self, ProxyHeader};
use wire::route::{Route, Wish, wish};
use wire::sniff::Protocol;
use wire::{client_hello, client_hello::ClientHello};

use crate::address::{Network, ProxyHeaders};
use crate::jump::Jump;
use crate::limits::{Doors, Limits, People, TOO_MANY_PEOPLE};
use crate::look::{Dropped, read_whole, told_apart, wants_upgrade_path};
use crate::plain;
use crate::relay::relay;
use crate::rewind::Rewind;
use crate::tls::{HANDSHAKE, Tls};
use crate::web_cert::WebCerts;
use crate::{AuthDial, BoxFuture, Error, WebConn, WebHandler};

/// A client that says nothing for this long waits for a banner: it speaks SSH. Whoever speaks first is never mistaken for
/// one: where the first packet is lost it comes again after a second (RFC 6298), and a client on a busy machine is slow.
const SILENCE: Duration = Duration::from_secs(3);

/// How long the authority may take to answer a dial.
pub(crate) const AUTH_DIAL: Duration = Duration::from_secs(10);

/// Everything a gate is made of.
pub struct Settings {
    /// The cluster's name: nodes are also called `<name>.<cluster>`.
    pub cluster: ClusterName,
    /// Our host certificate, as it is renewed.
    pub keyring: Keyring,
    /// Whom to believe, as it changes.
    pub trust: watch::Receiver<Arc<Trust>>,
    /// The jump host's SSH server, as its host certificate is renewed.
    pub ssh: watch::Receiver<Arc<ssh::server::Config>>,
    /// What browsers see.
    pub web_certs: WebCerts,
    /// The TLS 1.2 cipher suites for browsers, by name; empty for all there are.
    pub cipher_suites: Vec<String>,
    /// Serves the web route.
    pub web: Arc<dyn WebHandler>,
    /// Reaches the authority.
    pub auth: Arc<dyn AuthDial>,
    /// The tunnels.
    pub registry: Registry,
    /// What to do about PROXY headers.
    pub proxy_headers: ProxyHeaders,
    /// Fronts whose `X-Forwarded-For` is believed on the upgrade.
    pub forwarded_for: Vec<Network>,
    /// Bounds.
    pub limits: Limits,
    /// Who is connected to nodes.
    pub people: People,
    /// The time.
    pub clock: Clock,
    /// Trace ids.
    pub random: Random,
}

/// The one handler of every connection. Clones share.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    settings: Settings,
    tls: Tls,
    doors: Doors,
    scope: Scope,
    /// Passes on what is only sockets.
    shunt: Shunt,
}

/// One connection's circumstances.
struct Visit {
    peer: SocketAddr,
    carrier: Carrier,
    pending: Place,
    /// Until the visit is over.
    connection: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Plain,
    WebSocket,
}

impl Carrier {
    fn name(self) -> &'static str {
        match self {
            Carrier::Plain => "tls",
            Carrier::WebSocket => "websocket",
        }
    }
}

impl Visit {
    fn in_web_socket(&self) -> bool {
        self.carrier == Carrier::WebSocket
    }
}

/// Leads a connection of the web route back through the gate, when it asked for the upgrade's path after other requests.
/// It keeps its place, and is counted for whomever a front names by then.
pub struct WayBack {
    gate: Gate,
    peer: SocketAddr,
    /// Until it is taken: a connection is upgraded once.
    place: Mutex<Option<Place>>,
}

impl WayBack {
    /// Serves the bytes of a WebSocket that an HTTP server upgraded on [`wire::route::UPGRADE_PATH`]: `upgraded` is the
    /// connection after its 101. `client` is where it comes from, forwarded headers considered.
    pub fn upgraded(&self, upgraded: BoxStream, client: SocketAddr) -> BoxFuture<'static, ()> {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (gate, peer) = (self.gate.clone(), self.peer);
        Box::pin(async move {
            if let Some(place) = place {
                gate.upgraded(upgraded, (peer, client), place).await;
            }
        })
    }
}

impl Gate {
    pub(crate) fn new(settings: Settings, scope: Scope) -> Result<Self, Error> {
        let tls = Tls::new(
            settings.keyring.clone(),
            settings.trust.clone(),
            (settings.web_certs.clone(), &settings.cipher_suites),
            settings.clock.clone(),
        )?;
        let doors = Doors::new(&settings.limits);
        let shunt = Shunt::start().map_err(Error::Threads)?;
        Ok(Self(Arc::new(Inner { settings, tls, doors, scope, shunt })))
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.settings.registry
    }

    pub(crate) fn web_certs(&self) -> &WebCerts {
        &self.0.settings.web_certs
    }

    pub(crate) fn connection(&self, ip: IpAddr) -> Option<Place> {
        self.0.doors.connection(ip, self.speaks_for_many(ip), Instant::now())
    }

    fn speaks_for_many(&self, ip: IpAddr) -> bool {
        self.0.settings.proxy_headers.believes(ip) || self.is_front(ip)
    }

    /// One of the fronts that were named.
    fn is_front(&self, ip: IpAddr) -> bool {
        let Settings { proxy_headers, forwarded_for, .. } = &self.0.settings;
        proxy_headers.fronts().iter().chain(forwarded_for).any(|network| network.contains(ip))
    }

    /// A front said whose the visit is.
    fn named(&self, visit: &mut Visit, client: SocketAddr) -> Result<(), Dropped> {
        visit.peer = client;
        if self.is_front(client.ip()) {
            return Ok(());
        }
        let places = (&mut visit.connection, &mut visit.pending);
        if self.0.doors.named(client.ip(), places, Instant::now()) {
            Ok(())
        } else {
            Err(format!("too many connections of {}, as a front says", client.ip()))
        }
    }

    /// Takes a fresh connection of a listener; it has its place until it is over.
    pub(crate) async fn take(&self, stream: BoxStream, peer: SocketAddr, place: Place) {
        let Some(pending) = self.0.doors.pending(peer.ip(), self.speaks_for_many(peer.ip())) else {
            tracing::debug!(%peer, "too many half-open connections");
            return;
        };
        let visit = Visit { peer, carrier: Carrier::Plain, pending, connection: place };
        if let Err(why) = self.greet(Rewind::new(stream), visit).await {
            tracing::debug!(%peer, %why, "connection dropped");
        }
    }

    /// Takes the bytes of a WebSocket that an HTTP server upgraded on [`wire::route::UPGRADE_PATH`], for `client`.
    async fn upgraded(&self, upgraded: BoxStream, (sender, client): (SocketAddr, SocketAddr), place: Place) {
        let Some(pending) = self.0.doors.pending(sender.ip(), self.speaks_for_many(sender.ip())) else {
            return;
        };
        let mut visit = Visit { peer: sender, carrier: Carrier::WebSocket, pending, connection: place };
        let work = async {
            if client != sender {
                self.named(&mut visit, client)?;
            }
            let carrier: BoxStream = Box::new(websocket::Carrier::upgraded(upgraded).await);
            self.tls(Rewind::new(carrier), visit).await
        };
        if let Err(why) = work.await {
            tracing::debug!(peer = %client, %why, "connection dropped");
        }
    }

    /// PROXY header, then what is spoken.
    async fn greet(&self, mut stream: Rewind<BoxStream>, mut visit: Visit) -> Result<(), Dropped> {
        let mut protocol = told_apart(&mut stream, SILENCE).await?;
        if matches!(protocol, Some(Protocol::ProxyV1 | Protocol::ProxyV2)) {
            if let Some(client) = self.proxied(&mut stream, visit.peer).await? {
                self.named(&mut visit, client)?;
            }
            protocol = told_apart(&mut stream, SILENCE).await?;
        } else if self.0.settings.proxy_headers.are_required() {
            return Err("no PROXY header where one is required".into());
        }
        match protocol {
            Some(Protocol::Tls) => self.tls(stream, visit).await,
            Some(Protocol::Http) => self.plain_http(stream, visit).await,
            Some(Protocol::Ssh) | None => {
                self.jump().serve(Box::new(stream), visit.peer, visit.pending, &self.0.scope).await;
                Ok(())
            }
            Some(Protocol::ProxyV1 | Protocol::ProxyV2) => Err("a PROXY header inside another".into()),
        }
    }

    fn jump(&self) -> Jump {
        let settings = &self.0.settings;
        Jump {
            config: settings.ssh.borrow().clone(),
            trust: settings.trust.borrow().clone(),
            clock: settings.clock.clone(),
            registry: settings.registry.clone(),
            cluster: settings.cluster.to_string(),
            random: settings.random.clone(),
            people: settings.people.clone(),
        }
    }

    /// Whom a PROXY header names, if anybody, where its sender may be believed.
    async fn proxied(
        &self,
        stream: &mut Rewind<BoxStream>,
        sender: SocketAddr,
    ) -> Result<Option<SocketAddr>, Dropped> {
        if !self.0.settings.proxy_headers.believes(sender.ip()) {
            tracing::warn!(%sender, "a PROXY header from an address that is not trusted to send one");
            return Err("a PROXY header from a stranger".into());
        }
        let header = read_whole(stream, proxy_header::MAX, |seen| {
            let mut reader = Reader::new(seen);
            let header = ProxyHeader::decode(&mut reader)?;
            Ok(header.map(|header| (header, seen.len() - reader.remaining())))
        });
        let (header, length) = header.await?;
        stream.skip(length);
        Ok(header.source())
    }

    /// TLS: the ClientHello says where to. Boxed, because what comes out of a WebSocket comes here again.
    fn tls(&self, mut stream: Rewind<BoxStream>, visit: Visit) -> BoxFuture<'_, Result<(), Dropped>> {
        Box::pin(async move {
            let hello = read_whole(&mut stream, client_hello::MAX_WIRE, client_hello::decode).await?;
            match wish(hello.alpn.iter().map(Vec::as_slice)) {
                Wish::Route(Route::Auth) => self.pass_on(stream, visit).await,
                Wish::Route(Route::Tunnel) => self.tunnel(stream, visit).await,
                Wish::Route(Route::Ssh) => self.ssh(stream, visit).await,
                Wish::Route(Route::Carrier) => self.carrier(stream, visit).await,
                // A stranger's names fail the handshake with the alert that says so.
                Wish::Web | Wish::Stranger => self.web(stream, visit, &hello).await,
            }
        })
    }

    /// The authority's TLS is not ours to end.
    async fn pass_on(&self, stream: Rewind<BoxStream>, visit: Visit) -> Result<(), Dropped> {
        let auth = timeout(AUTH_DIAL, self.0.settings.auth.connect(visit.peer)).await;
        let auth = auth
            .map_err(|_| "the authority did not answer".to_owned())
            .and_then(|a| a.map_err(|error| format!("the authority cannot be reached: {error}")));
        let auth = auth.inspect_err(|why| tracing::warn!(%why, "cannot pass a connection on"))?;
        drop(visit.pending);
        relay(stream, auth, None).await.map(|_| ()).map_err(|e| e.to_string())
    }

    fn good_for(&self, identity: &Identity) -> Duration {
        identity.expires_at.since(self.0.settings.clock.now())
    }

    async fn tunnel(&self, stream: Rewind<BoxStream>, visit: Visit) -> Result<(), Dropped> {
        let (stream, identity) =
            self.0.tls.accept_route(Box::new(stream), Route::Tunnel, visit.in_web_socket()).await?;
        drop(visit.pending);
        let good_for = self.good_for(&identity);
        let served = self.registry().serve(stream, &identity, visit.carrier.name(), good_for).await;
        served.map(|_| ()).map_err(|e| e.to_string())
    }

    /// An agent's connection for one stream of its tunnel.
    async fn carrier(&self, stream: Rewind<BoxStream>, visit: Visit) -> Result<(), Dropped> {
        let (stream, identity) =
            self.0.tls.accept_route(Box::new(stream), Route::Carrier, visit.in_web_socket()).await?;
        self.registry().claim(Box::new(stream), &identity).await.map_err(|e| e.to_string())?;
        drop(visit.pending);
        Ok(())
    }

    /// A person's stream to a node.
    async fn ssh(&self, stream: Rewind<BoxStream>, visit: Visit) -> Result<(), Dropped> {
        let (stream, identity) =
            self.0.tls.accept_route(Box::new(stream), Route::Ssh, visit.in_web_socket()).await?;
        let mut stream = Rewind::new(stream);
        let (mut header, length) = read_whole(&mut stream, DialHeader::MAX, |seen| {
            let mut reader = Reader::new(seen);
            let header = DialHeader::decode(&mut reader)?;
            Ok(header.map(|header| (header, seen.len() - reader.remaining())))
        })
        .await?;
        stream.skip(length);
        drop(visit.pending);
        header.client = Some(visit.peer);
        let dialed = may_dial(&identity, visit.peer)
            .and_then(|name| self.0.settings.people.enter(name).ok_or(TOO_MANY_PEOPLE))
            .map_err(|why| DialReply::Refused(Refusal::Denied, why.to_owned()))
            .and_then(|presence| match self.registry().dial(&header) {
                Ok(node) => Ok((node, presence)),
                Err(error) => Err(DialReply::Refused(error.refusal(), error.to_string())),
            });
        let (reply, node) = match dialed {
            Ok(node) => (DialReply::Ok, Some(node)),
            Err(reply) => (reply, None),
        };
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        let answer = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        };
        timeout(HANDSHAKE, answer).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        let Some((node, _presence)) = node else {
            let _ = timeout(HANDSHAKE, stream.shutdown()).await;
            return Err(format!("{reply:?}"));
        };
        tracing::info!(peer = %visit.peer, user = %identity.display_name(), node = %header.target, trace = %header.trace, "dial");
        // Who only passes bytes on has no use for the stream, nor for what it is part of.
        let _conversation = node.conversation();
        let fallen = node.fallen();
        let outcome = tokio::select! {
            outcome = relay(stream, node, Some(&self.0.shunt)) => outcome,
            () = fallen => Err(std::io::ErrorKind::ConnectionAborted.into()),
        };
        tracing::debug!(trace = %header.trace, ?outcome, "dial over");
        Ok(())
    }

    async fn web(&self, stream: Rewind<BoxStream>, visit: Visit, hello: &ClientHello) -> Result<(), Dropped> {
        if visit.in_web_socket() {
            // Its upgrade would lead here again, one TLS and one WebSocket deeper each time.
            return Err("a browser inside a WebSocket".into());
        }
        let stream = self.0.tls.accept_web(Box::new(stream), hello.server_name.as_deref()).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let mut stream: Rewind<BoxStream> = Rewind::new(Box::new(Wrapped::new(stream)));
        if !http2 && wants_upgrade_path(&mut stream).await {
            return self.upgrade(stream, visit).await;
        }
        drop(visit.pending);
        let back =
            WayBack { gate: self.clone(), peer: visit.peer, place: Mutex::new(Some(visit.connection)) };
        let conn = WebConn { stream: Box::new(stream), peer: visit.peer, http2, back };
        self.0.settings.web.serve(conn).await;
        Ok(())
    }

    /// HTTP without TLS: the upgrade is as good here (what runs inside is TLS), everything else belongs on https.
    async fn plain_http(&self, mut stream: Rewind<BoxStream>, visit: Visit) -> Result<(), Dropped> {
        if wants_upgrade_path(&mut stream).await {
            return self.upgrade(stream, visit).await;
        }
        let head = read_whole(&mut stream, http_head::MAX, HttpHead::decode).await;
        plain::say_and_close(&mut stream, &plain::elsewhere(head.ok().as_ref())).await;
        Ok(())
    }

    /// The WebSocket carrier: a front ends TLS before us, the same TLS runs again inside.
    async fn upgrade(&self, mut stream: Rewind<BoxStream>, mut visit: Visit) -> Result<(), Dropped> {
        let head = read_whole(&mut stream, http_head::MAX, HttpHead::decode).await?;
        if head.method != "GET" || !head.wants_websocket() {
            plain::say_and_close(&mut stream, &plain::upgrade_required()).await;
            return Err("a front does not pass the Upgrade header".into());
        }
        if let Some(client) = self.forwarded_for(&head, visit.peer)? {
            self.named(&mut visit, client)?;
        }
        visit.carrier = Carrier::WebSocket;
        let accepted = tokio_tungstenite::accept_async_with_config(stream, Some(websocket::settings()));
        let socket = timeout(HANDSHAKE, accepted).await.map_err(|e| e.to_string())?;
        let socket = socket.map_err(|e| e.to_string())?;
        let carrier: BoxStream = Box::new(websocket::Carrier::server(socket));
        self.tls(Rewind::new(carrier), visit).await
    }

    /// Whom a front names on an upgrade, if anybody, where it may be believed.
    fn forwarded_for(&self, head: &HttpHead, sender: SocketAddr) -> Result<Option<SocketAddr>, Dropped> {
        let believed = self.0.settings.forwarded_for.iter().any(|network| network.contains(sender.ip()));
        if !believed || head.values("x-forwarded-for").next().is_none() {
            return Ok(None);
        }
        let value = head.only("x-forwarded-for").unwrap_or_default();
        match value.parse::<IpAddr>() {
            Ok(ip) => Ok(Some(SocketAddr::new(ip, 0))),
            Err(_) => Err("X-Forwarded-For is not one address".into()),
        }
    }
}

/// Who may dial is the node's decision; that it is a person, at the pinned address if there is one, is checked here.
fn may_dial(identity: &Identity, peer: SocketAddr) -> Result<&UserName, &'static str> {
    let name = identity.user().ok_or("only people connect to nodes")?;
    let pinned = identity.login_ip.filter(|_| identity.pin_ip);
    if identity.pin_ip && pinned.map(|ip| ip.to_canonical()) != Some(peer.ip().to_canonical()) {
        return Err("the certificate is good from the address of its login only: sign in again from here");
    }
    Ok(name)
}
