//! The head of one HTTP/1 request, read just far enough to tell a WebSocket upgrade of ours from anything else.
//!
//! At most [`MAX`] bytes and 64 headers. Whoever serves the request parses it again with a real HTTP library; nothing
//! is decided about it here but who that is.

use crate::codec::Malformed;

/// The longest head we read.
pub const MAX: usize = 16 * 1024;

const MAX_HEADERS: usize = 64;
const HEAD: &str = "HTTP head";

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpHead {
    /// The method, as sent.
    pub method: String,
    /// The target, as sent.
    pub target: String,
    headers: Vec<(String, String)>,
    length: usize,
}

impl HttpHead {
    /// Reads the head at the start of `seen`. `None` means: bring more.
    ///
    /// # Errors
    /// Not an HTTP/1 request, or beyond the bounds.
    pub fn decode(seen: &[u8]) -> Result<Option<Self>, Malformed> {
        let window = seen.get(..MAX).unwrap_or(seen);
        let Some(end) = window.windows(4).position(|four| four == b"\r\n\r\n") else {
            let too_long = window.len() == MAX;
            return if too_long { Err(Malformed::new(HEAD, "longer than 16 KiB")) } else { Ok(None) };
        };
        let text = window.get(..end).and_then(|head| std::str::from_utf8(head).ok());
        let mut lines = text.ok_or(Malformed::new(HEAD, "not text"))?.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Malformed::new(HEAD, "the request line is not three words"));
        };
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if method.is_empty() || !method.chars().all(is_token) || !version.starts_with("HTTP/1.") {
            return Err(Malformed::new(HEAD, "not a request of HTTP/1"));
        }
        if !target.chars().all(|c| c.is_ascii_graphic()) {
            return Err(Malformed::new(HEAD, "the target has characters that no target has"));
        }
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) =
                line.split_once(':').ok_or(Malformed::new(HEAD, "a header without a colon"))?;
            if name.is_empty() || !name.chars().all(is_token) || headers.len() == MAX_HEADERS {
                return Err(Malformed::new(HEAD, "a header name that is none, or too many headers"));
            }
            // A bare line feed is an end of line to other parsers: what follows would be a header to them alone.
            if value.chars().any(|c| c.is_control() && c != '\t') {
                return Err(Malformed::new(HEAD, "a header value with control characters"));
            }
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Some(Self { method: method.to_owned(), target: target.to_owned(), headers, length: end + 4 }))
    }

    /// Every value of a header, by its lower-case name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The one value of a header: none when it is absent or given twice.
    #[must_use]
    pub fn only<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The path, without a query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// True when the client wants to speak WebSocket.
    #[must_use]
    pub fn wants_websocket(&self) -> bool {
        let has = |name, word: &str| {
            self.values(name).flat_map(|v| v.split(',')).any(|w| w.trim().eq_ignore_ascii_case(word))
        };
        has("upgrade", "websocket") && has("connection", "upgrade")
    }

    /// How many bytes the head has, its empty line included.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UPGRADE: &[u8] =
        b"GET /webapi/connectionupgrade?x=1 HTTP/1.1\r\nHost: gate\r\nconnection: keep-alive, Upgrade\r\n\
        Upgrade: WebSocket\r\nX-Forwarded-For: 1.2.3.4\r\nCookie: a\r\nCookie: b\r\n\r\nrest";

    #[test]
    fn an_upgrade_is_recognised() {
        let head = HttpHead::decode(UPGRADE).unwrap().unwrap();

        assert_eq!((head.method.as_str(), head.path()), ("GET", "/webapi/connectionupgrade"));
        assert!(head.wants_websocket());
        assert_eq!(head.only("x-forwarded-for"), Some("1.2.3.4"));
        assert_eq!(head.only("cookie"), None);
        assert_eq!(&UPGRADE[head.length()..], b"rest");
        for end in 0..head.length() {
            assert_eq!(HttpHead::decode(&UPGRADE[..end]), Ok(None));
        }
    }

    #[test]
    fn a_front_that_drops_the_upgrade_is_seen() {
        let head = HttpHead::decode(b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n").unwrap().unwrap();
        assert!(!head.wants_websocket());
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bytes in [
            &b"GET /\r\n\r\n"[..],
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"G\xc3\xa9T / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n",
            b"GET /\x01 HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nx: \xff\r\n\r\n",
            b"GET / HTTP/1.1\r\nx: a\nx-forwarded-for: 1.2.3.4\r\n\r\n",
            b"GET / HTTP/1.1\r\nx: a\rb\r\n\r\n",
            b"GET / HTTP/1.1\r\nx: a\0b\r\n\r\n",
        ] {
            assert!(HttpHead::decode(bytes).is_err(), "{bytes:?}");
        }
        assert!(HttpHead::decode(&[b'x'; MAX]).is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = HttpHead::decode(&[&bytes[..], b"\r\n\r\n"].concat());
        }
    }
}
