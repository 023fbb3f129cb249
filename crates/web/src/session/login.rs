//! Signing a browser in and out, and what its page asks first: who, what they may, until when.

use std::net::IpAddr;
use std::sync::Arc;

use client::CallError;
use http::header::{HeaderMap, HeaderValue, SET_COOKIE, USER_AGENT};
use http::{Method, Request};
use http_body_util::Either;
use hyper::body::Incoming;
use model::api::Fault;
use model::api::access::{Me, WhoAmI};
use serde::Serialize;
use serde_json::json;

use super::Sessions;
use super::guard::{self, Absent, Browser, COOKIE_NAME};
use super::person::{Keys, Origin, Person, Proof};
use crate::Web;
use crate::answer::{self, Answer};
use crate::people;

/// What the app is told of its session.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    me: Me,
    cluster: &'a str,
    csrf: &'a str,
    expires: model::Timestamp,
    /// Nobody may be away for longer; absent when they may.
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_seconds: Option<u64>,
    /// Agreed to what is told before sessions; absent when nothing is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreed: Option<bool>,
    /// Lines to keep of a terminal.
    scrollback: u32,
    version: &'static str,
}

/// Who is signed in.
pub(crate) async fn session(web: &Web, from: IpAddr, headers: &HeaderMap) -> Answer {
    match (guard::whose(web, from, headers), guard::holder(web, from, headers)) {
        (Ok(Browser { person, token, .. }), _) => tell(web, &person, &token).await,
        // What is needed to unlock it, or to sign out.
        (Err(absent @ Absent::Locked), Some(Browser { person, .. })) => {
            let mut answer = absent.answer();
            let said = json!({
                "fault": Fault::Unauthenticated,
                "code": guard::LOCKED,
                "message": "this browser is locked",
                "user": person.user,
                "csrf": person.csrf,
            });
            *answer.body_mut() = Either::Left(said.to_string().into());
            answer
        }
        (Err(absent), _) => absent.answer(),
    }
}

pub(crate) async fn tell(web: &Web, person: &Person, token: &str) -> Answer {
    match person.client.call(&WhoAmI {}).await {
        Ok(me) => {
            person.learn(&me);
            answer::json(&Told {
                agreed: me.notice.map(|_| person.has_agreed()),
                me,
                cluster: &person.cluster,
                csrf: &person.csrf,
                expires: person.expires,
                lock_seconds: web.sessions().and_then(|s| s.limits().lock).map(|after| after.as_secs()),
                scrollback: web.settings().scrollback_lines,
                version: model::VERSION,
            })
        }
        // The authority no longer knows this person: a lock, or a removed user.
        Err(CallError::Refused { fault: Fault::Unauthenticated | Fault::NotFound, .. }) => {
            if let Some(sessions) = web.sessions() {
                sessions.end(token);
            }
            Absent::Nobody.answer()
        }
        Err(error) => answer::failed("who am I", &error),
    }
}

/// A challenge for the sign-in page.
pub(crate) async fn challenge(web: &Web, from: IpAddr, headers: &HeaderMap) -> Answer {
    if web.sessions().is_none() {
        return answer::not_found();
    }
    if !guard::from_our_page(&Method::POST, headers) {
        return answer::fault(Fault::BadRequest, "this request did not come from the sign-in page");
    }
    people::begin_passkey(web, from).await
}

/// Password and code in, or a passkey; a cookie out. The keys never leave this process.
pub(crate) async fn sign_in(web: &Web, from: IpAddr, request: Request<Incoming>) -> Answer {
    let Some(sessions) = web.sessions() else { return answer::not_found() };
    if !guard::from_our_page(&Method::POST, request.headers()) {
        return answer::fault(Fault::BadRequest, "this request did not come from the sign-in page");
    }
    let before = guard::cookie(request.headers());
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let origin = Origin::new(from, agent.unwrap_or_default());
    let ask = match people::read::<Proof>(request).await {
        Ok(ask) => ask,
        Err(refusal) => return refusal,
    };
    let person = match enter(web, sessions, ask, origin).await {
        Ok(person) => person,
        Err(refusal) => return refusal,
    };
    if let Some(before) = before {
        sessions.end(&before);
    }
    let Some(token) = sessions.admit(person.clone()) else {
        return answer::fault(Fault::Unavailable, "too many people are signed in: try again later");
    };
    let mut told = tell(web, &person, &token).await;
    if told.status().is_success() {
        set_cookie(&mut told, &token, "");
    } else {
        sessions.end(&token);
    }
    told
}

async fn enter(web: &Web, sessions: &Sessions, ask: Proof, origin: Origin) -> Result<Arc<Person>, Answer> {
    let broken = |why: String| {
        tracing::error!(%why, "a web session could not be made");
        answer::fault(Fault::Internal, "the session could not be made")
    };
    let keys = Keys::generate(sessions.random()).map_err(broken)?;
    let verb = keys.ask(ask, origin.from);
    let certs = web.client().call(&verb).await.map_err(|error| answer::failed("sign-in", &error))?;
    Person::new(sessions.ground(), keys, certs, origin).map(Arc::new).map_err(broken)
}

/// The person agrees to what is told before sessions. To those who are told nothing there is no such address.
pub(crate) fn agree(web: &Web, from: IpAddr, headers: &HeaderMap) -> Answer {
    let person = match guard::whose(web, from, headers) {
        Ok(browser) => browser.person,
        Err(absent) => return absent.answer(),
    };
    if !person.is_told() {
        return answer::not_found();
    }
    if !guard::is_ours(&person, &Method::POST, headers) {
        return guard::not_ours();
    }
    person.agree();
    answer::json(&model::api::Done {})
}

/// Ends the session and everything it started, locked or not: it takes nothing that shutting the browser does not.
pub(crate) fn sign_out(web: &Web, from: IpAddr, headers: &HeaderMap) -> Answer {
    let Some(Browser { person, token, sessions }) = guard::holder(web, from, headers) else {
        return Absent::Nobody.answer();
    };
    if !guard::is_ours(&person, &Method::DELETE, headers) {
        return guard::not_ours();
    }
    sessions.end(&token);
    let mut done = answer::json(&model::api::Done {});
    set_cookie(&mut done, "", "; Max-Age=0");
    done
}

fn set_cookie(answer: &mut Answer, token: &str, more: &str) {
    let line = format!("{COOKIE_NAME}={token}; Path=/; Secure; HttpOnly; SameSite=Strict{more}");
    if let Ok(line) = HeaderValue::from_str(&line) {
        answer.headers_mut().insert(SET_COOKIE, line);
    }
}
