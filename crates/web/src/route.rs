//! Paths: which of ours a request is for. Parsed once, strictly: what could be read in two ways is refused.

use http::Method;

use crate::files::FileRoute;
use crate::session::own::Ends;

/// The longest path looked at, in bytes.
const MAX_PATH: usize = 1024;
/// The longest secret of a link, in characters.
const MAX_SECRET: usize = 128;
/// What paths about files begin with.
const FILES: &str = "/webapi/files/";
/// What paths about one session begin with.
const SESSIONS: &str = "/webapi/sessions/";

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// What this gate is and how to sign in.
    Ping,
    /// What is needed to dial.
    Find,
    /// What people read before they sign in.
    Message,
    /// The cluster's authorities.
    Trust,
    /// Password and code in, certificates out.
    SignIn,
    /// What a link is for.
    Invite,
    /// Uses a link.
    AcceptInvite,
    /// Opens a carrier.
    Upgrade,
    /// The page behind a link. Which link is between the page's script and the API: not read here.
    Link {
        /// A reset link rather than an invitation.
        reset: bool,
    },
    /// A file of the pages.
    Asset(String),
    /// The front page.
    Home,
    /// A file of the browser app.
    App(String),
    /// Signs a browser in.
    WebSignIn,
    /// A challenge to sign in with a passkey.
    WebPasskey,
    /// Signs a browser out.
    WebSignOut,
    /// Where somebody is signed in.
    Sessions,
    /// Signs other browsers of theirs out.
    EndSessions(Ends),
    /// Agrees to what is told before sessions.
    Agree,
    /// Somebody is there.
    Alive,
    /// Locks a browser.
    Lock,
    /// Unlocks it.
    Unlock,
    /// Who is signed in.
    Session,
    /// A verb of the published API.
    Api,
    /// A ticket for a terminal.
    Ticket,
    /// The terminals of a session.
    Terminals,
    /// A terminal over plain HTTP: the stream.
    Line,
    /// A terminal over plain HTTP: what the page says.
    LineFrames,
    /// A terminal's WebSocket.
    Terminal,
    /// Files of nodes.
    Files(FileRoute),
}

/// Why a path is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// It could be read in two ways: 400.
    Odd,
    /// There is nothing: 404.
    Unknown,
}

impl Route {
    /// A word for logs: never a path, which may hold a secret.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Route::Ping => "ping",
            Route::Find => "find",
            Route::Message => "motd",
            Route::Trust => "trust",
            Route::SignIn => "sign-in",
            Route::Invite => "invite",
            Route::AcceptInvite => "accept-invite",
            Route::Upgrade => "upgrade",
            Route::Link { reset: false } => "invite-page",
            Route::Link { reset: true } => "reset-page",
            Route::Asset(_) => "asset",
            Route::Home => "home",
            Route::App(_) => "app",
            Route::WebSignIn => "web-sign-in",
            Route::WebPasskey => "web-passkey",
            Route::WebSignOut => "web-sign-out",
            Route::Sessions => "own-sessions",
            Route::EndSessions(_) => "end-sessions",
            Route::Agree => "agree",
            Route::Alive => "alive",
            Route::Lock => "lock",
            Route::Unlock => "unlock",
            Route::Session => "session",
            Route::Api => "api",
            Route::Ticket => "ticket",
            Route::Terminals => "terminals",
            Route::Line => "terminal-line",
            Route::LineFrames => "terminal-frames",
            Route::Terminal => "terminal",
            Route::Files(_) => "files",
        }
    }

    /// Reads method and path.
    pub(crate) fn parse(method: &Method, path: &str) -> Result<Self, NoRoute> {
        if path.len() > MAX_PATH || is_odd(path) {
            return Err(NoRoute::Odd);
        }
        // Both forms are in use.
        let path = match path.strip_prefix("/v1") {
            Some(rest) if rest.starts_with("/webapi/") => rest,
            Some(_) | None => path,
        };
        let read = method == Method::GET || method == Method::HEAD;
        match path {
            "/webapi/ping" if read => Ok(Route::Ping),
            "/webapi/find" if read => Ok(Route::Find),
            "/webapi/motd" if read => Ok(Route::Message),
            "/webapi/trust" if read => Ok(Route::Trust),
            "/webapi/connectionupgrade" if method == Method::GET => Ok(Route::Upgrade),
            "/webapi/sign-in" if method == Method::POST => Ok(Route::SignIn),
            "/webapi/invite" if method == Method::POST => Ok(Route::Invite),
            "/webapi/invite/accept" if method == Method::POST => Ok(Route::AcceptInvite),
            "/webapi/sessions/web" if method == Method::POST => Ok(Route::WebSignIn),
            "/webapi/sessions/passkey" if method == Method::POST => Ok(Route::WebPasskey),
            "/webapi/sessions/web" if method == Method::DELETE => Ok(Route::WebSignOut),
            "/webapi/sessions" if method == Method::GET => Ok(Route::Sessions),
            "/webapi/sessions/others" if method == Method::DELETE => Ok(Route::EndSessions(Ends::Others)),
            "/webapi/session/agree" if method == Method::POST => Ok(Route::Agree),
            "/webapi/session/alive" if method == Method::POST => Ok(Route::Alive),
            "/webapi/session/lock" if method == Method::POST => Ok(Route::Lock),
            "/webapi/session/unlock" if method == Method::POST => Ok(Route::Unlock),
            "/webapi/session" if method == Method::GET => Ok(Route::Session),
            "/webapi/terminals" if method == Method::GET => Ok(Route::Terminals),
            "/webapi/terminal/tickets" if method == Method::POST => Ok(Route::Ticket),
            "/webapi/terminal/line" if method == Method::POST => Ok(Route::Line),
            "/webapi/terminal/frames" if method == Method::POST => Ok(Route::LineFrames),
            "/webapi/terminal" if method == Method::GET => Ok(Route::Terminal),
            "/" if read => Ok(Route::Home),
            _ if method == Method::DELETE && path.starts_with(SESSIONS) => {
                let id = path.get(SESSIONS.len()..).filter(|id| is_secret(id)).ok_or(NoRoute::Unknown)?;
                Ok(Route::EndSessions(Ends::One(id.to_owned())))
            }
            _ if path.starts_with(FILES) => {
                let rest = path.get(FILES.len()..).unwrap_or_default();
                FileRoute::parse(method, rest).map(Route::Files).ok_or(NoRoute::Unknown)
            }
            _ if path.starts_with("/v1/") => Ok(Route::Api),
            _ if read => Self::page(path),
            _ => Err(NoRoute::Unknown),
        }
    }

    fn page(path: &str) -> Result<Self, NoRoute> {
        if path.starts_with("/webapi/") {
            return Err(NoRoute::Unknown);
        }
        if let Some(name) = path.strip_prefix("/web/assets/") {
            return Ok(Route::Asset(name.to_owned()));
        }
        for (prefix, reset) in [("/web/invite/", false), ("/web/reset/", true)] {
            if let Some(secret) = path.strip_prefix(prefix) {
                return if is_secret(secret) { Ok(Route::Link { reset }) } else { Err(NoRoute::Unknown) };
            }
        }
        path.strip_prefix('/').map(|name| Route::App(name.to_owned())).ok_or(NoRoute::Unknown)
    }
}

/// Routers and fronts disagree about these, so that one of them would be fooled.
fn is_odd(path: &str) -> bool {
    !path.starts_with('/')
        || path.contains("//")
        || path.contains(['%', ';', '\\'])
        || path.split('/').any(|part| matches!(part, "." | ".."))
        || path.bytes().any(|b| !(0x21..0x7f).contains(&b))
}

fn is_secret(text: &str) -> bool {
    (1..=MAX_SECRET).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_say() {
        for (method, path, wanted) in [
            (Method::GET, "/webapi/ping", Route::Ping),
            (Method::HEAD, "/webapi/ping", Route::Ping),
            (Method::GET, "/v1/webapi/ping", Route::Ping),
            (Method::GET, "/webapi/find", Route::Find),
            (Method::GET, "/webapi/motd", Route::Message),
            (Method::GET, "/webapi/trust", Route::Trust),
            (Method::POST, "/webapi/sign-in", Route::SignIn),
            (Method::POST, "/webapi/invite", Route::Invite),
            (Method::POST, "/webapi/invite/accept", Route::AcceptInvite),
            (Method::GET, "/webapi/connectionupgrade", Route::Upgrade),
            (Method::GET, "/web/invite/0123abc", Route::Link { reset: false }),
            (Method::GET, "/web/reset/A-b_9", Route::Link { reset: true }),
            (Method::GET, "/web/assets/page.css", Route::Asset("page.css".to_owned())),
            (Method::GET, "/", Route::Home),
            (Method::GET, "/app.js", Route::App("app.js".to_owned())),
            (Method::POST, "/webapi/sessions/web", Route::WebSignIn),
            (Method::DELETE, "/v1/webapi/sessions/web", Route::WebSignOut),
            (Method::GET, "/webapi/session", Route::Session),
            (Method::GET, "/webapi/sessions", Route::Sessions),
            (Method::DELETE, "/webapi/sessions/others", Route::EndSessions(Ends::Others)),
            (Method::DELETE, "/webapi/sessions/0a1b", Route::EndSessions(Ends::One("0a1b".to_owned()))),
            (Method::POST, "/webapi/session/agree", Route::Agree),
            (Method::POST, "/webapi/session/alive", Route::Alive),
            (Method::POST, "/webapi/session/lock", Route::Lock),
            (Method::POST, "/webapi/session/unlock", Route::Unlock),
            (Method::GET, "/webapi/terminal", Route::Terminal),
            (Method::POST, "/webapi/terminal/tickets", Route::Ticket),
            (Method::POST, "/webapi/terminal/line", Route::Line),
            (Method::POST, "/webapi/terminal/frames", Route::LineFrames),
            (Method::PUT, "/v1/roles/dev", Route::Api),
        ] {
            assert_eq!(Route::parse(&method, path), Ok(wanted), "{method} {path}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_odd() {
        for path in [
            "//webapi/ping",
            "/webapi//ping",
            "/web/../x",
            "/a;b",
            "/a%2fb",
            "/a\\b",
            "/./x",
            "*",
            "",
            "/a b",
            "/\u{e9}",
        ] {
            assert_eq!(Route::parse(&Method::GET, path), Err(NoRoute::Odd), "{path}");
        }
        assert_eq!(Route::parse(&Method::GET, &format!("/{}", "x".repeat(2000))), Err(NoRoute::Odd));
    }

    #[test]
    fn wrong_methods_and_unknown_paths_look_alike() {
        for (method, path) in [
            (Method::POST, "/webapi/ping"),
            (Method::GET, "/webapi/sign-in"),
            (Method::DELETE, "/"),
            (Method::GET, "/webapi/nothing"),
            (Method::GET, "/web/invite/"),
            (Method::GET, "/web/invite/a/b"),
            (Method::GET, "/web/invite/a.b"),
            (Method::POST, "/web/invite/abc"),
        ] {
            assert_eq!(Route::parse(&method, path), Err(NoRoute::Unknown), "{method} {path}");
        }
    }
}
