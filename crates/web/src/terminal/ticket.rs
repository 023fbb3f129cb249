//! One-time tickets for terminals: asked for with the cookie and the page's token, used in a WebSocket's first frame.

use std::net::{IpAddr, SocketAddr};

use http::header::{HeaderMap, ORIGIN};
use http::{Method, Request};
use hyper::body::Incoming;
use model::api::Fault;
use model::{Login, NodeId, Secret};
use serde::Deserialize;
use serde_json::json;

use super::{Came, MAX_TERMINALS};
use crate::Web;
use crate::answer::{self, Answer};
use crate::people;
use crate::session::{Keep, Opens, TICKET_LIFE, guard};

/// What a page asks for: a new shell, one that the node has kept for its key, or a terminal that is there.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ask {
    Terminal {
        terminal: String,
    },
    Shell {
        node: NodeId,
        login: Login,
        #[serde(default)]
        keep: Option<Secret>,
        #[serde(default)]
        resume: bool,
    },
}

/// Makes a ticket.
pub(crate) async fn ticket(web: &Web, from: IpAddr, request: Request<Incoming>) -> Answer {
    let headers = request.headers();
    let guard::Browser { person, sessions, .. } = match guard::whose_wish(web, from, &Method::POST, headers) {
        Ok(browser) => browser,
        Err(answer) => return *answer,
    };
    // The page's own origin, which the WebSocket must then repeat. Browsers send it with every POST.
    let Some(origin) = headers.get(ORIGIN).and_then(|o| o.to_str().ok()).map(ToOwned::to_owned) else {
        return answer::fault(Fault::BadRequest, "the browser did not say from which page this came");
    };
    let opens = match people::read::<Ask>(request).await {
        Ok(Ask::Terminal { terminal }) if person.terminals.find(&terminal).is_some() => {
            Opens::Terminal(terminal)
        }
        Ok(Ask::Terminal { .. }) => return answer::not_found(),
        Ok(Ask::Shell { node, login, keep, resume }) => {
            if keep.as_ref().is_some_and(|key| !is_key(key.expose())) || (resume && keep.is_none()) {
                return answer::fault(Fault::BadRequest, "not a key to a shell");
            }
            if person.terminals.all().len() >= MAX_TERMINALS {
                return answer::fault(Fault::TooMany, "too many terminals are open: close one first");
            }
            let keep = keep.map(|key| Keep { key, back: resume });
            Opens::Shell { node, login: login.to_string(), keep }
        }
        Err(refusal) => return refusal,
    };
    match person.issue(opens, origin, sessions.now()) {
        Some(ticket) => answer::json(&json!({"ticket": ticket, "seconds": TICKET_LIFE.as_secs()})),
        None => answer::fault(Fault::TooMany, "too many tickets are unused: wait a moment"),
    }
}

/// 64 hexadecimal digits, as the node wants them.
fn is_key(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whose WebSocket it would be: the cookie says who, and the page it comes from must be named.
pub(crate) fn admit(web: &Web, headers: &HeaderMap, from: SocketAddr) -> Result<Came, Box<Answer>> {
    let browser = guard::whose(web, from.ip(), headers).map_err(|absent| Box::new(absent.answer()))?;
    let Some(origin) = headers.get(ORIGIN).and_then(|o| o.to_str().ok()).map(ToOwned::to_owned) else {
        let why = "the browser did not say from which page this came";
        return Err(Box::new(answer::fault(Fault::BadRequest, why)));
    };
    Ok(Came { person: browser.person, origin, from })
}

/// The session's terminals that can be taken up again.
pub(crate) fn list(web: &Web, from: IpAddr, headers: &HeaderMap) -> Answer {
    let person = match guard::whose(web, from, headers) {
        Ok(browser) => browser.person,
        Err(absent) => return absent.answer(),
    };
    let items: Vec<_> = person
        .terminals
        .all()
        .iter()
        .map(|shell| json!({"id": shell.id, "node": shell.node, "login": shell.login, "bytes": shell.held()}))
        .collect();
    answer::json(&json!({"items": items}))
}
