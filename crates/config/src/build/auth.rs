//! `auth_service:`.

use model::SystemRole;
use model::resource::{RecordingMode, RoutingStrategy};
use model::time::Span;
use std::time::Duration;

use super::Make;
use crate::{Address, Auth, Authentication, Finding, SecondFactor, StaticToken, Weight};

impl Make<'_> {
    pub(super) fn auth(&mut self) -> Option<Auth> {
        let file = self.file;
        let any_case = "auth_service.case_insensitive_routing";
        if file.truth(any_case) == Some(false) {
            self.not_yet(any_case);
        }
        let minutes = |n: u64| Span(Duration::from_secs(60 * n));
        Some(Auth {
            listen: file
                .address("auth_service.listen_addr")
                .or_else(|| Address::new("127.0.0.1", 3025).ok())?,
            public_addrs: file.addresses("auth_service.public_addr"),
            cluster_name: file.text("auth_service.cluster_name").and_then(|t| t.parse().ok()),
            tokens: self.tokens(),
            authentication: self.authentication(),
            session_recording: self.recording(),
            client_idle_timeout: file.span_or_never("auth_service.client_idle_timeout").flatten(),
            client_idle_timeout_message: self.said("auth_service.client_idle_timeout_message", 4096),
            web_idle_timeout: file
                .span_or_never("auth_service.web_idle_timeout")
                .unwrap_or(Some(minutes(120))),
            web_lock_timeout: file
                .span_or_never("auth_service.web_lock_timeout")
                .unwrap_or(Some(minutes(15))),
            disconnect_expired_cert: file.truth("auth_service.disconnect_expired_cert").unwrap_or(false),
            keep_alive_interval: file.span("auth_service.keep_alive_interval").unwrap_or(minutes(5)),
            keep_alive_count_max: file.whole("auth_service.keep_alive_count_max").unwrap_or(3),
            ssh_dial_timeout: file
                .span("auth_service.ssh_dial_timeout")
                .unwrap_or(Span(Duration::from_secs(30))),
            routing_strategy: match file.word("auth_service.routing_strategy").as_deref() {
                Some("most_recent") => RoutingStrategy::MostRecent,
                _ => RoutingStrategy::UnambiguousMatch,
            },
            message_of_the_day: self.said("auth_service.message_of_the_day", 16384),
        })
    }

    /// A text people are shown: of at most `most` bytes, and nothing a terminal would obey.
    fn said(&mut self, path: &str, most: usize) -> String {
        let text = self.file.text(path).unwrap_or_default().trim_end();
        if text.len() > most {
            self.wrong(path, &format!("{} bytes", text.len()), &format!("a text of at most {most} bytes"));
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            self.wrong(path, "a control character", "a text for people: line ends and tabs at most");
        }
        text.to_owned()
    }

    /// The tokens; what they cannot give so far (another authority, robots) is left out and said.
    fn tokens(&mut self) -> Vec<StaticToken> {
        let mut all = Vec::new();
        for (text, at) in self.file.texts("auth_service.tokens") {
            let Ok(mut token) = StaticToken::parse(text) else { continue };
            for role in [SystemRole::Auth, SystemRole::Bot] {
                if token.roles.remove(&role) {
                    let key = format!("auth_service.tokens: a token for `{role}`");
                    let finding = Finding::error(self.raw.file(), Some(at), &key, "not in effect yet");
                    self.findings.push(finding.weighing(Weight::NotYet));
                }
            }
            if !token.roles.is_empty() {
                all.push(token);
            }
        }
        all
    }

    fn recording(&mut self) -> RecordingMode {
        let path = "auth_service.session_recording";
        match self.file.word(path).as_deref() {
            Some("node-sync") => RecordingMode::NodeSync,
            Some("off") => RecordingMode::Off,
            Some("proxy" | "proxy-sync") => {
                // The node records in its stead: more is recorded than asked for, never less.
                self.not_yet(path);
                RecordingMode::Node
            }
            _ => RecordingMode::Node,
        }
    }

    fn authentication(&mut self) -> Authentication {
        let file = self.file;
        let kind = "auth_service.authentication.type";
        if file.word(kind).is_some_and(|t| t != "local") {
            self.not_yet(kind);
        }
        let path = "auth_service.authentication.second_factor";
        let second_factor = match file.word(path).as_deref() {
            Some("off") => SecondFactor::Off,
            Some("optional") => SecondFactor::Optional,
            Some("webauthn" | "u2f") => {
                self.not_yet(path);
                SecondFactor::Webauthn
            }
            Some("on") => SecondFactor::On,
            _ => self.second_factors(),
        };
        let local = "auth_service.authentication.local_auth";
        if file.truth(local) == Some(false) {
            self.not_yet(local);
        }
        Authentication {
            local: file.truth("auth_service.authentication.local_auth").unwrap_or(true),
            second_factor,
            passkey_name: self.passkey_name(),
            default_session_ttl: file
                .span("auth_service.authentication.default_session_ttl")
                .unwrap_or(Span(Duration::from_secs(12 * 3600))),
        }
    }

    /// A name browsers accept as a relying party: no address, no port, and the pages of the proxy are under it.
    fn passkey_name(&mut self) -> Option<String> {
        let path = "auth_service.authentication.webauthn.rp_id";
        let name = self.file.text(path)?.to_ascii_lowercase();
        let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if name.parse::<std::net::IpAddr>().is_ok() || !name.split('.').all(word) {
            self.wrong(path, "not a name", "a name such as example.com, without scheme and port");
            return None;
        }
        let under = |host: &str| host == name || host.ends_with(&format!(".{name}"));
        let gates = self.file.addresses("proxy_service.public_addr");
        if !gates.is_empty() && !gates.iter().any(|a| under(&a.host().to_ascii_lowercase())) {
            let message = format!("no `proxy_service.public_addr` is `{name}` or under it");
            self.wrong(path, &message, "a name that the addresses people open are under");
        }
        Some(name)
    }

    /// The newer list: codes alone, or both. What nobody could sign in with so far asks for codes, and is said.
    fn second_factors(&mut self) -> SecondFactor {
        let path = "auth_service.authentication.second_factors";
        let file = self.file;
        let wanted: Vec<_> =
            file.texts(path).into_iter().map(|(text, at)| (text.to_ascii_lowercase(), at)).collect();
        if file.has(path) && wanted.is_empty() {
            self.wrong(path, "none", "`otp` or more; `second_factor: off` asks for none");
        }
        let has = |word: &str| wanted.iter().any(|(wanted, _)| wanted == word);
        for (word, at) in &wanted {
            let missing = match word.as_str() {
                "webauthn" if !has("otp") => "`webauthn` without `otp`",
                "sso" => "`sso`",
                _ => continue,
            };
            let key = format!("{}: {missing}", self.raw.shown(path));
            let finding = Finding::error(self.raw.file(), Some(*at), &key, "not in effect yet");
            self.findings.push(finding.weighing(Weight::NotYet));
        }
        match (has("otp"), has("webauthn")) {
            (true, true) => SecondFactor::On,
            (false, true) => SecondFactor::Webauthn,
            (true | false, false) => SecondFactor::Otp,
        }
    }
}
