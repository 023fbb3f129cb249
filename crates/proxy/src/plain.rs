//! What those are told who speak HTTP where TLS, or a WebSocket, is spoken: where to go, or what a front has to pass.
//!
//! Every answer closes the connection; nothing a stranger sent gets into a header but a host that parsed as
//! one and the path of a request line that did.

use std::time::Duration;

use client::BoxStream;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use wire::http_head::HttpHead;

use crate::rewind::Rewind;

/// How long an answer may take to be heard.
const PATIENCE: Duration = Duration::from_secs(10);

const FRONT_ADVICE: &str = "this path is a WebSocket: the front before Moongate does not pass the Upgrade header.\n\
    nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";\n";

/// The answer to a request without TLS: the same on https, if it can be said where that is.
pub(crate) fn elsewhere(head: Option<&HttpHead>) -> String {
    match head.and_then(redirect) {
        Some(location) => format!(
            "HTTP/1.1 301 Moved Permanently\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
        None => text_answer("400 Bad Request", "", "this port speaks https\n"),
    }
}

/// The answer to a request on the upgrade's path that asks for no upgrade.
pub(crate) fn upgrade_required() -> String {
    text_answer("426 Upgrade Required", "Upgrade: websocket\r\n", FRONT_ADVICE)
}

/// Where the same request belongs.
pub(crate) fn redirect(head: &HttpHead) -> Option<String> {
    let host = head.only("host")?.parse_host()?;
    let path = head.target.strip_prefix('/')?;
    matches!(head.method.as_str(), "GET" | "HEAD").then(|| format!("https://{host}/{path}"))
}

trait ParseHost {
    fn parse_host(&self) -> Option<String>;
}

impl ParseHost for str {
    /// A host, with its port if it had one: nothing else gets into a header of ours.
    fn parse_host(&self) -> Option<String> {
        let at = client::proxy_env::HostPort::parse(self, 0).ok()?;
        let text = at.to_string();
        Some(if at.port == 0 { text.strip_suffix(":0").unwrap_or(&text).to_owned() } else { text })
    }
}

fn text_answer(status: &str, headers: &str, text: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

pub(crate) async fn say_and_close(stream: &mut Rewind<BoxStream>, answer: &str) {
    let say = async {
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    };
    let _ = timeout(PATIENCE, say).await;
}
