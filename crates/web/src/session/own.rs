//! Where somebody is signed in with a browser, for themself: a list, and an end for one of them or all others.
//!
//! An end takes effect at once, on open terminals and transfers too: they live in the session's scope. Only sessions of
//! this gate are known here; each gate has its own.

use std::net::IpAddr;

use http::Method;
use http::header::HeaderMap;
use serde_json::json;

use super::guard::{self, Browser};
use crate::Web;
use crate::answer::{self, Answer};

/// Whose session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// That one.
    One(String),
    /// All but the one that asks.
    Others,
}

/// Where the person is signed in.
pub(crate) fn list(web: &Web, from: IpAddr, headers: &HeaderMap) -> Answer {
    let Browser { person, sessions, .. } = match guard::whose(web, from, headers) {
        Ok(browser) => browser,
        Err(absent) => return absent.answer(),
    };
    let items: Vec<_> = sessions
        .of(&person.user)
        .iter()
        .map(|one| {
            json!({
                "id": one.id,
                "from": one.origin.from,
                "agent": one.origin.agent,
                "since": one.since,
                "used": one.idle.seen(),
                "this": one.id == person.id,
            })
        })
        .collect();
    answer::json(&json!({"items": items}))
}

/// Ends others of the person's sessions. Its own ends by signing out.
pub(crate) fn end(web: &Web, from: IpAddr, headers: &HeaderMap, which: &Ends) -> Answer {
    let Browser { person, sessions, .. } = match guard::whose_wish(web, from, &Method::DELETE, headers) {
        Ok(browser) => browser,
        Err(answer) => return *answer,
    };
    let ended = match which {
        Ends::Others => sessions.end_of(&person.user, |other| other.id != person.id),
        Ends::One(id) => {
            let ended = sessions.end_of(&person.user, |other| other.id == *id && other.id != person.id);
            if ended == 0 {
                return answer::not_found();
            }
            ended
        }
    };
    answer::json(&json!({"ended": ended}))
}
