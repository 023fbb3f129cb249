//! The browser app, when it was built into this program.

use std::net::IpAddr;
use std::sync::{LazyLock, OnceLock};

use bytes::Bytes;
use http::header::HeaderMap;

use crate::answer::{self, Answer, Keep};
use crate::session::guard;
use crate::{Web, pages};

/// One of its files.
struct File {
    name: &'static str,
    /// How long it is, in bytes.
    size: usize,
    /// It itself, packed by zstd.
    packed: &'static [u8],
    /// The same unpacked, from when it was first asked for: in memory once, however many take it, and however slowly.
    whole: OnceLock<Bytes>,
}

impl File {
    fn new(name: &'static str, size: usize, packed: &'static [u8]) -> Self {
        Self { name, size, packed, whole: OnceLock::new() }
    }

    /// `None` where it does not unpack to its size at most.
    fn whole(&self) -> Option<Bytes> {
        if let Some(whole) = self.whole.get() {
            return Some(whole.clone());
        }
        let whole = Bytes::from(zstd::bulk::decompress(self.packed, self.size).ok()?);
        Some(self.whole.get_or_init(|| whole).clone())
    }
}

/// What was built into the program, each a name, a length and the packed bytes; empty when the app was not built.
const BUILT: &[(&str, usize, &[u8])] = include!(concat!(env!("OUT_DIR"), "/app.rs"));

/// The same as files.
static FILES: LazyLock<Vec<File>> =
    LazyLock::new(|| BUILT.iter().map(|(name, size, packed)| File::new(name, *size, packed)).collect());

/// The front page: the app, or a page that says how to sign in without it.
pub(crate) fn home(headers: &HeaderMap) -> Answer {
    find(&FILES, "index.html").unwrap_or_else(|| pages::home(headers))
}

/// What is in this folder is for those who may do more than work on nodes; to others it is not there.
const GUARDED: &str = "more/";
/// What is in this one is for those who are told what is kept of their sessions.
const TOLD: &str = "told/";

/// A file of the app.
pub(crate) fn file(web: &Web, from: IpAddr, headers: &HeaderMap, name: &str) -> Answer {
    let who = || guard::holder(web, from, headers).map(|browser| browser.person);
    let hidden = (name.starts_with(GUARDED) && who().is_none_or(|person| !person.may_more()))
        || (name.starts_with(TOLD) && who().is_none_or(|person| !person.is_told()));
    if hidden { answer::not_found() } else { find(&FILES, name).unwrap_or_else(answer::not_found) }
}

fn find(files: &[File], name: &str) -> Option<Answer> {
    let file = files.iter().find(|file| file.name == name)?;
    let body = file.whole()?;
    // The page itself names the files of one build: it must be asked for anew, they need not.
    let keep = if name.ends_with(".html") { Keep::Never } else { Keep::Hour };
    Some(answer::app(kind(name), keep, body))
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("txt") => "text/plain; charset=utf-8",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn files_are_found_by_their_whole_name_only() {
        let packed = |text: &[u8]| -> &'static [u8] { zstd::bulk::compress(text, 1).unwrap().leak() };
        let files = [
            File::new("index.html", 3, packed(b"<p>")),
            File::new("a/b.js", 1, packed(b"x")),
            File::new("torn", 9, b"torn"),
        ];

        let page = find(&files, "index.html").unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()["cache-control"], "no-store");
        let script = find(&files, "a/b.js").unwrap();
        assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
        assert!(find(&files, "b.js").is_none());
        assert!(find(&files, "torn").is_none());
        assert!(find(&files, "").is_none());
    }

    #[test]
    fn a_file_is_in_memory_once() {
        let text = b"moon".repeat(100);
        let file = File::new("a.js", text.len(), zstd::bulk::compress(&text, 1).unwrap().leak());

        let (first, second) = (file.whole().unwrap(), file.whole().unwrap());

        assert_eq!(first, text);
        assert_eq!(first.as_ptr(), second.as_ptr());
    }
}
