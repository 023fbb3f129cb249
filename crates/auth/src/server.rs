//! One connection: TLS, HTTP, and for each request the table, the gate, the handler.
//!
//! Bounds: handshakes 10 s, [`HALF_OPEN`] at a time and [`HALF_OPEN_EACH`] from one address; [`CONNECTIONS`] connections; 128 requests on each; bodies by
//! verb ([`body_limit`]) read within 30 s; handlers answer within 30 s. What is over a bound is refused, not queued.
//! A handler that has begun ends by itself: callers who leave, or are told that it takes too long, cut no change in two.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use model::api::{Endpoint, Shape};
use runtime::{Place, Places, Scope};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use wire::route::RELAY_ALPN;

use crate::authority::Core;
use crate::certs::fingerprint;
use crate::dispatch::{Ctx, Reply, Source, Table};
use crate::gate::{self, Caller};
use crate::heard::Heard;
use crate::query::{Fields, read_query};
use crate::refusal::{Answer, Refusal};
use crate::settings::Probe;
use crate::tunnels::Ended;
use crate::{relayed, verbs};

const HANDSHAKE: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(10);
/// The most handshakes at a time.
pub(crate) const HALF_OPEN: usize = 4096;
/// The same, from one address, as proxies vouch for it: one stranger does not keep the rest out.
pub(crate) const HALF_OPEN_EACH: u32 = 256;
/// The most connections at a time.
pub(crate) const CONNECTIONS: usize = 16_384;
const REQUESTS: u32 = 128;
/// How long a connection without a certificate lasts: long enough to sign in or join.
const STRANGER: Duration = Duration::from_secs(120);
/// Of a proxy it is found out sooner ([`Times`](crate::settings::Times)): which nodes can be reached hangs on it.
const PROBE: Probe = Probe { after: Duration::from_secs(30), answer: Duration::from_secs(15) };
/// Lines of a stream waiting for a slow reader; then the source waits.
const LINES: usize = 16;

/// Serves connections. Built once; clones share.
#[derive(Clone)]
pub(crate) struct Front {
    core: Arc<Core>,
    table: Arc<Table>,
    tls: Arc<ServerConfig>,
    half_open: Arc<Places>,
    connections: Arc<Semaphore>,
}

impl Front {
    pub(crate) fn new(core: Arc<Core>, tls: Arc<ServerConfig>) -> Self {
        Self {
            core,
            table: Arc::new(verbs::table()),
            tls,
            half_open: Arc::new(Places::new(HALF_OPEN, HALF_OPEN_EACH)),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve<S>(self, stream: S, peer: Option<SocketAddr>, scope: Scope)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(_connection) = self.connections.clone().try_acquire_owned() else {
            tracing::warn!(?peer, "too many connections: one was closed");
            return;
        };
        let Some(half_open) = self.half_open(peer) else { return };
        let Some(stream) = self.handshake(stream, peer).await else { return };
        let caller = self.caller(&stream, peer);
        if !is_relay(&stream) {
            return self.talk(stream, caller, half_open, scope).await;
        }
        // Somebody else's connection stands in the proxy's and ends with its certificate at the latest.
        let life = self.life_of(&caller);
        let _ = tokio::time::timeout(life, self.relayed(stream, caller, half_open, scope)).await;
    }

    fn half_open(&self, peer: Option<SocketAddr>) -> Option<Place> {
        let place = self.half_open.take(peer.map(|peer| peer.ip()));
        if place.is_none() {
            tracing::warn!(?peer, "too many half-open connections: one was closed");
        }
        place
    }

    async fn handshake<S>(&self, stream: S, peer: Option<SocketAddr>) -> Option<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = TlsAcceptor::from(self.tls.clone()).accept(stream);
        match tokio::time::timeout(HANDSHAKE, handshake).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(?peer, %error, "TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!(?peer, "TLS handshake took too long");
                None
            }
        }
    }

    /// A proxy passes a connection on: whose it is, then their TLS as if they had come here themselves.
    async fn relayed<S>(self, mut stream: TlsStream<S>, proxy: Caller, half_open: Place, scope: Scope)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if gate::admit_relay(&self.core, &proxy).await.is_err() {
            return tracing::warn!(peer = ?proxy.peer, "only proxies pass connections on: one was closed");
        }
        let peer = match tokio::time::timeout(HANDSHAKE, relayed::source(&mut stream)).await {
            Ok(Ok(peer)) => Some(peer),
            Ok(Err(error)) => {
                return tracing::warn!(peer = ?proxy.peer, %error, "a proxy does not say for whom");
            }
            Err(_) => return tracing::debug!(peer = ?proxy.peer, "a proxy does not say for whom in time"),
        };
        drop(half_open);
        let Some(half_open) = self.half_open(peer) else { return };
        let Some(stream) = self.handshake(stream, peer).await else { return };
        if is_relay(&stream) {
            return tracing::warn!(?peer, "a passed-on connection inside another was closed");
        }
        let caller = self.caller(&stream, peer);
        self.talk(stream, caller, half_open, scope).await;
    }

    async fn talk<S>(self, stream: TlsStream<S>, caller: Caller, half_open: Place, scope: Scope)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Still half open: whoever says nothing after the handshake holds no place for long.
        let stream = match tokio::time::timeout(HANDSHAKE, Heard::begin(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) | Err(_) => return tracing::debug!(peer = ?caller.peer, "nothing was asked"),
        };
        drop(half_open);
        self.converse(TokioIo::new(stream), caller, scope).await;
    }

    fn caller<S>(&self, stream: &TlsStream<S>, peer: Option<SocketAddr>) -> Caller {
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let trusted = leaf.and_then(|leaf| {
            let identity =
                pki::x509::verify_client(leaf, self.core.keys.now().trust(), self.core.now()).ok()?;
            Some((identity, fingerprint(&pki::x509::key_of(leaf).ok()?)))
        });
        let (identity, key) = trusted.unzip();
        Caller { identity, key, peer, ended: Ended::default() }
    }

    async fn converse<I>(self, io: I, caller: Caller, scope: Scope)
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let probe = if caller.is_proxy() { self.core.settings.times.proxy_probe } else { PROBE };
        let mut builder = auto::Builder::new(OnScope(scope.clone()));
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE).keep_alive(true);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(REQUESTS)
            .initial_stream_window_size(2 * 1024 * 1024)
            .initial_connection_window_size(8 * 1024 * 1024)
            .keep_alive_interval(probe.after)
            .keep_alive_timeout(probe.answer);
        let life = self.life_of(&caller);
        let _ending = Ending { core: self.core.clone(), ended: caller.ended.clone() };
        let (front, streams) = (self, scope.child("streams"));
        let handlers = Arc::new(Semaphore::new(REQUESTS as usize));
        let line = Line { caller, streams: streams.clone(), handlers };
        let service = service_fn(move |request| {
            let (front, line) = (front.clone(), line.clone());
            async move { Ok::<_, Infallible>(front.answer(request, line).await) }
        });
        let mut connection = pin!(builder.serve_connection(io, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = scope.cancelled() => None,
            () = tokio::time::sleep(life) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                // Streams end with their scope; requests under way get their grace.
                streams.cancel();
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended badly");
        }
    }

    /// A connection ends with its certificate; one without a certificate soon.
    fn life_of(&self, caller: &Caller) -> Duration {
        match &caller.identity {
            Some(identity) => identity.expires_at.since(self.core.now()),
            None => STRANGER,
        }
    }

    async fn answer(&self, request: Request<Incoming>, line: Line) -> Response<ReplyBody> {
        match self.handle(request, line).await {
            Ok(response) => response,
            Err(refusal) => {
                let body = serde_json::to_vec(&refusal.body()).unwrap_or_default();
                let status = StatusCode::from_u16(refusal.fault.status());
                respond(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), JSON, ReplyBody::of(body.into()))
            }
        }
    }

    async fn handle(&self, request: Request<Incoming>, line: Line) -> Answer<Response<ReplyBody>> {
        let Line { caller, streams, handlers } = line;
        let (parts, body) = request.into_parts();
        let found = self.table.find(parts.method.as_str(), parts.uri.path());
        let Some((row, mut text)) = found else {
            return Err(gate::nothing(&self.core, &caller).await);
        };
        let endpoint = row.endpoint.clone();
        // The decision comes before the body: a stranger's bytes are not even read.
        let pass = gate::admit(&self.core, &endpoint, &caller).await?;
        if let Some(query) = parts.uri.query() {
            text.extend(read_query(query)?);
        }
        let body = read_body(body, body_limit(&endpoint)).await?;
        let (upload, body) = match endpoint.shape {
            Shape::Upload => (body, Bytes::new()),
            Shape::Json | Shape::Download | Shape::Stream => (Bytes::new(), body),
        };
        let ctx = Ctx { core: self.core.clone(), caller: caller.clone(), pass, upload };
        let busy = || Refusal::unavailable("the authority is too busy: try again");
        // Those that nobody waits for any more keep their place to their end.
        let place = handlers.try_acquire_owned().map_err(|_| busy())?;
        let work = row.run(ctx, Fields { text, body });
        let work = streams.spawn_graceful("handler", async move {
            let _place = place;
            work.await
        });
        let reply = tokio::time::timeout(DEADLINE, work).await.map_err(|_| busy())?;
        let reply = reply.map_err(Refusal::internal)??;
        Ok(match reply {
            Reply::Json(bytes) => respond(StatusCode::OK, JSON, ReplyBody::of(bytes)),
            Reply::Raw(bytes) => respond(StatusCode::OK, OCTETS, ReplyBody::of(bytes)),
            Reply::Stream(source) => {
                let (lines, body) = mpsc::channel(LINES);
                streams.spawn("stream", pump(self.core.clone(), endpoint, caller, source, lines));
                respond(StatusCode::OK, NDJSON, ReplyBody::Lines(body))
            }
        })
    }
}

/// What the requests of one connection share.
#[derive(Clone)]
struct Line {
    caller: Caller,
    /// Streams end with it.
    streams: Scope,
    /// Places of handlers, [`REQUESTS`].
    handlers: Arc<Semaphore>,
}

/// Tells when a connection ended, however that came about.
struct Ending {
    core: Arc<Core>,
    ended: Ended,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.ended.set(self.core.now());
    }
}

fn is_relay<S>(stream: &TlsStream<S>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(RELAY_ALPN)
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

fn respond(status: StatusCode, kind: HeaderValue, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The longest body of a verb's request.
pub(crate) fn body_limit(endpoint: &Endpoint) -> usize {
    match (endpoint.shape, endpoint.name) {
        (Shape::Upload, _) => audit::recording::segment::MAX,
        (_, "EmitEvents") => 16 * 1024 * 1024,
        (_, "ReportTunnels") => 4 * 1024 * 1024,
        (_, "SignIn" | "BeginPasskeySignIn" | "GetInvite" | "AcceptInvite" | "Join") => 16 * 1024,
        _ => 512 * 1024,
    }
}

async fn read_body(body: Incoming, max: usize) -> Answer<Bytes> {
    let read = tokio::time::timeout(DEADLINE, Limited::new(body, max).collect())
        .await
        .map_err(|_| Refusal::bad("the request's body did not arrive in time"))?;
    match read {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Refusal::too_large(format!("the request is larger than {max} bytes")))
        }
        Err(_) => Err(Refusal::bad("the request's body broke off")),
    }
}

/// Moves items to the reader; asks the gate again with each heartbeat, so that a stream ends with its right.
async fn pump(
    core: Arc<Core>,
    endpoint: Endpoint,
    caller: Caller,
    mut source: Box<dyn Source>,
    lines: mpsc::Sender<Bytes>,
) {
    let mut heartbeat = tokio::time::interval(core.settings.times.heartbeat);
    heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    heartbeat.tick().await;
    loop {
        // Cancel safe: sources are, and a tick lost is a heartbeat later.
        let line = tokio::select! {
            item = source.next() => match item {
                Ok(Some(line)) => line,
                Ok(None) => return,
                Err(refusal) => return tracing::debug!(?refusal, "a stream ended"),
            },
            _ = heartbeat.tick() => {
                if gate::admit(&core, &endpoint, &caller).await.is_err() {
                    return;
                }
                Bytes::from_static(b"\n")
            }
        };
        // A reader that takes nothing for this long is gone.
        if !matches!(tokio::time::timeout(DEADLINE, lines.send(line)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// The body of an answer.
pub(crate) enum ReplyBody {
    Whole(Option<Bytes>),
    Lines(mpsc::Receiver<Bytes>),
}

impl ReplyBody {
    fn of(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes))
    }
}

impl hyper::body::Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Lines(lines) => lines.poll_recv(context).map(|line| line.map(|b| Ok(Frame::data(b)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(bytes) => {
                hyper::body::SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Self::Lines(_) => hyper::body::SizeHint::default(),
        }
    }
}

/// Runs HTTP's own tasks in our scope.
#[derive(Clone)]
struct OnScope(Scope);

impl<F> hyper::rt::Executor<F> for OnScope
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, work: F) {
        // Graceful: the connection above ends it, within its grace.
        self.0.spawn_graceful("http/2", work);
    }
}
