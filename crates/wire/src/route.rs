//! Where a TLS connection wants to go: one enum, carried by ALPN or, where a front strips ALPN, by a WebSocket in
//! which the same TLS runs again.
//!
//! Knows names only; who may use a route is for whoever serves it.

/// The path that turns an HTTP connection into a carrier for everything else.
pub const UPGRADE_PATH: &str = "/webapi/connectionupgrade";

/// The server name every proxy's host certificate carries.
pub const PROXY_SERVER_NAME: &str = "proxy.moongate.internal";

/// The server name every authority's host certificate carries.
pub const AUTH_SERVER_NAME: &str = "auth.moongate.internal";

/// ALPN of a proxy's own connection to the authority's port, in which it passes somebody else's on: a PROXY header
/// with that somebody's address, then their bytes. No route: the one port does not know it.
pub const RELAY_ALPN: &[u8] = b"moongate-relay";

/// A destination behind the one port that is not the web.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// The authority's API. The proxy passes the TLS bytes on unread.
    Auth,
    /// An agent's reverse tunnel. Needs a host certificate.
    Tunnel,
    /// A node's SSH service. Needs a user certificate; a [`crate::dial::DialHeader`] follows.
    Ssh,
    /// One stream of a tunnel on a connection of its own.
    Carrier,
}

impl Route {
    /// Every route.
    pub const ALL: [Route; 4] = [Route::Auth, Route::Tunnel, Route::Ssh, Route::Carrier];

    /// The name offered in ALPN.
    #[must_use]
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Route::Auth => b"moongate-auth",
            Route::Tunnel => b"moongate-tunnel",
            Route::Ssh => b"moongate-ssh",
            Route::Carrier => b"moongate-carrier",
        }
    }

    /// The route of an ALPN name.
    #[must_use]
    pub fn parse(alpn: &[u8]) -> Option<Route> {
        Route::ALL.into_iter().find(|route| route.alpn() == alpn)
    }

    /// The server name to verify the other end's certificate against.
    #[must_use]
    pub const fn server_name(self) -> &'static str {
        match self {
            Route::Auth => AUTH_SERVER_NAME,
            Route::Tunnel | Route::Ssh | Route::Carrier => PROXY_SERVER_NAME,
        }
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Route::Auth => "auth",
            Route::Tunnel => "tunnel",
            Route::Ssh => "ssh",
            Route::Carrier => "carrier",
        })
    }
}

/// What a ClientHello asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// One of our routes.
    Route(Route),
    /// The web: `h2`, `http/1.1`, or no ALPN at all.
    Web,
    /// Names, but none that we know.
    Stranger,
}

/// Reads the wish out of the ALPN names offered, in the client's order: the first name we know wins.
#[must_use]
pub fn wish<'a>(offered: impl IntoIterator<Item = &'a [u8]>) -> Wish {
    let mut any = false;
    for name in offered {
        any = true;
        if let Some(route) = Route::parse(name) {
            return Wish::Route(route);
        }
        if matches!(name, b"h2" | b"http/1.1" | b"http/1.0") {
            return Wish::Web;
        }
    }
    if any { Wish::Stranger } else { Wish::Web }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_a_name_of_its_own() {
        for route in Route::ALL {
            assert_eq!(Route::parse(route.alpn()), Some(route));
        }
        assert_eq!(Route::parse(b"moongate-ssh2"), None);
        assert_eq!(Route::parse(RELAY_ALPN), None);
    }

    #[test]
    fn the_first_name_we_know_wins() {
        assert_eq!(wish([]), Wish::Web);
        assert_eq!(wish([&b"h2"[..], b"http/1.1"]), Wish::Web);
        assert_eq!(wish([&b"moongate-ssh"[..], b"h2"]), Wish::Route(Route::Ssh));
        assert_eq!(wish([&b"smtp"[..], b"moongate-auth"]), Wish::Route(Route::Auth));
        assert_eq!(wish([&b"smtp"[..]]), Wish::Stranger);
    }
}
