//! Locking a browser and unlocking it: by its own page, for its own person.
//!
//! While it is locked every other answer is [`Absent::Locked`]. An unlock proves the person as signing in does, counts
//! wrong tries alike, and issues nothing: the session ends when it would have ended.

use std::net::IpAddr;

use http::header::HeaderMap;
use http::{Method, Request};
use hyper::body::Incoming;
use model::api::{Done, Fault};

use super::guard::{self, Absent, Browser};
use super::login::tell;
use super::person::Proof;
use crate::Web;
use crate::answer::{self, Answer};
use crate::people;

/// The person did something.
pub(crate) fn alive(web: &Web, from: IpAddr, headers: &HeaderMap) -> Answer {
    let Browser { person, sessions, .. } = match guard::whose_wish(web, from, &Method::POST, headers) {
        Ok(browser) => browser,
        Err(answer) => return *answer,
    };
    person.idle.touch(sessions.now());
    answer::json(&Done {})
}

/// Locks the browser.
pub(crate) fn lock(web: &Web, from: IpAddr, headers: &HeaderMap) -> Answer {
    match guard::whose_wish(web, from, &Method::POST, headers) {
        Ok(browser) => {
            browser.person.idle.lock();
            answer::json(&Done {})
        }
        Err(answer) => *answer,
    }
}

/// Opens the browser again for who proves to be its person.
pub(crate) async fn unlock(web: &Web, from: IpAddr, request: Request<Incoming>) -> Answer {
    let Some(Browser { person, token, sessions }) = guard::holder(web, from, request.headers()) else {
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
