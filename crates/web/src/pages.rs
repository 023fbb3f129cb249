//! Our own few pages: invite, reset, front. Self-contained files, no framework, two languages.
//!
//! Addresses in them are relative, so that they work under a path prefix. Texts live in `page.js`, which also talks to
//! the API; the secret of a link never passes through here.

use http::StatusCode;
use http::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderValue, VARY};

use crate::answer::{self, Answer, Keep};

const INVITE: &str = include_str!("../assets/invite.html");
const HOME: &str = include_str!("../assets/home.html");
const STYLE: &str = include_str!("../assets/page.css");
const SCRIPT: &str = include_str!("../assets/page.js");
const TEXTS: &str = include_str!("../assets/texts.js");
const MOON: &str = include_str!("../assets/moon.svg");

/// The page behind a link.
pub(crate) fn link(headers: &HeaderMap, reset: bool) -> Answer {
    page(INVITE, headers, if reset { "reset" } else { "invite" })
}

/// The front page of a gate without the browser app.
pub(crate) fn home(headers: &HeaderMap) -> Answer {
    page(HOME, headers, "home")
}

/// A file the pages refer to.
pub(crate) fn asset(name: &str) -> Answer {
    let (kind, body) = match name {
        "page.css" => ("text/css; charset=utf-8", STYLE),
        "page.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "texts.js" => ("text/javascript; charset=utf-8", TEXTS),
        "moon.svg" => ("image/svg+xml", MOON),
        _ => return answer::not_found(),
    };
    answer::bytes(StatusCode::OK, kind, Keep::Hour, body)
}

fn page(template: &'static str, headers: &HeaderMap, kind: &'static str) -> Answer {
    let body = template
        .replace("{{lang}}", language(headers))
        .replace("{{page}}", kind)
        .replace("{{version}}", model::VERSION);
    let mut answer = answer::bytes(StatusCode::OK, "text/html; charset=utf-8", Keep::Never, body);
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept-language"));
    answer
}

/// The better liked of our languages (RFC 9110 section 12.5.4); English when neither is mentioned.
fn language(headers: &HeaderMap) -> &'static str {
    let wanted = headers.get(ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut best = ("en", 0.0);
    for part in wanted.split(',').take(32) {
        let mut words = part.split(';').map(str::trim);
        let tag = words.next().unwrap_or_default().to_ascii_lowercase();
        let weight = words.find_map(|w| w.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        let ours = match tag.split('-').next() {
            Some("zh") => "zh-CN",
            Some("en") => "en",
            Some(_) | None => continue,
        };
        if weight > best.1 {
            best = (ours, weight);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_liked_language_is_taken() {
        for (wanted, lang) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
            ("zh", "zh-CN"),
            ("en-GB,zh;q=0.9", "en"),
            ("fr, zh;q=0.5, en;q=0.4", "zh-CN"),
            ("fr", "en"),
            ("", "en"),
            ("zh;q=0", "en"),
            ("zh;q=x", "zh-CN"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(wanted));
            assert_eq!(language(&headers), lang, "{wanted}");
        }
    }

    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for page in [INVITE, HOME] {
            let lower = page.to_lowercase();
            for bad in
                ["<script>", "<style", "style=", "onclick", "onload", "javascript:", "http:", "https:", "\"/"]
            {
                assert!(!lower.contains(bad), "{bad}");
            }
        }
        for file in [SCRIPT, TEXTS] {
            for bad in ["innerHTML", "eval(", "http://", "document.write"] {
                assert!(!file.contains(bad), "{bad}");
            }
        }
    }

    #[test]
    fn no_page_speaks_of_recordings() {
        for file in [INVITE, HOME, STYLE, SCRIPT, TEXTS, MOON] {
            let lower = file.to_lowercase();
            for word in ["record", "audit", "replay", "录制", "录像", "审计", "回放"] {
                assert!(!lower.contains(word), "{word}");
            }
        }
    }

    #[test]
    fn both_languages_say_everything() {
        let keys = |lang: &str| -> Vec<String> {
            let start = TEXTS.find(&format!("\"{lang}\": {{")).unwrap();
            let block = TEXTS[start..].split("\n  }").next().unwrap();
            block
                .lines()
                .skip(1)
                .filter_map(|l| l.trim().split_once(": "))
                .map(|(k, _)| k.to_owned())
                .collect()
        };
        let english = keys("en");
        assert!(english.len() > 20);
        assert_eq!(english, keys("zh-CN"));
        for page in [INVITE, HOME] {
            for key in page.split("data-t=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(english.iter().any(|k| k == key), "{key}");
            }
        }
    }
}
