//! The block for `~/.ssh/config` that makes stock OpenSSH reach nodes through the gate, without questions.

use anyhow::{Result, bail};
use serde::Serialize;

use super::profile::{Home, Profile};
use crate::show::{Format, print};

/// What processors do in hardware first: the client's order decides, and OpenSSH's own begins with ChaCha20, which
/// costs both ends several times as much. All of them are known since OpenSSH 6.5.
const CIPHERS: &str =
    "aes256-gcm@openssh.com,aes128-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes128-ctr";

/// Quotes a path for ssh_config(5).
fn quoted(path: &std::path::Path) -> String {
    format!("\"{}\"", path.display())
}

/// What a person asks of the block.
pub(crate) struct Wanted {
    /// Nodes' names or patterns that may be used without the cluster's.
    pub(crate) names: Vec<String>,
    /// It is for a file of its own.
    pub(crate) alone: bool,
    /// How it is printed.
    pub(crate) format: Format,
}

/// The block as data.
#[derive(Serialize)]
struct Block<'a> {
    profile_url: String,
    cluster: &'a str,
    /// What belongs into `~/.ssh/config`: comments alone where a block would shadow another.
    block: String,
}

/// Prints the block of the gate, or says why it cannot stand beside another one.
///
/// # Errors
/// Another gate's cluster has the same name, the authorities cannot be read, or standard output is closed.
pub(crate) fn show(home: &Home, profile: &Profile, program: &str, wanted: &Wanted) -> Result<()> {
    home.settle_hosts(profile)?;
    let mut others = home.all();
    others.retain(|p| p.place != profile.place);
    let print = |block: String| {
        let profile_url = format!("https://{}", profile.web_proxy_addr);
        let data = Block { profile_url, cluster: &profile.cluster, block };
        print(wanted.format, &data, || data.block.clone())
    };
    if let Some(first) = home.namesake(profile).filter(|_| !wanted.alone) {
        print(no_block(profile, &first))?;
        let (addr, cluster) = (&profile.web_proxy_addr, &profile.cluster);
        bail!(
            "no block for {addr}: its cluster has the same name, {cluster}, as that of {}, and one block would shadow \
             the other; print it with --alone for a file of its own (ssh -F FILE)",
            first.web_proxy_addr
        );
    }
    print(block(home, profile, program, &wanted.names, &others))?;
    for wider in others.iter().filter(|p| !taken(p, std::slice::from_ref(profile)).is_empty()) {
        eprintln!(
            "msh: some names of this block also fit *.{}: print the block of {} anew, so that it leaves them alone",
            wider.cluster, wider.web_proxy_addr
        );
    }
    Ok(())
}

/// What stands in the file instead of a block that would not be heard.
fn no_block(profile: &Profile, first: &Profile) -> String {
    format!(
        "# No Moongate configuration for {addr}: its cluster is called {cluster}, as that of {first} is.\n\
         # *.{cluster} means the hosts of {first}. Others are reached with: msh --proxy={addr} ssh LOGIN@NODE\n",
        addr = profile.web_proxy_addr,
        cluster = profile.cluster,
        first = first.web_proxy_addr,
    )
}

/// Patterns within `*.CLUSTER` of `profile` that are somebody else's: clusters below this one, and other gates.
fn taken(profile: &Profile, others: &[Profile]) -> String {
    let below = format!(".{}", profile.cluster);
    let mut out = String::new();
    for other in others {
        if other.cluster.ends_with(&below) {
            out += &format!(" !*.{}", other.cluster);
        }
        if other.host().ends_with(&below) && other.host() != profile.host() {
            out += &format!(" !{}", other.host());
        }
    }
    out
}

/// The block. `program` is how `msh` is called, quoted; `names` are the nodes' that may be called without the cluster;
/// `others` are the gates whose blocks may stand beside this one.
fn block(home: &Home, profile: &Profile, program: &str, names: &[String], others: &[Profile]) -> String {
    let keys = home.keys(profile);
    let (gate, title, cluster) = (profile.host(), profile.title(), &profile.cluster);
    let common = format!(
        "    IdentityFile {key}\n    \
             CertificateFile {cert}\n    \
             IdentitiesOnly yes\n    \
             HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com\n    \
             Ciphers {CIPHERS}\n",
        key = quoted(&keys.ssh_key()),
        cert = quoted(&keys.ssh_cert()),
    );
    // Gates of one host share the stanza's name: what is believed of them stands in one file, by port.
    let gates = format!("    UserKnownHostsFile {}\n{common}", quoted(&home.known_hosts()));
    let way = format!(
        "    UserKnownHostsFile {hosts}\n{common}    \
             Port 3022\n    \
             ProxyCommand {program} proxy ssh --home={root} --cluster={cluster} --proxy={addr} %r@%h:%p\n",
        hosts = quoted(&keys.known_hosts()),
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
                 HostName %h.{cluster}\n{way}\n"
        )
    };
    let same: String = others
        .iter()
        .filter(|p| p.cluster == *cluster)
        .map(|p| {
            format!("# The cluster of {} has the same name: its hosts are not these.\n", p.web_proxy_addr)
        })
        .collect();
    format!(
        "# Begin generated Moongate configuration for {title}\n{same}\n\
         # The proxy itself, for ssh -J\n\
         Host {gate}\n{gates}\n\
         # All {cluster} hosts except the proxy\n\
         Host *.{cluster} !{gate}{taken}\n{way}\n\
         {bare}\
         # End generated Moongate configuration\n",
        taken = taken(profile, others),
    )
}

#[cfg(test)]
mod tests {
    use model::api::cluster::TrustBundle;

    use super::*;

    fn profile(addr: &str, cluster: &str, place: &str) -> Profile {
        Profile {
            web_proxy_addr: addr.into(),
            user: "ann".into(),
            cluster: cluster.into(),
            insecure: false,
            carrier: String::new(),
            websocket: None,
            turn: 0,
            place: place.into(),
        }
    }

    #[test]
    fn the_block_names_keys_authorities_and_the_way() {
        let home = Home::open(Some(std::path::Path::new("/home/ann/.msh"))).unwrap();
        let profile = profile("gate.example.com:443", "main", "gate.example.com");

        insta::assert_snapshot!(block(&home, &profile, "\"/usr/bin/msh\"", &[], &[]));
        let names = ["web-*".to_owned(), "db".to_owned()];
        insta::assert_snapshot!("bare_names", block(&home, &profile, "\"/usr/bin/msh\"", &names, &[]));
    }

    #[test]
    fn blocks_of_gates_on_one_host_have_files_and_markers_of_their_own() {
        let home = Home::open(Some(std::path::Path::new("/home/ann/.msh"))).unwrap();
        let first = profile("127.0.0.1:3080", "main", "127.0.0.1");
        let second = profile("127.0.0.1:4080", "lab", "127.0.0.1-4080");

        insta::assert_snapshot!(
            "second_gate_of_a_host",
            block(&home, &second, "\"/usr/bin/msh\"", &[], &[first])
        );
    }

    #[test]
    fn a_block_leaves_others_their_hosts() {
        let table = [
            (profile("gate.example.com:443", "eu.example.com", "a"), " !*.eu.example.com !gate.example.com"),
            (profile("gate.eu.example.com:443", "lab", "a"), " !gate.eu.example.com"),
            (profile("a.example.com:4080", "lab", "a"), ""),
            (profile("gate.example.org:443", "main", "a"), ""),
        ];
        let own = profile("a.example.com:443", "example.com", "b");

        for (other, expected) in table {
            assert_eq!(taken(&own, std::slice::from_ref(&other)), expected, "{}", other.cluster);
        }
    }

    #[test]
    fn one_name_is_one_gates_and_the_other_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(Some(dir.path())).unwrap();
        let sign_in = |addr: &str| {
            let profile = home.admit(addr.into(), "ann".into(), "main".into(), false);
            home.trust_hosts(&profile, &TrustBundle { keys: Vec::new(), audit_key: String::new() }).unwrap();
            home.keep(&profile).unwrap();
            profile
        };
        let (first, second) = (sign_in("a:3080"), sign_in("b:3080"));
        let usual = Wanted { names: Vec::new(), alone: false, format: Format::Text };

        show(&home, &first, "msh", &usual).unwrap();
        let refused = show(&home, &second, "msh", &usual).unwrap_err().to_string();
        show(&home, &second, "msh", &Wanted { alone: true, ..usual }).unwrap();

        assert!(refused.contains("as that of a:3080"), "{refused}");
        assert!(no_block(&second, &first).lines().all(|line| line.starts_with('#')));
        let beside = block(&home, &first, "msh", &[], &[second]);
        assert!(beside.contains("# The cluster of b:3080 has the same name"), "{beside}");
    }
}
