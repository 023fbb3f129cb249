//! What cannot both be meant.

use std::collections::BTreeSet;

use model::SystemRole;

use super::Make;
use crate::{Address, Config, Version};

/// `what` needs `with`: the first is told to clients, the second is what they would reach.
const NEEDS: [(&str, &str); 5] = [
    ("proxy_service.peer_public_addr", "proxy_service.peer_listen_addr"),
    ("proxy_service.kube_public_addr", "proxy_service.kube_listen_addr"),
    ("proxy_service.mysql_public_addr", "proxy_service.mysql_listen_addr"),
    ("proxy_service.mongo_public_addr", "proxy_service.mongo_listen_addr"),
    ("windows_desktop_service.hosts", "windows_desktop_service.ldap"),
];

/// At most one of each pair.
const EITHER: [(&str, &str); 6] = [
    ("moongate.auth_server", "moongate.proxy_server"),
    ("moongate.auth_token", "moongate.join_params"),
    ("proxy_service.kube_listen_addr", "proxy_service.kubernetes.listen_addr"),
    ("proxy_service.https_keypairs", "proxy_service.https_key_file"),
    ("windows_desktop_service.ldap.ldap_ca_cert", "windows_desktop_service.ldap.der_ca_file"),
    ("auth_service.authentication.second_factor", "auth_service.authentication.second_factors"),
];

impl Make<'_> {
    /// Checks pairs of keys; `proxy` says whether the proxy runs here.
    pub(super) fn contradictions(&mut self, roles: &Option<BTreeSet<SystemRole>>, proxy: bool) {
        for (one, other) in EITHER {
            if self.file.has(one) && self.file.has(other) {
                let (first, second) =
                    if self.file.place(one) < self.file.place(other) { (one, other) } else { (other, one) };
                let line = self.file.place(first).map_or(0, |at| at.line);
                let message = format!("given together with `{}` (line {line})", self.raw.shown(first));
                self.wrong(second, &message, "one of the two");
            }
        }
        for (what, with) in NEEDS {
            if self.file.has(what) && !self.file.has(with) {
                self.wrong(what, &format!("given without `{with}`"), "both of them");
            }
        }
        let tracing = self.file.truth("tracing_service.enabled") == Some(true);
        if tracing && !self.file.has("tracing_service.exporter_url") {
            self.wrong("tracing_service", "without `exporter_url`", "where to send traces");
        }
        if self.file.has("metrics_service.keypairs") != self.file.has("metrics_service.ca_certs") {
            self.wrong("metrics_service", "one of `keypairs` and `ca_certs`", "both or neither");
        }
        if self.raw.version == Version::V3
            && self.file.has("moongate.proxy_server")
            && proxy
            && roles.is_none()
        {
            self.wrong(
                "moongate.proxy_server",
                "given where the proxy itself runs (`proxy_service.enabled: yes`)",
                "`auth_server`, or `proxy_service.enabled: no`",
            );
        }
        self.ranges();
        self.apps();
    }

    fn ranges(&mut self) {
        let offset = self.file.whole("ssh_service.x11.display_offset").unwrap_or(10);
        if self.file.whole("ssh_service.x11.max_display").is_some_and(|max| max < offset) {
            self.wrong("ssh_service.x11.max_display", "smaller than `display_offset`", "at least that");
        }
    }

    fn apps(&mut self) {
        for part in self.file.sections("app_service.apps[]") {
            if part.text("name").is_none() || (part.text("uri").is_none() && part.text("cloud").is_none()) {
                let finding = crate::Finding::error(
                    self.raw.file(),
                    Some(part.at()),
                    "app_service.apps[]",
                    "incomplete",
                );
                self.findings.push(finding.expected("both `name` and `uri`"));
            }
        }
    }

    /// Two services cannot listen at one place. Port 0 is another one each time.
    pub(super) fn one_listener_each(&mut self, config: &Config) {
        let mut taken: Vec<(&str, &Address)> = Vec::new();
        if let Some(proxy) = &config.proxy {
            taken.push(("the proxy", &proxy.listen));
            taken.extend(proxy.also_listen.iter().map(|address| ("the proxy", address)));
        }
        let others = [
            ("auth_service.listen_addr", "the authority", config.auth.as_ref().map(|auth| &auth.listen)),
            ("ssh_service.listen_addr", "the node", config.ssh.as_ref().and_then(|ssh| ssh.listen.as_ref())),
            ("moongate.diag_addr", "the diagnostics", config.instance.diag.as_ref()),
        ];
        for (path, who, address) in others {
            let Some(address) = address else { continue };
            if let Some((other, theirs)) = taken.iter().find(|(_, theirs)| clash(address, theirs)) {
                let message = format!("`{address}` is where {other} listens (`{theirs}`)");
                let expected = "a port of its own";
                if self.flags.diag_addr.is_some() && path == "moongate.diag_addr" {
                    self.findings.push(
                        crate::Finding::error(super::FLAGS, None, "--diag-addr", message).expected(expected),
                    );
                } else {
                    self.wrong(path, &message, expected);
                }
            }
            taken.push((who, address));
        }
    }
}

/// Whether only one of two listeners can be: they are one address, or one of them is every address of its family.
fn clash(one: &Address, other: &Address) -> bool {
    let covers = |a: &Address, b: &Address| {
        a.is_unspecified() && a.ip().zip(b.ip()).is_some_and(|(a, b)| a.is_ipv4() == b.is_ipv4())
    };
    let meet = one.host() == other.host() || covers(one, other) || covers(other, one);
    one.port() != 0 && one.port() == other.port() && meet
}
