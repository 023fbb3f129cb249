//! Whose request it is, and whether one of our own pages sent it.
//!
//! Every changing request must come from our own origin, as the browser itself says (`Sec-Fetch-Site`, or `Origin`
//! against `Host` where it says nothing), and repeat the session's token in a header, which no other site can read.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::{COOKIE, HOST, HeaderMap, ORIGIN};
use http::{HeaderName, Method};
use model::api::Fault;

use super::{Person, Sessions};
use crate::Web;
use crate::answer::{self, Answer};

/// The cookie: `__Host-` makes browsers insist on `Secure`, `Path=/` and no domain.
pub(crate) const COOKIE_NAME: &str = "__Host-session";
/// The header that repeats the session's own token.
pub(crate) const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// A token's length.
const TOKEN: usize = 64;

/// Why a request is nobody's.
pub(crate) enum Absent {
    /// No living session that is good from there.
    Nobody,
    /// A living one that is locked.
    Locked,
}

impl Absent {
    /// The same for every path and every reason but a lock.
    pub(crate) fn answer(&self) -> Answer {
        match self {
            Absent::Nobody => answer::fault(Fault::Unauthenticated, "sign in first"),
            Absent::Locked => answer::coded(Fault::Unauthenticated, LOCKED, "this browser is locked"),
        }
    }
}

/// The word by which pages know that a browser is locked.
pub(crate) const LOCKED: &str = "locked";

/// Somebody's browser.
pub(crate) struct Browser<'a> {
    pub(crate) sessions: &'a Sessions,
    pub(crate) person: Arc<Person>,
    /// The session's token, out of the cookie.
    pub(crate) token: String,
}

/// Whose request it is, if anybody's who is there.
pub(crate) fn whose<'a>(web: &'a Web, from: IpAddr, headers: &HeaderMap) -> Result<Browser<'a>, Absent> {
    let browser = holder(web, from, headers).ok_or(Absent::Nobody)?;
    if browser.sessions.is_locked(&browser.person) { Err(Absent::Locked) } else { Ok(browser) }
}

/// Whose request to change something it is: somebody's who is there, and sent by a page of ours. Else what to answer.
pub(crate) fn whose_wish<'a>(
    web: &'a Web,
    from: IpAddr,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Browser<'a>, Box<Answer>> {
    let browser = whose(web, from, headers).map_err(|absent| Box::new(absent.answer()))?;
    if is_ours(&browser.person, method, headers) { Ok(browser) } else { Err(Box::new(not_ours())) }
}

/// Whose browser it is, locked or not. One that is bound to another address is nobody's: its person may come back to it.
pub(crate) fn holder<'a>(web: &'a Web, from: IpAddr, headers: &HeaderMap) -> Option<Browser<'a>> {
    let (sessions, token) = (web.sessions()?, cookie(headers)?);
    let person = sessions.find(&token)?;
    if !person.may_come_from(from) {
        tracing::debug!(user = %person.user, %from, "a browser bound to another address");
        return None;
    }
    Some(Browser { sessions, person, token })
}

/// The session's token out of the cookies; one that comes twice is none.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<String> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, value)| value);
    let token = found.next().filter(|t| t.len() == TOKEN && t.bytes().all(|b| b.is_ascii_hexdigit()));
    if found.next().is_some() { None } else { token.map(ToOwned::to_owned) }
}

/// A page of ours sent it, as far as the browser says. Reading needs no more than not being another site's.
pub(crate) fn from_our_page(method: &Method, headers: &HeaderMap) -> bool {
    let reads = *method == Method::GET || *method == Method::HEAD;
    match headers.get(FETCH_SITE).map(|v| v.as_bytes()) {
        Some(b"same-origin") => true,
        Some(b"none") => reads,
        Some(_) => false,
        None => match (headers.get(ORIGIN), headers.get(HOST)) {
            (Some(origin), Some(host)) => same_host(origin.to_str().ok(), host.to_str().ok()),
            (None, _) => reads,
            (Some(_), None) => false,
        },
    }
}

/// `https://host[:443]` against `host[:port]`; a front may have dropped the port.
fn same_host(origin: Option<&str>, host: Option<&str>) -> bool {
    let (Some(origin), Some(host)) = (origin, host) else { return false };
    let Some(from) = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")) else {
        return false;
    };
    let bare = |text: &str| {
        text.rsplit_once(':')
            .map_or(text, |(name, port)| if port.bytes().all(|b| b.is_ascii_digit()) { name } else { text })
            .to_ascii_lowercase()
    };
    from.eq_ignore_ascii_case(host) || (!host.contains(':') && bare(from) == bare(host))
}

/// A page of ours sent it and repeats the session's token.
pub(crate) fn is_ours(person: &Person, method: &Method, headers: &HeaderMap) -> bool {
    from_our_page(method, headers) && is_meant(person, headers)
}

pub(crate) fn not_ours() -> Answer {
    answer::fault(Fault::BadRequest, "this request did not come from our own page: load the page again")
}

/// The request repeats the session's token.
pub(crate) fn is_meant(person: &Person, headers: &HeaderMap) -> bool {
    let Some(said) = headers.get(CSRF) else { return false };
    verify_slices_are_equal(said.as_bytes(), person.csrf.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn only_our_own_pages_change_things() {
        for (pairs, reads, changes) in [
            (&[("sec-fetch-site", "same-origin")][..], true, true),
            (&[("sec-fetch-site", "none")], true, false),
            (&[("sec-fetch-site", "same-site")], false, false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://gate"), ("host", "gate")], false, false),
            (&[("origin", "https://gate:3080"), ("host", "gate:3080")], true, true),
            (&[("origin", "https://gate:3080"), ("host", "gate")], true, true),
            (&[("origin", "https://gate"), ("host", "gate:3080")], false, false),
            (&[("origin", "https://evil"), ("host", "gate")], false, false),
            (&[("origin", "https://gate.evil"), ("host", "gate")], false, false),
            (&[("origin", "null"), ("host", "gate")], false, false),
            (&[("host", "gate")], true, false),
        ] {
            let headers = headers(pairs);
            assert_eq!(from_our_page(&Method::GET, &headers), reads, "{pairs:?}");
            assert_eq!(from_our_page(&Method::POST, &headers), changes, "{pairs:?}");
        }
    }

    #[test]
    fn a_cookie_is_read_strictly() {
        let token = "ab".repeat(32);
        let one = format!("a=b; {COOKIE_NAME}={token}");
        let two = format!("{COOKIE_NAME}={token}; {COOKIE_NAME}={token}");
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_str(text).unwrap());
            cookie(&headers)
        };

        assert_eq!(read(&one), Some(token));
        assert_eq!(read(&two), None);
        assert_eq!(read(&format!("{COOKIE_NAME}=short")), None);
        assert_eq!(read("session=x"), None);
    }
}
