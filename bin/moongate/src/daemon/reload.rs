//! SIGHUP: the file is read again; certificates for browsers, join tokens and labels take effect, the rest is named and waits for a
//! restart. A file that is not good changes nothing.

use std::path::Path;

use ::proxy::WebCerts;
use config::Config;

use super::args::Start;
use super::authority;
use super::labels::Labels;
use super::load::load;

/// What can be replaced while running.
#[derive(Clone, Default)]
pub(crate) struct Reloadable {
    /// The proxy's certificates.
    pub(crate) certs: Option<WebCerts>,
    /// The authority, for its tokens.
    pub(crate) authority: Option<auth::Authority>,
    /// The node's labels.
    pub(crate) labels: Option<Labels>,
    /// The node, to be told when the process stops.
    pub(crate) node: Option<::node::serve::Node>,
}

/// Reads everything again and says what came of it. `now` is the configuration in effect, and `file` where it came from;
/// gives the one that is.
pub(crate) async fn reload(
    args: &Start,
    (file, now): (Option<&Path>, &Config),
    parts: &Reloadable,
) -> Config {
    if let Some(certs) = &parts.certs {
        let count = certs.reload(true);
        tracing::info!(count, "certificates for browsers read again");
    }
    let new = match load(file, &args.flags()) {
        Ok((loaded, _)) => {
            for note in &loaded.notes {
                tracing::warn!("{note}");
            }
            loaded.config
        }
        Err(error) => {
            for line in format!("{error:#}").lines() {
                tracing::error!("not reloaded: {line}");
            }
            return now.clone();
        }
    };
    let mut effective = now.clone();
    if let (Some(old), Some(fresh), Some(labels)) = (&mut effective.ssh, &new.ssh, &parts.labels)
        && (old.labels != fresh.labels || old.commands != fresh.commands)
    {
        labels.replace(fresh).await;
        old.labels.clone_from(&fresh.labels);
        old.commands.clone_from(&fresh.commands);
        tracing::info!("labels replaced");
    }
    if let (Some(old), Some(fresh), Some(authority)) = (&mut effective.auth, &new.auth, &parts.authority) {
        // Always: a token's file may hold something else by now.
        match authority.replace_static_tokens(&authority::static_tokens(fresh)) {
            Ok(()) => old.tokens.clone_from(&fresh.tokens),
            Err(error) => tracing::error!(%error, "the join tokens of the file are not taken"),
        }
    }
    for section in differing(&effective, &new) {
        tracing::warn!(section, "changed in the file; takes effect after a restart");
    }
    effective
}

/// The sections in which two configurations differ.
pub(crate) fn differing(a: &Config, b: &Config) -> Vec<&'static str> {
    let sections = [
        ("version", a.version == b.version),
        ("moongate", a.instance == b.instance && a.upstream == b.upstream),
        ("auth_service", a.auth == b.auth),
        ("proxy_service", a.proxy == b.proxy),
        ("ssh_service", a.ssh == b.ssh),
    ];
    sections.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        config::load("test", text, &config::Flags::default()).unwrap().config
    }

    #[test]
    fn what_differs_is_named_by_section() {
        let a = config("version: v3\nssh_service: {labels: {a: b}}\n");
        let b = config(
            "version: v3\nssh_service: {labels: {a: c}}\nproxy_service: {web_listen_addr: '0.0.0.0:443'}\n",
        );

        assert_eq!(differing(&a, &a), Vec::<&str>::new());
        assert_eq!(differing(&a, &b), ["proxy_service", "ssh_service"]);
    }
}
