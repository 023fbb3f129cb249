//! Listeners a client asks for: `-R` to ports and Unix sockets.
//!
//! Ports are bound on loopback alone unless the host's configuration says otherwise; ports below 1024 only for
//! root. At most [`MAX`] listeners a connection; each connection that comes in is a channel, and channels are bounded.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use policy::SshAction;
use runtime::Scope;
use session::event::Status;
use ssh::{ChannelKind, GlobalKind, Listen};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::report::Direction;
use super::visit::Visit;
use crate::relay;

/// Most listeners of one connection.
const MAX: usize = 64;
/// Connections that may wait to be taken.
const BACKLOG: u32 = 1024;

/// What is listened on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Port(String, u16),
    Path(String),
}

impl Place {
    fn direction(&self) -> Direction {
        match self {
            Place::Port(..) => Direction::Remote,
            Place::Path(_) => Direction::Socket,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Port(host, port) => write!(f, "{host}:{port}"),
            Place::Path(path) => f.write_str(path),
        }
    }
}

/// The listeners of a connection, which end with it or when they are told to; what came in through them ends with the
/// connection alone.
#[derive(Default)]
pub(super) struct Listeners(BTreeMap<Place, Scope>);

impl Listeners {
    /// Answers a wish to listen, or to stop.
    pub(super) async fn answer(&mut self, visit: &Arc<Visit>, wish: Listen) {
        match &wish.kind {
            GlobalKind::Listen { host, port } => {
                let Ok(port) = u16::try_from(*port) else { return wish.refuse() };
                let place = Place::Port(host.clone(), port);
                match self.listen(visit, place).await {
                    Some(port) => wish.accept(port),
                    None => wish.refuse(),
                }
            }
            GlobalKind::ListenUnix { path } => {
                let place = Place::Path(path.clone());
                match self.listen(visit, place).await {
                    Some(_) => wish.accept(0),
                    None => wish.refuse(),
                }
            }
            GlobalKind::Unlisten { host, port } => {
                let place = u16::try_from(*port).ok().map(|port| Place::Port(host.clone(), port));
                self.stop(place, wish);
            }
            GlobalKind::UnlistenUnix { path } => self.stop(Some(Place::Path(path.clone())), wish),
            GlobalKind::Keepalive
            | GlobalKind::HostKeys
            | GlobalKind::NoMoreSessions
            | GlobalKind::Unknown(_) => wish.refuse(),
        }
    }

    fn stop(&mut self, place: Option<Place>, wish: Listen) {
        match place.and_then(|place| self.0.remove(&place)) {
            Some(scope) => {
                scope.cancel();
                wish.accept(0);
            }
            None => wish.refuse(),
        }
    }

    /// Listens; the port when it worked. Failures are on record.
    async fn listen(&mut self, visit: &Arc<Visit>, place: Place) -> Option<u16> {
        let outcome = if let Err(denial) = visit.ask(SshAction::ForwardRemote) {
            Err(denial.to_string())
        } else if self.0.len() >= MAX {
            Err(format!("too many listeners (at most {MAX})"))
        } else if self.0.contains_key(&place) {
            Err("listened on already".to_owned())
        } else {
            bind(visit, &place).await
        };
        match outcome {
            Ok((place, ears)) => {
                let port = match &place {
                    Place::Port(_, port) => *port,
                    Place::Path(_) => 0,
                };
                let scope = visit.scope.child("listener");
                visit
                    .scope
                    .spawn_graceful("listener", hear(visit.clone(), place.clone(), ears, scope.clone()));
                self.0.insert(place, scope);
                Some(port)
            }
            Err(why) => {
                visit.forwarded(place.direction(), &place.to_string(), Status::failed(why)).await;
                None
            }
        }
    }
}

/// Bound sockets.
enum Ears {
    Ports(Vec<TcpListener>),
    Path(UnixListener, crate::spawner::Bound),
}

async fn bind(visit: &Visit, place: &Place) -> Result<(Place, Ears), String> {
    let account = visit.account.as_ref().map_err(Clone::clone)?;
    match place {
        Place::Path(path) => {
            let bound = account.bind(path.as_bytes()).await.map_err(|e| crate::pump::words(&e))?;
            let socket = bound.socket.try_clone().and_then(UnixListener::from_std);
            Ok((place.clone(), Ears::Path(socket.map_err(|e| e.to_string())?, bound)))
        }
        Place::Port(_, port) if (1..1024).contains(port) && account.uid() != 0 => {
            Err("ports below 1024 are root's".to_owned())
        }
        Place::Port(host, port) => {
            let (port, listeners) = bind_ports(&addresses(host, visit)?, *port)?;
            Ok((Place::Port(host.clone(), port), Ears::Ports(listeners)))
        }
    }
}

/// Where to bind for a host as RFC 4254 section 7.1 writes it. Without public listeners it is loopback whatever was
/// asked, as sshd does it.
fn addresses(host: &str, visit: &Visit) -> Result<Vec<IpAddr>, String> {
    let loopback = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    if !visit.node.0.settings.public_listeners {
        return Ok(loopback);
    }
    match host {
        "localhost" => Ok(loopback),
        "" | "*" => Ok(vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]),
        other => other.parse().map(|ip| vec![ip]).map_err(|_| "not an address".to_owned()),
    }
}

/// Binds the same port on each address. A port that the system chose on one may be somebody's on another: then again.
fn bind_ports(addresses: &[IpAddr], port: u16) -> Result<(u16, Vec<TcpListener>), String> {
    let tries = if port == 0 { 8 } else { 1 };
    let mut outcome = Err("no address".to_owned());
    for _ in 0..tries {
        outcome = bind_all(addresses, port);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// On every address this host has: one that somebody else listens on already would lead people to them.
fn bind_all(addresses: &[IpAddr], port: u16) -> Result<(u16, Vec<TcpListener>), String> {
    let (mut port, mut bound, mut last) = (port, Vec::new(), "no address".to_owned());
    for address in addresses {
        match bind_one(SocketAddr::new(*address, port)) {
            Ok(listener) => {
                port = listener.local_addr().map_err(|e| e.to_string())?.port();
                bound.push(listener);
            }
            Err(error) if is_not_here(&error) => last = error.to_string(),
            Err(error) => return Err(error.to_string()),
        }
    }
    if bound.is_empty() { Err(last) } else { Ok((port, bound)) }
}

/// IPv6 alone where the address is: what is bound on all of IPv4 would be in its way otherwise.
fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn is_not_here(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

/// Listens until its scope ends, and says when it began and stopped.
async fn hear(visit: Arc<Visit>, place: Place, ears: Ears, scope: Scope) {
    let (direction, address) = (place.direction(), place.to_string());
    let hearing = async {
        tokio::join!(visit.forwarded(direction, &address, Status::ok()), async {
            match ears {
                Ears::Ports(listeners) => hear_ports(&visit, &place, listeners).await,
                Ears::Path(listener, bound) => {
                    hear_path(&visit, &place, listener).await;
                    // Its path goes with it.
                    drop(bound);
                }
            }
        })
    };
    tokio::select! {
        _ = hearing => {}
        () = scope.cancelled() => {}
    }
    visit.unforwarded(direction, &address).await;
}

async fn hear_ports(visit: &Arc<Visit>, place: &Place, listeners: Vec<TcpListener>) {
    let Place::Port(host, port) = place else { return };
    loop {
        let accepted = poll_fn(|cx| {
            let mut ready = listeners.iter().map(|listener| listener.poll_accept(cx));
            ready.find(Poll::is_ready).unwrap_or(Poll::Pending)
        });
        let (stream, from) = match accepted.await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let (visit, host, port) = (visit.clone(), host.clone(), *port);
        // What came in outlives the listener: to listen no more cuts nobody off (as in sshd).
        visit.scope.clone().spawn("forwarded port", async move {
            drop(stream.set_nodelay(true));
            let origin = (from.ip().to_string(), from.port());
            let opened = visit.ssh.open_forwarded_tcp(&host, port, (&origin.0, origin.1)).await;
            if let Ok(channel) = opened {
                relay::tcp(&channel, stream, &visit.pulse).await;
            }
        });
    }
}

async fn hear_path(visit: &Arc<Visit>, place: &Place, listener: UnixListener) {
    let Place::Path(path) = place else { return };
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let (visit, path) = (visit.clone(), path.clone());
        visit.scope.clone().spawn("forwarded socket", async move {
            if let Ok(channel) = visit.ssh.open(ChannelKind::ForwardedUnix { path }).await {
                relay::unix(&channel, stream, &visit.pulse).await;
            }
        });
    }
}

/// An accept that fails at once would fail again at once: out of descriptors, most likely.
pub(super) async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a forward cannot accept");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
