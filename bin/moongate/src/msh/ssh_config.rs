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

/// The block. `program` is how `msh` is called, quoted.
pub(crate) fn block(home: &Home, profile: &Profile, program: &str) -> String {
    let keys = home.keys(profile);
    let gate =
        profile.web_proxy_addr.rsplit_once(':').map_or(profile.web_proxy_addr.as_str(), |(host, _)| host);
    let cluster = &profile.cluster;
    format!(
        "# Begin generated Moongate configuration for {gate}\n\n\
         # Common flags for all {cluster} hosts\n\
         Host *.{cluster} {gate}\n    \
             UserKnownHostsFile {known_hosts}\n    \
             IdentityFile {key}\n    \
             CertificateFile {cert}\n    \
             IdentitiesOnly yes\n    \
             HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com\n    \
             Ciphers {CIPHERS}\n\n\
         # Flags for all {cluster} hosts except the proxy\n\
         Host *.{cluster} !{gate}\n    \
             Port 3022\n    \
             ProxyCommand {program} proxy ssh --home={root} --cluster={cluster} --proxy={addr} %r@%h:%p\n\n\
         # End generated Moongate configuration\n",
        known_hosts = quoted(&home.known_hosts()),
        key = quoted(&keys.ssh_key()),
        cert = quoted(&keys.ssh_cert()),
        root = quoted(home.root()),
        addr = profile.web_proxy_addr,
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

        insta::assert_snapshot!(block(&home, &profile, "\"/usr/bin/msh\""));
    }
}
