//! Against the real thing: keys and certificates that `ssh-keygen` reads, and that it made.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "talks to a real program through real files"
)]

mod common;

use std::fs;
use std::process::{Command, Output};

use common::*;
use model::Identity;
use model::api::cluster::{CaKind, TrustBundle};
use pki::ssh::{Certificate, HostRequest, PublicKey, issue_host, verify_user};
use pki::{Error, KeyPair, KeyType, Signer, Trust};

/// A fresh directory that is removed at the end.
struct Dir(std::path::PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("moongate-pki-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn keygen(&self, words: &[&str]) -> Output {
        let output = Command::new("ssh-keygen").current_dir(&self.0).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "ssh-keygen {words:?}: {said}");
        output
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(self.0.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn ssh_keygen_reads_our_certificates() {
    let dir = Dir::new("reads");
    for key_type in [KeyType::Ed25519, KeyType::EcdsaP256] {
        let world = world_with(key_type);
        let pinned = Identity { pin_ip: true, ..ann() };
        let cert = user_cert(&world.user_ca, &pinned, &key(10).ssh_public());
        dir.write("user-cert.pub", &format!("{cert}\n"));

        let said = String::from_utf8(dir.keygen(&["-L", "-f", "user-cert.pub"]).stdout).unwrap();

        for wanted in [
            "ssh-ed25519-cert-v01@openssh.com user certificate",
            "Key ID: \"ann\"",
            "Serial: 5",
            &world.user_ca.ssh_public().fingerprint(),
            &key(10).ssh_public().fingerprint(),
            "source-address 192.0.2.7/32",
            "permit-pty",
            "permit-X11-forwarding",
            "permit-agent-forwarding",
            "permit-port-forwarding",
            "identity@moongate.dev",
            "                ann\n",
            "                root\n",
        ] {
            assert!(said.contains(wanted), "{wanted} not in\n{said}");
        }
    }
}

#[test]
fn ssh_keygen_reads_our_host_certificates() {
    let dir = Dir::new("hosts");
    let world = world();
    let key = key(20).ssh_public();
    let request =
        HostRequest { key: &key, identity: &node(), principals: &[], serial: 6, nonce: [8; 32], now: now() };
    dir.write("host-cert.pub", &issue_host(&world.host_ca, &request).unwrap().to_string());

    let said = String::from_utf8(dir.keygen(&["-L", "-f", "host-cert.pub"]).stdout).unwrap();

    assert!(said.contains("host certificate") && said.contains("web-1.gate"), "{said}");
}

#[test]
fn ssh_keygen_reads_our_private_keys() {
    let dir = Dir::new("private");
    for key_type in [KeyType::Ed25519, KeyType::EcdsaP256] {
        let pair = KeyPair::generate(key_type, &[42; 32]).unwrap();
        dir.write("key", &pair.to_openssh("ann", 7));

        let public = String::from_utf8(dir.keygen(&["-y", "-P", "", "-f", "key"]).stdout).unwrap();

        assert_eq!(public.parse::<PublicKey>().unwrap(), pair.ssh_public());
    }
}

#[test]
fn every_kind_of_key_ssh_keygen_makes_is_read_and_verified() {
    let dir = Dir::new("kinds");
    for (kind, bits) in
        [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048")]
    {
        let name = format!("{kind}{bits}");
        dir.keygen(&["-q", "-t", kind, "-b", bits, "-N", "", "-C", "a comment", "-f", &name]);
        let key: PublicKey = dir.read(&format!("{name}.pub")).parse().unwrap();

        let fingerprint =
            String::from_utf8(dir.keygen(&["-l", "-f", &format!("{name}.pub")]).stdout).unwrap();
        assert!(fingerprint.contains(&key.fingerprint()), "{fingerprint}");

        // SSHSIG (PROTOCOL.sshsig) wraps a signature over a known envelope: a real signature to verify.
        dir.write("message", "hello");
        let _ = fs::remove_file(dir.0.join("message.sig"));
        dir.keygen(&["-q", "-Y", "sign", "-n", "test", "-f", &name, "message"]);
        let (signature, envelope) = unwrap_sshsig(&dir.read("message.sig"), b"hello");
        assert_eq!(key.verify(&signature, &envelope), Ok(()), "{name}");
        assert_eq!(key.verify(&signature, b"other"), Err(Error::BadSignature), "{name}");
        let mut changed = signature.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(key.verify(&changed, &envelope).is_err(), "{name}");
        // By another algorithm than the key's; `ssh-rsa` is RSA with SHA-1.
        let len = u32::from_be_bytes(signature[..4].try_into().unwrap()) as usize;
        for other in ["ssh-rsa", "ssh-dss", "ecdsa-sha2-nistp256-cert-v01@openssh.com"] {
            let renamed =
                [&(other.len() as u32).to_be_bytes(), other.as_bytes(), &signature[4 + len..]].concat();
            assert_eq!(key.verify(&renamed, &envelope), Err(Error::BadSignature), "{name} as {other}");
        }

        // And certificates over each of them.
        let world = world();
        let cert = user_cert(&world.user_ca, &ann(), &key);
        assert_eq!(verify_user(&cert, &world.trust, None, now()).unwrap().key, key);
        dir.write("any-cert.pub", &cert.to_string());
        dir.keygen(&["-L", "-f", "any-cert.pub"]);
    }
}

/// The signature blob of an armoured SSHSIG, and the bytes it is over.
fn unwrap_sshsig(armoured: &str, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    use base64::Engine as _;
    let packed: String = armoured.lines().filter(|l| !l.starts_with("-----")).collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(packed).unwrap();
    let mut rest = &bytes[6 + 4..];
    let mut string = || {
        let len = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let (taken, left) = rest[4..].split_at(len);
        rest = left;
        taken.to_vec()
    };
    let (_key, namespace, reserved, hash, signature) = (string(), string(), string(), string(), string());
    let digest = match hash.as_slice() {
        b"sha512" => aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, message),
        _ => aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message),
    };
    let mut envelope = b"SSHSIG".to_vec();
    for part in [namespace.as_slice(), &reserved, &hash, digest.as_ref()] {
        envelope.extend((part.len() as u32).to_be_bytes());
        envelope.extend(part);
    }
    (signature, envelope)
}

fn trust_of(public: &str) -> Trust {
    let mut key = entry(&world().user_ca, CaKind::User);
    key.ssh = public.to_owned();
    Trust::from_bundle(&TrustBundle { keys: vec![key], audit_key: String::new() }).unwrap()
}

/// A certificate made by `ssh-keygen` with these words, and trust in its authority.
fn made_by_keygen(dir: &Dir, words: &[&str]) -> (Certificate, Trust) {
    for name in ["ca", "id"] {
        if !dir.0.join(name).exists() {
            dir.keygen(&["-q", "-t", "ed25519", "-N", "", "-f", name]);
        }
    }
    let words: Vec<&str> = [&["-q", "-s", "ca", "-I", "ann"], words, &["id.pub"]].concat();
    dir.keygen(&words);
    (dir.read("id-cert.pub").parse().unwrap(), trust_of(&dir.read("ca.pub")))
}

#[test]
fn options_we_do_not_know_are_refused() {
    let dir = Dir::new("options");

    let (cert, trust) = made_by_keygen(&dir, &["-n", "root", "-O", "force-command=id"]);
    assert_eq!(
        verify_user(&cert, &trust, None, now()),
        Err(Error::CriticalOption("force-command".to_owned()))
    );

    let (cert, trust) = made_by_keygen(&dir, &["-n", "root", "-O", "critical:tuesday=yes"]);
    assert_eq!(verify_user(&cert, &trust, None, now()), Err(Error::CriticalOption("tuesday".to_owned())));

    let (cert, trust) =
        made_by_keygen(&dir, &["-n", "root", "-O", "source-address=10.0.0.0/8,2001:db8::/32"]);
    let from = |ip: &str| verify_user(&cert, &trust, Some(ip.parse().unwrap()), now());
    // Past the address check, a certificate without identity is nobody's.
    for inside in ["10.1.2.3", "2001:db8::5"] {
        assert_eq!(from(inside), Err(Error::Malformed("identity")), "{inside}");
    }
    for outside in ["11.0.0.1", "2001:db9::", "::1"] {
        assert_eq!(from(outside), Err(Error::WrongAddress), "{outside}");
    }
}

#[test]
fn a_certificate_without_principals_is_refused() {
    let dir = Dir::new("principals");

    let (cert, trust) = made_by_keygen(&dir, &[]);

    assert_eq!(verify_user(&cert, &trust, None, now()), Err(Error::NoPrincipal));
}

#[test]
fn weak_keys_are_refused() {
    let dir = Dir::new("weak");
    dir.keygen(&["-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", "weak"]);

    assert!(matches!(dir.read("weak.pub").parse::<PublicKey>(), Err(Error::UnsupportedKey(_))));
}

#[test]
fn private_keys_we_do_not_keep_are_refused_with_the_reason() {
    let dir = Dir::new("unkept");
    let table: [(&str, &[&str], Error); 3] = [
        ("locked", &["-t", "ed25519", "-N", "open sesame"], Error::Passphrase),
        ("rsa", &["-t", "rsa", "-b", "2048", "-N", ""], Error::UnsupportedPrivateKey("ssh-rsa".to_owned())),
        (
            "wide",
            &["-t", "ecdsa", "-b", "384", "-N", ""],
            Error::UnsupportedPrivateKey("ecdsa-sha2-nistp384".to_owned()),
        ),
    ];
    for (name, words, expected) in table {
        dir.keygen(&[&["-q", "-f", name], words].concat());

        assert_eq!(KeyPair::from_openssh(&dir.read(name)).unwrap_err(), expected, "{name}");
    }
}
