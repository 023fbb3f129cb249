//! Where a browser's TLS ends: discovery, signing in, invite and reset pages, the app, its API and its terminals.
//!
//! Serves HTTP/1.1 on streams that the proxy has decrypted, and hands WebSocket upgrades of carriers back to it. It
//! decides nothing: people's calls go to the authority with their own certificates, and a terminal is an SSH client
//! that shows the same. What it keeps is in memory: a copy of what the cluster is, and the sessions of browsers.
//! Bounds: [`MAX_BODY`] bytes of request body, [`HEAD_DEADLINE`], [`BODY_DEADLINE`], [`CONNECTION_LIFE`].
#![forbid(unsafe_code)]

mod answer;
mod app;
mod connection;
mod discovery;
pub mod files;
#[doc(hidden)]
pub mod fuzz;
mod pages;
mod people;
mod reach;
mod route;
pub mod session;
mod streams;
pub mod terminal;
mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{BoxFuture, BoxStream, Client};

use crate::discovery::Discovery;
pub use crate::session::{IdleLimits, NoWay, Sessions, Ways};

/// The largest request body.
pub const MAX_BODY: usize = 64 * 1024;
/// How long a request's head may take to arrive, and how long a connection may idle between requests.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// How long a request's body may take to arrive.
pub const BODY_DEADLINE: Duration = Duration::from_secs(15);
/// How long one connection is used for requests; afterwards it is closed between two of them.
pub const CONNECTION_LIFE: Duration = Duration::from_secs(600);

/// What the gate says of itself, and whom it believes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The one port's address, `host:port`.
    pub listen: String,
    /// The addresses clients are told, `host:port`; the first is the one printed.
    pub public_addrs: Vec<String>,
    /// A separate SSH port's address clients are told, where there is one.
    pub ssh_public_addr: Option<String>,
    /// A separate tunnel port's address agents are told, where there is one.
    pub tunnel_public_addr: Option<String>,
    /// Take the person's address from `X-Forwarded-For`, which must then name exactly one.
    pub trust_forwarded_for: bool,
    /// Lines above the screen that pages are told to keep of a terminal.
    pub scrollback_lines: u32,
}

/// Takes WebSocket connections that carry the other routes.
pub trait Carriers: Send + Sync + 'static {
    /// Serves a connection after its `101`: raw WebSocket frames in both directions. `peer` is the address it came
    /// from, forwarded headers considered.
    fn upgraded(&self, stream: BoxStream, peer: SocketAddr) -> BoxFuture<'static, ()>;
}

/// The web side of a gate. Cheap to clone.
#[derive(Clone)]
pub struct Web(Arc<Inner>);

struct Inner {
    settings: Settings,
    client: Client,
    discovery: Discovery,
    sessions: Option<Sessions>,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Web")
    }
}

impl Web {
    /// The web side of a gate whose authority `client` calls with the proxy's own certificate.
    #[must_use]
    pub fn new(settings: Settings, client: Client) -> Self {
        Self(Arc::new(Inner { settings, client, discovery: Discovery::default(), sessions: None }))
    }

    /// The same, where people may also sign in with a browser.
    #[must_use]
    pub fn with_sessions(settings: Settings, client: Client, sessions: Sessions) -> Self {
        let discovery = Discovery::default();
        Self(Arc::new(Inner { settings, client, discovery, sessions: Some(sessions) }))
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn client(&self) -> &Client {
        &self.0.client
    }

    fn discovery(&self) -> &Discovery {
        &self.0.discovery
    }

    fn sessions(&self) -> Option<&Sessions> {
        self.0.sessions.as_ref()
    }
}
