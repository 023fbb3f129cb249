//! `--diag-addr`: `/healthz` (alive), `/readyz` (serving), `/metrics` (a few numbers), in the clear. One request a
//! connection, at most 64 connections at a time, each for at most ten seconds.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::{Health, Scope};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::ready::{Readiness, State};

const MOST: usize = 64;
const DEADLINE: Duration = Duration::from_secs(10);

/// What is told.
#[derive(Clone, Debug)]
pub(crate) struct Diag {
    /// Which services are up.
    pub(crate) readiness: Readiness,
    /// Background jobs.
    pub(crate) health: Health,
    /// When the process started.
    pub(crate) since: Instant,
    /// Where tasks are counted.
    pub(crate) scopes: Vec<Scope>,
}

impl Diag {
    /// Serves until the scope ends.
    pub(crate) fn serve(self, listener: TcpListener, scope: &Scope) {
        let inner = scope.clone();
        let seats = Arc::new(Semaphore::new(MOST));
        let work = async move {
            loop {
                let Ok(seat) = seats.clone().acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let diag = self.clone();
                        inner.spawn("diag connection", async move {
                            let _ = tokio::time::timeout(DEADLINE, diag.connection(stream)).await;
                            drop(seat);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "diag: cannot accept");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        };
        scope.spawn("diag", work);
    }

    async fn connection(self, stream: TcpStream) {
        let diag = Arc::new(self);
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let diag = diag.clone();
            async move { Ok::<_, Infallible>(diag.answer(request.uri().path())) }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        let (status, kind, body) = match path {
            "/healthz" => (StatusCode::OK, "application/json", "{\"status\":\"ok\"}\n".to_owned()),
            "/readyz" => self.readyz(),
            "/metrics" => (StatusCode::OK, "text/plain; version=0.0.4", self.metrics()),
            _ => (StatusCode::NOT_FOUND, "text/plain", "see /healthz, /readyz and /metrics\n".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response.headers_mut().insert("content-type", http::HeaderValue::from_static(kind));
        response
    }

    fn readyz(&self) -> (StatusCode, &'static str, String) {
        let status = if self.readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let services: serde_json::Map<String, serde_json::Value> = self
            .readiness
            .all()
            .into_iter()
            .map(|(name, state)| match state {
                State::Ready => (name.to_owned(), "ready".into()),
                State::Waiting(why) => (name.to_owned(), why.into()),
            })
            .collect();
        let word = if status == StatusCode::OK { "ready" } else { "not ready" };
        let body = serde_json::json!({ "status": word, "services": services });
        (status, "application/json", format!("{body}\n"))
    }

    /// Prometheus' text form.
    fn metrics(&self) -> String {
        let mut lines = vec![
            format!("moongate_build_info{{version=\"{}\"}} 1", model::VERSION),
            format!("moongate_uptime_seconds {}", self.since.elapsed().as_secs()),
            format!("moongate_tasks {}", self.scopes.iter().map(Scope::alive).sum::<usize>()),
        ];
        if let Some(bytes) = resident() {
            lines.push(format!("process_resident_memory_bytes {bytes}"));
        }
        for (name, state) in self.readiness.all() {
            lines.push(format!("moongate_ready{{service=\"{name}\"}} {}", u8::from(state == State::Ready)));
        }
        for (name, job) in self.health.jobs() {
            let name = name.replace(['"', '\\', '\n'], "_");
            lines.push(format!(
                "moongate_job_failing{{job=\"{name}\"}} {}",
                u8::from(job.last_error.is_some())
            ));
            if let Some(at) = job.last_run {
                lines.push(format!("moongate_job_last_run_seconds{{job=\"{name}\"}} {}", at.secs()));
            }
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// Resident memory, from `/proc/self/status`.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn readiness_is_told_service_by_service() {
        let scope = Scope::root("test");
        let readiness = Readiness::of(["auth", "proxy"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let since = Instant::now();
        let scopes = vec![scope.clone()];
        Diag { readiness: readiness.clone(), health: Health::default(), since, scopes }
            .serve(listener, &scope);

        readiness.set("auth", State::Ready);
        readiness.set("proxy", State::Waiting("no certificate".into()));
        let text = get(address, "/readyz").await;
        assert!(text.starts_with("HTTP/1.1 503"), "{text}");
        assert!(text.contains("\"proxy\":\"no certificate\""), "{text}");
        readiness.set("proxy", State::Ready);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/healthz").await.contains("ok"));
        assert!(get(address, "/metrics").await.contains("moongate_ready{service=\"auth\"} 1"));
        assert!(get(address, "/else").await.starts_with("HTTP/1.1 404"));
        assert!(scope.drain(Duration::from_secs(5)).await);
    }
}
