//! Locking a browser and unlocking it: by its own page, for its own person.
//!
//! While it is locked every other answer is [`Absent::Locked`]. An unlock proves the person as signing in does, counts
//! wrong tries alike, and issues nothing: the session ends when it would have ended.

use std::net::IpAddr;

use http::header::HeaderMap;
use http::{Method, Request};
use hyper::body::Incoming;
use model::api::{Done, Fault};

use super::guard::{self, Absent};
use super::login::tell;
use super::person::Proof;
use crate::Web;
use crate::answer::{self, Answer};
use crate::people;

/// The person did something.
pub(crate) fn alive(web: &Web, headers: &HeaderMap) -> Answer {
    let (person, sessions) = match (guard::whose(web, headers), web.sessions()) {
        (Ok((person, _)), Some(sessions)) => (person, sessions),
        (Err(absent), _) => return absent.answer(),
        (_, None) => return answer::not_found(),
    };
    if !guard::is_ours(&person, &Method::POST, headers) {
        return guard::not_ours();
    }
    person.idle.touch(sessions.now());
    answer::json(&Done {})
}

/// Locks the browser.
pub(crate) fn lock(web: &Web, headers: &HeaderMap) -> Answer {
    let person = match guard::whose(web, headers) {
        Ok((person, _)) => person,
        Err(absent) => return absent.answer(),
    };
    if !guard::is_ours(&person, &Method::POST, headers) {
        return guard::not_ours();
    }
    person.idle.lock();
    answer::json(&Done {})
}

/// Opens the browser again for who proves to be its person.
pub(crate) async fn unlock(web: &Web, from: IpAddr, request: Request<Incoming>) -> Answer {
    let (Some((person, token)), Some(sessions)) = (guard::holder(web, request.headers()), web.sessions())
    else {
        return Absent::Nobody.answer();
    };
    if !guard::is_ours(&person, &Method::POST, request.headers()) {
        return guard::not_ours();
    }
    let proof = match people::read::<Proof>(request).await {
        Ok(proof) => proof,
        Err(refusal) => return refusal,
    };
    if !proof.is_for(&person.user) {
        return answer::coded(Fault::BadRequest, "somebody_else", "this browser is somebody else's");
    }
    if let Err(error) = web.client().call(&proof.unlocks(&person.user, from)).await {
        return answer::failed("unlock", &error);
    }
    person.idle.unlock(sessions.now());
    tell(web, &person, &token).await
}
