//! The first hop: TCP to the target, or to an HTTP proxy that is asked to CONNECT there.
//!
//! Addresses of a name are raced 250 ms apart. The proxy's answer is read to at most [`MAX_REPLY`] bytes. Errors name
//! the hop that failed and what to do.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connect::{BoxStream, ConnectError};
use crate::proxy_env::{HostPort, HttpProxy, ProxyEnv};
use crate::socket::{Use, tune};
use crate::web_trust::{self, WebTrust};

/// The longest head of a proxy's answer that is read.
pub(crate) const MAX_REPLY: usize = 8 * 1024;

const CONNECT: Duration = Duration::from_secs(10);
const REPLY: Duration = Duration::from_secs(10);
const STAGGER: Duration = Duration::from_millis(250);

/// A stream whose far end is `to`, and the proxy it goes through.
pub(crate) async fn reach(
    to: &HostPort,
    env: &ProxyEnv,
    kind: Use,
) -> Result<(BoxStream, Option<HttpProxy>), ConnectError> {
    let Some(proxy) = env.before(to) else {
        return Ok((Box::new(tcp(to, kind).await?), None));
    };
    let plain = tcp(&proxy.address, kind).await.map_err(|error| through(proxy, error))?;
    let mut stream: BoxStream = if proxy.tls {
        web_trust::handshake(Box::new(plain), &proxy.address, &WebTrust::System)
            .await
            .map_err(|error| through(proxy, error))?
    } else {
        Box::new(plain)
    };
    timeout(REPLY, ask(&mut stream, proxy, to)).await.map_err(|_| ConnectError::Unreachable {
        to: to.to_string(),
        why: format!("the HTTP proxy {proxy} did not answer CONNECT within {REPLY:?}"),
    })??;
    Ok((stream, Some(proxy.clone())))
}

fn through(proxy: &HttpProxy, error: ConnectError) -> ConnectError {
    let hint =
        |why: String| format!("{why} (the HTTP proxy of the environment; NO_PROXY can name exceptions)");
    match error {
        ConnectError::Unreachable { why, .. } => {
            ConnectError::Unreachable { to: proxy.to_string(), why: hint(why) }
        }
        ConnectError::Untrusted { why, .. } => {
            ConnectError::Untrusted { to: proxy.to_string(), why: hint(why) }
        }
        ConnectError::Refused { why, .. } => ConnectError::Refused { by: proxy.to_string(), why: hint(why) },
    }
}

/// TCP to `to`, whichever of its addresses answers first.
pub(crate) async fn tcp(to: &HostPort, kind: Use) -> Result<TcpStream, ConnectError> {
    let unreachable = |why: String| ConnectError::Unreachable { to: to.to_string(), why };
    let addresses: Vec<SocketAddr> = timeout(CONNECT, tokio::net::lookup_host((to.host.as_str(), to.port)))
        .await
        .map_err(|_| unreachable("looking up its address took too long".into()))?
        .map_err(|e| unreachable(format!("looking up its address failed: {e}")))?
        .take(8)
        .collect();
    let attempts = addresses.into_iter().map(TcpStream::connect);
    let stream = timeout(CONNECT, race(attempts, STAGGER))
        .await
        .map_err(|_| unreachable(format!("no answer within {CONNECT:?}")))?
        .map_err(|last| unreachable(last.map_or("the name has no address".into(), |e| e.to_string())))?;
    tune(&stream, kind);
    Ok(stream)
}

/// The first of `attempts` to succeed. The next one begins when one has failed, or none was done within `stagger`; those
/// that began go on. The last failure where none succeeds, `None` where there was nothing to try. Keeps no deadline.
pub(crate) async fn race<F, T, E>(
    mut attempts: impl ExactSizeIterator<Item = F>,
    stagger: Duration,
) -> Result<T, Option<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut racing = FuturesUnordered::new();
    let mut last = None;
    loop {
        match attempts.next() {
            Some(attempt) => racing.push(attempt),
            None if racing.is_empty() => return Err(last),
            None => {}
        }
        let done = if attempts.len() == 0 {
            racing.next().await
        } else {
            timeout(stagger, racing.next()).await.unwrap_or_default()
        };
        match done {
            Some(Ok(done)) => return Ok(done),
            Some(Err(error)) => last = Some(error),
            None => {}
        }
    }
}

async fn ask(stream: &mut BoxStream, proxy: &HttpProxy, to: &HostPort) -> Result<(), ConnectError> {
    let broken = |e: std::io::Error| ConnectError::Unreachable {
        to: to.to_string(),
        why: format!("the HTTP proxy {proxy} hung up during CONNECT: {e}"),
    };
    let mut request = format!(
        "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: moongate/{}\r\nProxy-Connection: keep-alive\r\n",
        model::VERSION
    );
    if let Some(authorization) = proxy.authorization() {
        request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let head = read_head(stream).await.map_err(broken)?;
    judge(&head, proxy, to)
}

/// Reads to the empty line and not a byte further: what follows belongs to the target. Lines may end with a bare
/// line feed (RFC 9112, 2.2): some proxies' do.
async fn read_head(stream: &mut BoxStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\n\r\n") && !head.ends_with(b"\n\n") {
        if head.len() >= MAX_REPLY {
            return Err(std::io::Error::other("its answer is larger than 8 KiB"));
        }
        head.push(stream.read_u8().await?);
        // A server of another kind has greeted and waits for us: no empty line will come.
        if head.ends_with(b"\n") && !head.starts_with(b"HTTP/") {
            break;
        }
    }
    Ok(head)
}

fn judge(head: &[u8], proxy: &HttpProxy, to: &HostPort) -> Result<(), ConnectError> {
    let text = String::from_utf8_lossy(head);
    let line: String =
        text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(120).collect();
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split_ascii_whitespace().nth(1))
        .and_then(|status| status.parse::<u16>().ok());
    let advice = match status {
        Some(200..=299) => return Ok(()),
        Some(407) if proxy.authorization().is_some() => "it did not accept the user and password in its URL",
        Some(407) => "it wants credentials: write user:password@ before its host in HTTPS_PROXY",
        Some(403 | 405) => {
            "it does not allow CONNECT to that address or port; add the host to NO_PROXY if it can be reached directly"
        }
        Some(_) => "it could not or would not connect",
        None => "it is no HTTP proxy",
    };
    Err(ConnectError::Refused {
        by: proxy.to_string(),
        why: format!("CONNECT {to} was answered `{line}`: {advice}"),
    })
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use super::*;

    fn at(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_answers_is_reached_past_those_who_say_nothing_or_no() {
        type Attempt = Pin<Box<dyn Future<Output = Result<u8, u8>>>>;
        let said = |words: Result<u8, u8>| Box::pin(std::future::ready(words)) as Attempt;
        let silent = || Box::pin(std::future::pending()) as Attempt;
        let after = |seconds| {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Ok(1_u8)
            }) as Attempt
        };

        for (attempts, expected, seconds) in [
            (vec![silent(), silent(), said(Ok(3))], Ok(3), 2),
            (vec![said(Err(1)), said(Ok(2))], Ok(2), 0),
            (vec![silent(), said(Err(2)), said(Ok(3))], Ok(3), 1),
            (vec![after(3), silent()], Ok(1), 3),
            (vec![said(Err(1)), said(Err(2))], Err(Some(2)), 0),
            (vec![], Err(None), 0),
        ] {
            let began = tokio::time::Instant::now();
            let raced = race(attempts.into_iter(), Duration::from_secs(1)).await;
            assert_eq!((raced, began.elapsed().as_secs()), (expected, seconds));
        }
    }

    /// Asks a proxy that answers `reply`; gives back what it was sent.
    async fn exchange(url: &str, reply: &'static [u8]) -> (Result<(), ConnectError>, String, Vec<u8>) {
        let env = ProxyEnv::from_vars([("HTTPS_PROXY".to_owned(), url.to_owned())]).unwrap();
        let proxy = env.before(&at("gate.example:443")).unwrap();
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let mut near: BoxStream = Box::new(near);
        let serve = async {
            let mut request = vec![0; 4096];
            let count = far.read(&mut request).await.unwrap();
            far.write_all(reply).await.unwrap();
            drop(far);
            request.truncate(count);
            String::from_utf8(request).unwrap()
        };
        let to = at("gate.example:443");
        let (result, request) = tokio::join!(ask(&mut near, proxy, &to), serve);
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        (result, request, rest)
    }

    #[tokio::test]
    async fn connect_carries_credentials_and_leaves_the_targets_bytes() {
        let (result, request, rest) = exchange(
            "http://ann:secret@proxy.example:3128",
            b"HTTP/1.1 200 Connection established\r\nVia: squid\r\n\r\nhello",
        )
        .await;

        result.unwrap();
        assert!(
            request.starts_with("CONNECT gate.example:443 HTTP/1.1\r\nHost: gate.example:443\r\n"),
            "{request}"
        );
        assert!(request.contains("\r\nProxy-Authorization: Basic YW5uOnNlY3JldA==\r\n"), "{request}");
        assert_eq!(rest, b"hello");
    }

    #[tokio::test]
    async fn lines_that_end_with_a_bare_line_feed_are_read_too() {
        for reply in [&b"HTTP/1.0 200 OK\n\nhello"[..], b"HTTP/1.0 200 OK\nVia: old\r\n\nhello"] {
            let (result, _, rest) = exchange("http://proxy.example:3128", reply).await;

            result.unwrap();
            assert_eq!(rest, b"hello");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_of_another_kind_is_told_by_its_first_line() {
        let env =
            ProxyEnv::from_vars([("HTTPS_PROXY".to_owned(), "http://ssh.example:22".to_owned())]).unwrap();
        let to = at("gate.example:443");
        let (near, mut far) = tokio::io::duplex(4096);
        far.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();

        let mut near: BoxStream = Box::new(near);
        let asked = ask(&mut near, env.before(&to).unwrap(), &to);

        let error = timeout(REPLY, asked).await.expect("it was waited for").unwrap_err().to_string();
        assert!(error.contains("no HTTP proxy"), "{error}");
    }

    #[tokio::test]
    async fn a_refusal_says_what_to_do() {
        for (reply, words) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], "user:password@"),
            (b"HTTP/1.0 403 Forbidden\r\n\r\n", "NO_PROXY"),
            (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502 Bad Gateway"),
            (b"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP proxy"),
        ] {
            let (result, _, _) = exchange("http://proxy.example:3128", reply).await;
            let error = result.unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("http://proxy.example:3128"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        static LONG: [u8; 10_000] = [b'x'; 10_000];
        let (result, _, _) = exchange("http://proxy.example:3128", &LONG).await;

        assert!(result.unwrap_err().to_string().contains("8 KiB"));
    }
}
