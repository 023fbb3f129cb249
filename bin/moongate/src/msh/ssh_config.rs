//! The block for `~/.ssh/config` that makes stock OpenSSH reach nodes through the gate, without questions.

use super::profile::{Home, Profile};

/// What processors do in hardware first: the client's order decides, and OpenSSH's own begins with ChaCha20, which
/// costs both ends several times as much. All of them are known since OpenSSH 6.5.
const CIPHERS: &str =
    "aes256-gcm@openssh.com,aes128-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes128-ctr";

/// Quotes a path for ssh_config(5).
fn quoted(path: &std::path::Path) -> String {
    format!("\"{}\"", path.display())
}

/// A word or pattern for nodes without the cluster's name: what a `Host` line takes, and no dot.
///
/// # Errors
/// Another character is in it.
pub(crate) fn bare_name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '?');
    if text.is_empty() || !text.chars().all(good) {
        return Err("a name or pattern such as web-1 or gpu-*, without a dot".to_owned());
    }
    Ok(text.to_owned())
}

/// The block. `program` is how `msh` is called, quoted; `names` are the nodes' that may be called without the cluster.
pub(crate) fn block(home: &Home, profile: &Profile, program: &str, names: &[String]) -> String {
    let keys = home.keys(profile);
    let gate =
        profile.web_proxy_addr.rsplit_once(':').map_or(profile.web_proxy_addr.as_str(), |(host, _)| host);
    let cluster = &profile.cluster;
    let common = format!(
        "    UserKnownHostsFile {known_hosts}\n    \
             IdentityFile {key}\n    \
             CertificateFile {cert}\n    \
             IdentitiesOnly yes\n    \
             HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com\n    \
             Ciphers {CIPHERS}\n",
        known_hosts = quoted(&home.known_hosts()),
        key = quoted(&keys.ssh_key()),
        cert = quoted(&keys.ssh_cert()),
    );
    let way = format!(
        "    Port 3022\n    \
             ProxyCommand {program} proxy ssh --home={root} --cluster={cluster} --proxy={addr} %r@%h:%p\n",
        root = quoted(home.root()),
        addr = profile.web_proxy_addr,
    );
    // Under their full names there is one certificate authority for them, and it speaks for nobody else's hosts.
    let bare = if names.is_empty() {
        String::new()
    } else {
        let names = names.join(" ");
        format!(
            "# Hosts of {cluster} by their bare names; a name with a dot is somebody else's\n\
             Host {names} !*.* !{gate}\n    \
                 HostName %h.{cluster}\n{common}{way}\n"
        )
    };
    format!(
        "# Begin generated Moongate configuration for {gate}\n\n\
         # Common flags for all {cluster} hosts\n\
         Host *.{cluster} {gate}\n{common}\n\
         # Flags for all {cluster} hosts except the proxy\n\
         Host *.{cluster} !{gate}\n{way}\n\
         {bare}\
         # End generated Moongate configuration\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_names_keys_authorities_and_the_way() {
        let home = Home::open(Some(std::path::Path::new("/home/ann/.msh"))).unwrap();
        let profile = Profile {
            web_proxy_addr: "gate.example.com:443".into(),
            user: "ann".into(),
            cluster: "main".into(),
            insecure: false,
            carrier: String::new(),
        };

        insta::assert_snapshot!(block(&home, &profile, "\"/usr/bin/msh\"", &[]));
        let names = ["web-*".to_owned(), "db".to_owned()];
        insta::assert_snapshot!("bare_names", block(&home, &profile, "\"/usr/bin/msh\"", &names));
    }

    #[test]
    fn a_bare_name_is_no_more_than_a_pattern_for_one_word() {
        assert_eq!(bare_name("web-*"), Ok("web-*".to_owned()));
        for other in ["", "web.example", "a b", "a\nProxyCommand x", "!web", "\"a\""] {
            assert!(bare_name(other).is_err(), "{other}");
        }
    }
}
