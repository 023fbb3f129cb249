//! What cannot both be meant.

use std::collections::BTreeSet;

use model::SystemRole;

use super::Make;
use crate::{Config, Version};

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
        let Some(auth) = &config.auth else { return };
        let Some(proxy) = &config.proxy else { return };
        let mut others = std::iter::once(&proxy.listen).chain(&proxy.also_listen);
        let clash = others.find(|a| **a == auth.listen && a.port() != 0);
        if let Some(address) = clash {
            let message = format!("`{address}` is the proxy's too");
            self.wrong("auth_service.listen_addr", &message, "a port of its own");
        }
    }
}
