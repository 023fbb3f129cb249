//! `proxy_service:`.

use std::time::Duration;

use model::time::Span;

use super::Make;
use crate::{Address, KeyPair, Proxy, ProxyProtocol, Version};

impl Make<'_> {
    pub(super) fn proxy(&mut self) -> Option<Proxy> {
        let file = self.file;
        let listen = match file.address("proxy_service.web_listen_addr") {
            Some(address) => address,
            None => Address::new("0.0.0.0", 3080).ok()?,
        };
        if listen.port() == 0 {
            let expected = "a port that people and nodes can be told, such as 3080";
            self.wrong("proxy_service.web_listen_addr", "port 0", expected);
        }
        let proxy_protocol = match file.word("proxy_service.proxy_protocol").as_deref() {
            Some("on") => ProxyProtocol::On,
            Some("off") => ProxyProtocol::Off,
            _ => ProxyProtocol::Unspecified,
        };
        Some(Proxy {
            also_listen: self.side_listeners(&listen),
            listen,
            public_addrs: file.addresses("proxy_service.public_addr"),
            ssh_public_addrs: file.addresses("proxy_service.ssh_public_addr"),
            tunnel_public_addrs: file.addresses("proxy_service.tunnel_public_addr"),
            keypairs: self.keypairs(),
            reload_interval: file
                .span_or_never("proxy_service.https_keypairs_reload_interval")
                .unwrap_or(Some(Span(Duration::from_secs(60)))),
            proxy_protocol,
            trust_x_forwarded_for: file.truth("proxy_service.trust_x_forwarded_for").unwrap_or(false),
            trusted_fronts: self.trusted_fronts(proxy_protocol),
            scrollback_lines: file.whole("proxy_service.ui.scrollback_lines").unwrap_or(5000),
        })
    }

    /// An empty list trusts nobody; a list that is left out leaves it to us.
    fn trusted_fronts(&mut self, headers: ProxyProtocol) -> Option<Vec<String>> {
        let path = "proxy_service.trusted_fronts";
        let file = self.file;
        let all: Vec<String> = file.texts(path).into_iter().map(|(text, _)| text.to_owned()).collect();
        if !file.has(path) {
            return None;
        }
        if all.is_empty() && headers == ProxyProtocol::On {
            let message = "nobody, and `proxy_protocol: on` demands a PROXY header of everybody";
            self.wrong(path, message, "a network whose headers are believed");
        }
        Some(all)
    }

    /// Whether the side ports of old are wanted.
    fn separate(&self) -> bool {
        match self.file.word("auth_service.proxy_listener_mode").as_deref() {
            Some("multiplex") => false,
            Some(_) => true,
            None => self.raw.version == Version::V1,
        }
    }

    /// The SSH and tunnel ports: those asked for, and in separate mode those that were always there. Multiplexed, a
    /// port asked for is not opened, as the one port serves it.
    fn side_listeners(&self, listen: &Address) -> Vec<Address> {
        if !self.separate() {
            return Vec::new();
        }
        let mut all = Vec::new();
        for (path, port) in [("proxy_service.listen_addr", 3023), ("proxy_service.tunnel_listen_addr", 3024)]
        {
            let address = self.file.address(path).unwrap_or_else(|| listen.with_port(port));
            if address != *listen && !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }

    fn keypairs(&mut self) -> Vec<KeyPair> {
        let mut pairs = Vec::new();
        for part in self.file.sections("proxy_service.https_keypairs[]") {
            match (part.path("key_file"), part.path("cert_file")) {
                (Some(key), Some(cert)) => pairs.push(KeyPair { key, cert }),
                (key, _) => {
                    let (has, lacks) =
                        if key.is_some() { ("key_file", "cert_file") } else { ("cert_file", "key_file") };
                    let shown = "proxy_service.https_keypairs[]";
                    let finding = crate::Finding::error(
                        self.raw.file(),
                        Some(part.at()),
                        shown,
                        format!("`{has}` without `{lacks}`"),
                    );
                    self.findings.push(finding.expected("both `key_file` and `cert_file`"));
                }
            }
        }
        let old = ("proxy_service.https_key_file", "proxy_service.https_cert_file");
        match (self.file.path(old.0), self.file.path(old.1)) {
            (Some(key), Some(cert)) => pairs.push(KeyPair { key, cert }),
            (Some(_), None) => self.wrong(old.0, "without `https_cert_file`", "both of them"),
            (None, Some(_)) => self.wrong(old.1, "without `https_key_file`", "both of them"),
            (None, None) => {}
        }
        pairs
    }
}
