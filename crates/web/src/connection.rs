//! One connection: requests one after the other, until an upgrade hands it over or its time is up.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::BoxStream;
use http::header::{HOST, HeaderMap};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::api::Fault;
use runtime::direct::Wrapped;

use crate::answer::{self, Answer};
use crate::route::{NoRoute, Route};
use crate::session::{self, login, own, unlock};
use crate::streams::Streams;
use crate::{
    CONNECTION_LIFE, Carriers, HEAD_DEADLINE, Settings, Web, app, discovery, files, pages, people, terminal,
    upgrade,
};

/// The largest head of a request.
const MAX_HEAD: usize = 32 * 1024;
/// How long the last request of a connection may take once its time is up.
const GRACE: Duration = Duration::from_secs(60);
/// How long the connection may take to be handed over after the `101`.
const HANDOVER: Duration = Duration::from_secs(10);

/// An upgrade that was answered with `101`: what for, and the future connection.
type Upgrade = Arc<Mutex<Option<(For, OnUpgrade)>>>;

/// What a connection is upgraded for.
enum For {
    /// Every other route, by the peer.
    Carrier(SocketAddr),
    /// A terminal of a signed-in browser.
    Terminal(terminal::Came),
}

impl Web {
    /// Serves one connection to its end. It never waits for the peer longer than the bounds of this room, except
    /// inside [`Carriers::upgraded`], which has its own.
    pub async fn serve(&self, stream: BoxStream, peer: SocketAddr, carriers: &dyn Carriers) {
        serve(self.clone(), stream, peer, carriers).await;
    }
}

async fn serve(web: Web, stream: BoxStream, peer: SocketAddr, carriers: &dyn Carriers) {
    let upgrade: Upgrade = Arc::default();
    let kept = upgrade.clone();
    let serving = web.clone();
    let streams = Streams::default();
    let counted = streams.clone();
    let service = service_fn(move |request| {
        let (web, kept) = (serving.clone(), (upgrade.clone(), counted.clone()));
        async move { Ok::<_, std::convert::Infallible>(handle(&web, peer, request, &kept).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = match tokio::time::timeout(CONNECTION_LIFE, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                // A transfer has its own deadlines, and may take hours.
                () = streams.quiet_for(GRACE) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "web connection ended");
    }
    let upgraded = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((what, upgraded)) = upgraded
        && let Ok(Ok(stream)) = tokio::time::timeout(HANDOVER, upgraded).await
    {
        let stream = Box::new(Wrapped::new(TokioIo::new(stream)));
        match what {
            For::Carrier(from) => carriers.upgraded(stream, from).await,
            For::Terminal(came) => terminal::serve(&web, terminal::Line::socket(stream).await, came).await,
        }
    }
}

async fn handle(
    web: &Web,
    peer: SocketAddr,
    request: Request<Incoming>,
    (upgrade, streams): &(Upgrade, Streams),
) -> Answer {
    let route = match check(web.settings(), peer, &request) {
        Ok((route, from)) => {
            tracing::debug!(%from, route = route.word(), "web request");
            (route, from)
        }
        Err(Refused::Odd(why)) => return answer::fault(Fault::BadRequest, why),
        Err(Refused::Unknown) => return answer::not_found(),
    };
    match route {
        (Route::Ping, _) => discovery::ping(web).await,
        (Route::Find, _) => discovery::find(web).await,
        (Route::Message, _) => discovery::message(web).await,
        (Route::Trust, _) => people::trust(web).await,
        (Route::SignIn, from) => people::sign_in(web, from, request).await,
        (Route::Invite, _) => people::invite(web, request).await,
        (Route::AcceptInvite, from) => people::accept_invite(web, from, request).await,
        (Route::Link { reset }, _) => pages::link(request.headers(), reset),
        (Route::Asset(name), _) => pages::asset(&name),
        (Route::Home, _) => app::home(request.headers()),
        (Route::App(name), from) => app::file(web, from, request.headers(), &name),
        (Route::WebSignIn, from) => login::sign_in(web, from, request).await,
        (Route::WebPasskey, from) => login::challenge(web, from, request.headers()).await,
        (Route::WebSignOut, from) => login::sign_out(web, from, request.headers()),
        (Route::Sessions, from) => own::list(web, from, request.headers()),
        (Route::EndSessions(which), from) => own::end(web, from, request.headers(), &which),
        (Route::Alive, from) => unlock::alive(web, from, request.headers()),
        (Route::Lock, from) => unlock::lock(web, from, request.headers()),
        (Route::Unlock, from) => unlock::unlock(web, from, request).await,
        (Route::Agree, from) => login::agree(web, from, request.headers()),
        (Route::Session, from) => login::session(web, from, request.headers()).await,
        (Route::Api, from) => session::pass(web, from, request).await,
        (Route::Ticket, from) => terminal::ticket(web, from, request).await,
        (Route::Files(what), from) => {
            files::handle(web, what, SocketAddr::new(from, peer.port()), request, streams).await
        }
        (Route::Terminals, from) => terminal::list(web, from, request.headers()),
        (Route::Terminal, from) => {
            let from = SocketAddr::new(from, peer.port());
            match terminal::admit(web, request.headers(), from) {
                Ok(came) => {
                    terminal::note_front(&came.person, upgrade::missing(&request));
                    switch(request, upgrade, For::Terminal(came))
                }
                Err(refusal) => *refusal,
            }
        }
        (Route::Line, from) => {
            match terminal::admit(web, request.headers(), SocketAddr::new(from, peer.port())) {
                Ok(came) => terminal::open(web, came, request, streams).await,
                Err(refusal) => *refusal,
            }
        }
        (Route::LineFrames, from) => terminal::heard(web, from, request).await,
        (Route::Upgrade, from) => switch(request, upgrade, For::Carrier(SocketAddr::new(from, peer.port()))),
    }
}

/// Answers an upgrade and keeps the connection for what it is for.
fn switch(mut request: Request<Incoming>, upgrade: &Upgrade, what: For) -> Answer {
    let answer = upgrade::answer(&request);
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let kept = Some((what, hyper::upgrade::on(&mut request)));
        *upgrade.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }
    answer
}

/// Why a request is not looked at further.
enum Refused {
    /// It makes no sense, or two.
    Odd(&'static str),
    /// There is nothing at its path.
    Unknown,
}

/// Finds what a request is for and whom it is from.
fn check<B>(settings: &Settings, peer: SocketAddr, request: &Request<B>) -> Result<(Route, IpAddr), Refused> {
    const TWO_WAYS: Refused = Refused::Odd("the path could be read in two ways");
    if request.headers().get_all(HOST).iter().count() > 1 {
        return Err(Refused::Odd("more than one Host"));
    }
    // A request for a proxy names a whole address: we are none.
    if request.uri().authority().is_some() {
        return Err(TWO_WAYS);
    }
    let from = whose(settings, peer, request.headers())
        .ok_or(Refused::Odd("the front must send exactly one address in X-Forwarded-For"))?;
    match Route::parse(request.method(), request.uri().path()) {
        Ok(route) => Ok((route, from)),
        Err(NoRoute::Odd) => Err(TWO_WAYS),
        Err(NoRoute::Unknown) => Err(Refused::Unknown),
    }
}

/// The person's address: the peer's, or what a trusted front says, which must be one thing.
fn whose(settings: &Settings, peer: SocketAddr, headers: &HeaderMap) -> Option<IpAddr> {
    let mut said = headers.get_all("x-forwarded-for").iter();
    match (settings.trust_forwarded_for, said.next(), said.next()) {
        (false, _, _) | (true, None, _) => Some(peer.ip().to_canonical()),
        (true, Some(one), None) => {
            one.to_str().ok()?.trim().parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
        }
        (true, Some(_), Some(_)) => None,
    }
}
