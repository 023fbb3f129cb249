//! What the client needs from whoever carries its bytes: a stream for a route, with TLS already done.
//!
//! Knows nothing of proxies, WebSockets or addresses; tests hand in in-memory pipes.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;

use runtime::Direct;
use rustls::{AlertDescription, CertificateError};
use tokio::io::{AsyncRead, AsyncWrite};
pub use wire::route::Route;

/// A two-way byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Direct + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Direct + Send + Unpin> Stream for T {}

/// A stream whose carrier no longer matters.
pub type BoxStream = Box<dyn Stream>;

/// A future that may be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why no stream came about.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered, or the way there is broken: try again later.
    #[error("cannot reach {to}: {why}")]
    Unreachable {
        /// Where to.
        to: String,
        /// What happened.
        why: String,
    },
    /// The far end is not who it must be: retrying cannot help.
    #[error("{to} is not to be trusted: {why}")]
    Untrusted {
        /// Where to.
        to: String,
        /// What was wrong with its certificate.
        why: String,
    },
    /// Something between refused us (proxy credentials, HTTP status).
    #[error("{by} refused the connection: {why}")]
    Refused {
        /// Who.
        by: String,
        /// What it said.
        why: String,
    },
}

impl ConnectError {
    /// Sorts a failed TLS handshake: a certificate we do not accept is not the network's fault.
    #[must_use]
    pub fn from_handshake(to: &str, error: &std::io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(why)) => {
                Self::Untrusted { to: to.to_owned(), why: wrong_with_theirs(why) }
            }
            Some(rustls::Error::AlertReceived(alert)) => {
                Self::Refused { by: to.to_owned(), why: wrong_with_ours(*alert) }
            }
            Some(_) | None => Self::Unreachable { to: to.to_owned(), why: broken_off(error) },
        }
    }
}

/// A gate whose authority is away takes a connection meant for it and ends it.
fn broken_off(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
            "it took the connection and ended it without a word; what is behind it may be away".to_owned()
        }
        _ => error.to_string(),
    }
}

fn wrong_with_theirs(why: &CertificateError) -> String {
    match why {
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not good yet: the clock of this machine is slow, or theirs fast".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: the clock of this machine is fast, or theirs was off".to_owned()
        }
        other => format!("{other:?}"),
    }
}

/// What the far end thinks of our certificate. Its alert has no word for "not yet".
fn wrong_with_ours(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateExpired => {
            "our certificate is not good at this time: it has expired, or a clock is off on either side"
                .to_owned()
        }
        other => format!("TLS alert {other:?}"),
    }
}

/// Opens streams. The implementation keeps its own deadlines; callers add theirs.
pub trait Connect: Send + Sync + 'static {
    /// A stream for `route`: carrier found, TLS done, the far end verified.
    fn connect(&self, route: Route) -> BoxFuture<'_, Result<BoxStream, ConnectError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: rustls::Error) -> String {
        ConnectError::from_handshake("gate:3080", &std::io::Error::other(error)).to_string()
    }

    #[test]
    fn a_certificate_out_of_its_time_names_the_clock() {
        for error in [
            rustls::Error::InvalidCertificate(CertificateError::NotValidYet),
            rustls::Error::InvalidCertificate(CertificateError::Expired),
            rustls::Error::AlertReceived(AlertDescription::CertificateExpired),
        ] {
            let words = failed(error);

            assert!(words.contains("clock"), "{words}");
        }
    }

    #[test]
    fn a_connection_that_is_ended_at_once_points_behind_the_gate() {
        let cut = std::io::Error::new(ErrorKind::UnexpectedEof, "tls handshake eof");

        let error = ConnectError::from_handshake("gate.example.com:443", &cut);

        let words = "cannot reach gate.example.com:443: it took the connection and ended it without a word; \
                     what is behind it may be away";
        assert_eq!(error.to_string(), words);
    }
}
