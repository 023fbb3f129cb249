//! The one dialer of every outbound connection: the route's bytes reach the proxy over TLS when ALPN survives the way,
//! and inside a WebSocket when a front on the way ends TLS.
//!
//! Whether ALPN survives is found out by the first connection and remembered; when what was remembered stops working,
//! and for a WebSocket every ten minutes, it is found out anew; a program that runs for a moment goes on from what the one
//! before it found out ([`Memory`]). What leads to a WebSocket is an answer that is not the far
//! end's own, a way that breaks twice in a row, or silence; for a tunnel, which lasts, silence twice in a row: a gate that
//! is slow, or just starts, is asked again. The inner TLS is always verified against the keyring, so the outer one of a
//! WebSocket needs no trust: it only carries. Every step has a deadline; at most two carriers are tried for one connection.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::direct::Wrapped;
use rustls_pki_types::ServerName;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use wire::route::{PROXY_SERVER_NAME, Route, UPGRADE_PATH};

use crate::bare::{Bare, Records, leaves_tls};
use crate::connect::{BoxFuture, BoxStream, Connect, ConnectError};
use crate::hop;
pub use crate::proxy_env::{HostPort, ProxyEnv};
use crate::socket::Use;
use crate::tls::{Keyring, Material};
pub use crate::web_trust::WebTrust;
use crate::web_trust::{How, NoHandshake, secure, server_name};
use crate::websocket::{self, Carrier as WebSocketCarrier};

/// How long a connection may take, everything included.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a front may take to answer the upgrade.
const UPGRADE: Duration = Duration::from_secs(10);

/// How long a WebSocket is used before straight TLS is tried again: networks change, and bare bytes are faster.
const FOUND_OUT_FOR: Duration = Duration::from_secs(600);

/// What carries the route's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarrierKind {
    /// TLS straight to the far end, route by ALPN.
    Tls,
    /// TLS inside a WebSocket, because ALPN did not survive.
    WebSocket,
}

/// How connections get through, and why that way: for `status` and `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    /// What carries the bytes.
    pub kind: CarrierKind,
    /// The HTTP proxy in between, if any.
    pub proxy: Option<String>,
    /// Why this carrier.
    pub why: String,
    /// It was asked for, and says nothing of what the way lets through.
    pub asked: bool,
}

/// What one process keeps of a way for the next.
pub struct Memory {
    /// Only a WebSocket got through: why, and how long ago that was found out.
    pub websocket: Option<(String, Duration)>,
    /// Is told of every way that is found out, once it has been gone.
    pub note: Box<dyn Fn(&Carrier) + Send + Sync>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("websocket", &self.websocket).finish_non_exhaustive()
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            CarrierKind::Tls => "tls",
            CarrierKind::WebSocket => "websocket",
        })?;
        if self.proxy.is_some() { f.write_str("+connect") } else { Ok(()) }
    }
}

/// Dials one address: a proxy's, or an authority's own.
#[derive(Clone, Debug)]
pub struct Dialer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    to: HostPort,
    env: ProxyEnv,
    keyring: Keyring,
    carrier: Mutex<Option<Found>>,
    /// Nobody answered straight TLS, the last time it was tried.
    unanswered: AtomicBool,
    memory: Option<Memory>,
}

/// How connections get through, as it was found out.
#[derive(Debug, Clone)]
struct Found {
    carrier: Carrier,
    at: Instant,
}

/// What to do when a carrier failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing: another carrier fails as this one did.
    GiveUp,
    /// Another carrier, or, for what lasts, the same some time later: somebody on the way swallows this one, or the far end
    /// is slow.
    Silent,
    /// The same once more: it broke.
    Again,
    /// Another carrier: somebody on the way does not let this one through.
    Other,
}

/// A carrier failed.
struct Failed {
    error: ConnectError,
    next: Next,
}

impl From<ConnectError> for Failed {
    fn from(error: ConnectError) -> Self {
        Self { error, next: Next::GiveUp }
    }
}

impl From<NoHandshake> for Failed {
    fn from(NoHandshake { error, how }: NoHandshake) -> Self {
        let next = match how {
            How::Otherwise => Next::Other,
            How::BrokenOff => Next::Again,
            How::Silence => Next::Silent,
        };
        Self { error, next }
    }
}

impl Dialer {
    /// A dialer to `to`, through the proxies of `env`, trusting and showing what `keyring` has at each dial.
    #[must_use]
    pub fn new(to: HostPort, env: ProxyEnv, keyring: Keyring) -> Self {
        Self::made(to, env, keyring, None)
    }

    /// The same, going on from what an earlier process found out, for as long as that holds.
    #[must_use]
    pub fn remembering(to: HostPort, env: ProxyEnv, keyring: Keyring, memory: Memory) -> Self {
        Self::made(to, env, keyring, Some(memory))
    }

    fn made(to: HostPort, env: ProxyEnv, keyring: Keyring, memory: Option<Memory>) -> Self {
        let before = memory.as_ref().and_then(|m| m.websocket.clone()).and_then(|(why, ago)| {
            let carrier = Carrier { kind: CarrierKind::WebSocket, proxy: None, why, asked: false };
            Some(Found { carrier, at: Instant::now().checked_sub(ago)? })
        });
        let (carrier, unanswered) = (Mutex::new(before), AtomicBool::new(false));
        Self(Arc::new(Inner { to, env, keyring, carrier, unanswered, memory }))
    }

    /// Where it dials.
    #[must_use]
    pub fn address(&self) -> &HostPort {
        &self.0.to
    }

    /// How the last connection got through, in this process or the one before; `None` before the first.
    #[must_use]
    pub fn carrier(&self) -> Option<Carrier> {
        self.found().map(|found| found.carrier)
    }

    fn found(&self) -> Option<Found> {
        self.0.carrier.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, found: Option<Found>) {
        *self.0.carrier.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// Found out just now.
    fn learn(&self, carrier: Carrier) {
        if let Some(memory) = &self.0.memory {
            (memory.note)(&carrier);
        }
        self.remember(Some(Found { carrier, at: Instant::now() }));
    }

    /// A stream for `route`: carrier found, TLS done, the far end verified.
    ///
    /// # Errors
    /// No carrier got through; the error names the hop and what to do.
    pub async fn connect(&self, route: Route) -> Result<BoxStream, ConnectError> {
        timeout(DEADLINE, self.discover(route)).await.map_err(|_| ConnectError::Unreachable {
            to: self.0.to.to_string(),
            why: format!("no connection within {DEADLINE:?}"),
        })?
    }

    /// A stream to the web route, as a browser would open it: HTTP/1.1 over TLS.
    ///
    /// # Errors
    /// The far end cannot be reached, or its certificate is not trusted.
    pub async fn connect_web(&self, trust: &WebTrust) -> Result<BoxStream, ConnectError> {
        let to = &self.0.to;
        let work = async {
            let (stream, _) = hop::reach(to, &self.0.env, Use::Single).await?;
            if let WebTrust::Cluster = trust {
                let config = self.config(b"http/1.1", &self.0.keyring.current())?;
                let stream = secure(stream, config, fixed_name(PROXY_SERVER_NAME), to).await?;
                return Ok(Box::new(Wrapped::new(stream)) as BoxStream);
            }
            crate::web_trust::handshake(stream, to, trust).await.map_err(advise_web)
        };
        timeout(DEADLINE, work).await.map_err(|_| ConnectError::Unreachable {
            to: to.to_string(),
            why: format!("no connection within {DEADLINE:?}"),
        })?
    }

    async fn discover(&self, route: Route) -> Result<BoxStream, ConnectError> {
        // The authority's route never leaves TLS, and its own address knows no WebSocket.
        if self.0.env.wants_web_socket() && route != Route::Auth {
            let (stream, proxy) = self.websocket(route).await.map_err(|failed| failed.error)?;
            let why = "MOONGATE_CARRIER asks for it".to_owned();
            self.learn(Carrier { kind: CarrierKind::WebSocket, proxy, why, asked: true });
            return Ok(stream);
        }
        let known = self.found().filter(|found| found.carrier.kind == CarrierKind::WebSocket);
        if let Some(known) = known.clone().filter(|found| found.at.elapsed() < FOUND_OUT_FOR) {
            match self.websocket(route).await {
                Ok((stream, proxy)) => {
                    self.remember(Some(Found { carrier: Carrier { proxy, ..known.carrier }, ..known }));
                    return Ok(stream);
                }
                Err(Failed { error, next }) => {
                    self.remember(None);
                    if next == Next::GiveUp {
                        return Err(error);
                    }
                }
            }
        }
        let direct = match self.direct(route).await {
            Ok((stream, proxy)) => {
                self.0.unanswered.store(false, Ordering::Relaxed);
                let why = "ALPN survives the way".to_owned();
                self.learn(Carrier { kind: CarrierKind::Tls, proxy, why, asked: false });
                return Ok(stream);
            }
            Err(Failed { error, next }) => {
                let silent = next == Next::Silent;
                let again = self.0.unanswered.swap(silent, Ordering::Relaxed);
                let later = silent && route == Route::Tunnel && !again;
                // What was the way in ten minutes ago may be it still.
                if (next == Next::GiveUp || later) && known.is_none() {
                    return Err(error);
                }
                error
            }
        };
        tracing::debug!(error = %direct, "straight TLS does not get through: a WebSocket is tried");
        match self.websocket(route).await {
            Ok((stream, proxy)) => {
                let why = format!("straight TLS failed: {direct}");
                self.learn(Carrier { kind: CarrierKind::WebSocket, proxy, why, asked: false });
                Ok(stream)
            }
            Err(Failed { error, next: Next::GiveUp }) => Err(error),
            Err(Failed { .. }) => Err(direct),
        }
    }

    fn config(&self, alpn: &[u8], material: &Material) -> Result<Arc<rustls::ClientConfig>, ConnectError> {
        material.config(alpn).map_err(|error| ConnectError::Unreachable {
            to: self.0.to.to_string(),
            why: format!("our own certificate or trust is unusable: {error}"),
        })
    }

    fn socket_use(route: Route) -> Use {
        match route {
            Route::Tunnel => Use::Tunnel,
            Route::Auth | Route::Ssh | Route::Carrier => Use::Single,
        }
    }

    /// TLS straight through. Another carrier may do whenever TLS or ALPN, not TCP or the HTTP proxy, is what failed. A gate
    /// that stops or starts breaks connections too: only a way that does so twice is taken for one that lets none through.
    async fn direct(&self, route: Route) -> Result<(BoxStream, Option<String>), Failed> {
        match self.straight(route).await {
            Err(Failed { next: Next::Again, .. }) => {}
            done => return done,
        }
        self.straight(route).await.map_err(|failed| match failed.next {
            Next::Again => Failed { next: Next::Other, ..failed },
            Next::GiveUp | Next::Silent | Next::Other => failed,
        })
    }

    async fn straight(&self, route: Route) -> Result<(BoxStream, Option<String>), Failed> {
        let (stream, proxy) = hop::reach(&self.0.to, &self.0.env, Self::socket_use(route)).await?;
        let stream = self.inner(stream, route, CarrierKind::Tls).await?;
        Ok((stream, proxy.map(|p| p.to_string())))
    }

    /// The TLS that counts: verified by the cluster's authorities, route negotiated.
    async fn inner(&self, stream: BoxStream, route: Route, kind: CarrierKind) -> Result<BoxStream, Failed> {
        let config = self.config(route.alpn(), &self.0.keyring.current())?;
        let name = fixed_name(route.server_name());
        let stream = secure(Records::new(stream), config, name, &self.0.to).await.map_err(advise_silence)?;
        if stream.get_ref().1.alpn_protocol() == Some(route.alpn()) {
            // In a WebSocket TLS stays: its end is the only end of one direction there is.
            return Ok(match leaves_tls(route).filter(|_| kind == CarrierKind::Tls) {
                Some(leave) => Box::new(Bare::new(tokio_rustls::TlsStream::from(stream), leave)),
                None => Box::new(Wrapped::new(stream)),
            });
        }
        let error = ConnectError::Refused {
            by: self.0.to.to_string(),
            why: format!("it did not take up ALPN for the route `{route}`"),
        };
        Err(Failed { error, next: Next::Other })
    }

    /// TLS inside a WebSocket. The outer certificate is not checked: whoever ends the outer TLS sees only the inner.
    async fn websocket(&self, route: Route) -> Result<(BoxStream, Option<String>), Failed> {
        let to = &self.0.to;
        let (stream, proxy) = hop::reach(to, &self.0.env, Self::socket_use(route)).await?;
        let outer = self.config(b"http/1.1", &Material::anyone())?;
        let stream = secure(stream, outer, server_name(to)?, to)
            .await
            .map_err(|failed| Failed { error: failed.error, next: Next::Other })?;
        let stream =
            timeout(UPGRADE, upgrade(Box::new(Wrapped::new(stream)), to)).await.map_err(|_| {
                let why = format!("the front did not answer the WebSocket upgrade within {UPGRADE:?}");
                ConnectError::Unreachable { to: to.to_string(), why }
            })??;
        let inside = self.inner(stream, route, CarrierKind::WebSocket).await;
        let stream = inside.map_err(|failed| Failed { next: Next::GiveUp, ..failed })?;
        Ok((stream, proxy.map(|p| p.to_string())))
    }
}

impl Connect for Dialer {
    fn connect(&self, route: Route) -> BoxFuture<'_, Result<BoxStream, ConnectError>> {
        Box::pin(Dialer::connect(self, route))
    }
}

/// The fixed names are host names by construction; a mistake there would fail every handshake, not one.
fn fixed_name(name: &'static str) -> ServerName<'static> {
    ServerName::try_from(name).unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

/// A network that swallows what it does not know looks like a gate that is slow.
fn advise_silence(failed: NoHandshake) -> NoHandshake {
    match failed {
        NoHandshake { error: ConnectError::Unreachable { to, why }, how: How::Silence } => {
            let why = format!(
                "{why}; if it always does, a network on the way lets no TLS but the web's through: set \
                 MOONGATE_CARRIER=websocket"
            );
            NoHandshake { error: ConnectError::Unreachable { to, why }, how: How::Silence }
        }
        other => other,
    }
}

fn advise_web(error: ConnectError) -> ConnectError {
    match error {
        ConnectError::Untrusted { to, why } => ConnectError::Untrusted {
            to,
            why: format!(
                "{why} (its web certificate is signed by nobody this system trusts; install a public one on the proxy, or pass --insecure if you know whom you talk to)"
            ),
        },
        other => other,
    }
}

async fn upgrade(stream: BoxStream, to: &HostPort) -> Result<BoxStream, ConnectError> {
    let bad = |why: String| ConnectError::Unreachable { to: to.to_string(), why };
    let mut request =
        format!("wss://{to}{UPGRADE_PATH}").into_client_request().map_err(|e| bad(e.to_string()))?;
    let headers = request.headers_mut();
    headers.insert(
        "user-agent",
        http::HeaderValue::from_static(concat!("moongate/", env!("CARGO_PKG_VERSION"))),
    );
    match tokio_tungstenite::client_async_with_config(request, stream, Some(websocket::settings())).await {
        Ok((socket, _)) => Ok(Box::new(WebSocketCarrier::client(socket))),
        Err(tungstenite::Error::Http(response)) => Err(ConnectError::Refused {
            by: format!("the front at {to}"),
            why: explain(response.status().as_u16()),
        }),
        Err(error) => Err(bad(format!("the WebSocket upgrade failed: {error}"))),
    }
}

/// What an answer to the upgrade other than 101 means for whoever runs the front.
fn explain(status: u16) -> String {
    let advice = match status {
        200 | 400 | 405 | 426 => {
            "it does not pass the `Upgrade` header; nginx needs `proxy_http_version 1.1`, `proxy_set_header Upgrade \
             $http_upgrade` and `proxy_set_header Connection \"upgrade\"`"
        }
        301 | 302 | 303 | 307 | 308 => "it redirects; use the address it redirects to",
        401 | 403 => {
            "it wants a login or blocks WebSockets; let this path through unauthenticated, what runs inside is TLS"
        }
        404 => "it does not pass this path to a Moongate proxy",
        502..=504 => "it cannot reach the Moongate proxy behind it",
        _ => "it does not pass WebSockets through",
    };
    format!("GET {UPGRADE_PATH} was answered {status}: {advice}")
}

#[cfg(test)]
mod tests;
