//! Keys and certificates made by stock tools, and the stock agent.

use std::process::{Command as Blocking, Stdio};

use tokio::net::UnixStream;

use super::openssh::{Host, talk};
use super::*;
use crate::agent::{Agent, AgentSigner};

/// Lets in whoever signed with the one key, plain or in any certificate.
pub(super) struct Inside(pub(super) PublicKey);

impl Gate for Inside {
    type Who = PublicKey;

    fn worth_signing(&self, _: &str, _: &PublicKey) -> bool {
        true
    }

    async fn admit(&self, _: &str, key: &PublicKey) -> Option<PublicKey> {
        (key.plain() == self.0).then(|| key.clone())
    }
}

fn keygen(home: &std::path::Path, arguments: &[&str]) {
    let done = Blocking::new("/usr/bin/ssh-keygen")
        .args(arguments)
        .current_dir(home)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(done.success(), "{arguments:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_user_key_signs_in_plain_and_certified() {
    let kinds = [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048")];
    for (kind, bits) in kinds {
        let home = tempfile::tempdir().unwrap();
        keygen(home.path(), &["-q", "-t", kind, "-b", bits, "-N", "", "-f", "id"]);
        keygen(home.path(), &["-q", "-t", "ed25519", "-N", "", "-f", "ca"]);
        let public = std::fs::read_to_string(home.path().join("id.pub")).unwrap();
        let public = PublicKey::from_openssh(&public).unwrap();
        let host = Host::start_for(home, public, |_| {}).await;
        for certified in [false, true] {
            if certified {
                keygen(host.home(), &["-q", "-s", "ca", "-I", "ann", "-n", "ann", "id.pub"]);
            }
            let (out, err, code) = talk(host.ssh(&[], &["cat"]), b"hi".to_vec()).await;
            assert_eq!((code, out.as_slice()), (Some(0), &b"hi"[..]), "{kind} {bits} {certified} {err}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_certificate_satisfies_the_stock_client() {
    let home = tempfile::tempdir().unwrap();
    let user = PrivateKey::generate("user").unwrap();
    super::openssh::write_private(&home.path().join("id"), &user.to_openssh().unwrap());
    let key = Arc::new(PrivateKey::generate("host").unwrap());
    std::fs::write(home.path().join("host.pub"), key.public().to_openssh()).unwrap();
    keygen(home.path(), &["-q", "-t", "ed25519", "-N", "", "-f", "ca"]);
    keygen(home.path(), &["-q", "-s", "ca", "-h", "-I", "web", "-n", "127.0.0.1", "host.pub"]);
    let certificate = std::fs::read_to_string(home.path().join("host-cert.pub")).unwrap();
    let authority = std::fs::read_to_string(home.path().join("ca.pub")).unwrap();
    let certified = HostKey::certified(key, PublicKey::from_openssh(&certificate).unwrap()).unwrap();

    let host = Host::start_for(home, user.public(), |config| config.host_keys = vec![certified]).await;
    std::fs::write(host.home().join("known_hosts"), format!("@cert-authority * {authority}")).unwrap();

    let (out, err, code) = talk(host.ssh(&[], &["cat"]), b"hi".to_vec()).await;
    assert_eq!((code, out.as_slice(), err.as_str()), (Some(0), &b"hi"[..], ""));
}

#[test]
fn a_certificate_of_another_key_is_not_taken_for_a_host() {
    let home = tempfile::tempdir().unwrap();
    keygen(home.path(), &["-q", "-t", "ed25519", "-N", "", "-f", "ca"]);
    keygen(home.path(), &["-q", "-s", "ca", "-h", "-I", "web", "ca.pub"]);
    let certificate = std::fs::read_to_string(home.path().join("ca-cert.pub")).unwrap();
    let certificate = PublicKey::from_openssh(&certificate).unwrap();
    let key = Arc::new(PrivateKey::generate("host").unwrap());

    assert!(HostKey::certified(key, certificate).is_err());
}

#[tokio::test]
async fn the_stock_agent_keeps_a_certificate_and_signs_in_with_it() {
    let world = World::new();
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("id.pub"), world.user.public().to_openssh()).unwrap();
    keygen(home.path(), &["-q", "-t", "ed25519", "-N", "", "-f", "ca"]);
    keygen(home.path(), &["-q", "-s", "ca", "-I", "ann", "-n", "ann", "id.pub"]);
    let certificate = std::fs::read_to_string(home.path().join("id-cert.pub")).unwrap();
    let certificate = PublicKey::from_openssh(&certificate).unwrap();
    let socket = home.path().join("agent");
    let _running = tokio::process::Command::new("/usr/bin/ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let stream = soon(async {
        loop {
            if let Ok(stream) = UnixStream::connect(&socket).await {
                return stream;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut agent = Agent::new(stream);

    agent.add(&world.user, Some(&certificate), "ann's", Some(Duration::from_secs(60))).await.unwrap();
    let held = agent.list().await.unwrap();
    assert_eq!((held.len(), &held[0].key, held[0].comment.as_str()), (1, &certificate, "ann's"));

    let (ours, theirs) = tokio::io::duplex(4096);
    let gate = Inside(world.user.public());
    let credentials = [Credential { key: certificate.clone(), signer: Arc::new(AgentSigner::new(agent)) }];
    let trust = |_: &PublicKey| Ok(());
    let (client, server) = soon(async {
        tokio::join!(
            client::connect(ours, Arc::new(world.client.clone()), &trust, "ann", &credentials),
            server::accept(theirs, Arc::new(world.server.clone()), &gate)
        )
    })
    .await;
    client.unwrap();
    assert_eq!(server.unwrap().who, certificate);

    let mut agent = Agent::new(UnixStream::connect(&socket).await.unwrap());
    agent.remove(&certificate).await.unwrap();
    assert!(agent.list().await.unwrap().is_empty());
    assert!(matches!(agent.remove(&certificate).await, Err(Error::Agent)));
}

#[tokio::test]
async fn a_jump_host_only_forwards() {
    let world = World::new();
    let Joined { client, server_incoming: mut incoming, .. } = world.join().await;
    world.scope.spawn("jump", async move {
        while let Some(jump) = crate::jump::next(&mut incoming).await {
            assert_eq!((jump.host.as_str(), jump.port), ("web-1", 22));
            let (near, mut far) = tokio::io::duplex(64);
            let channel = jump.opening.accept().unwrap();
            let echo = async {
                let (mut from, mut to) = tokio::io::split(&mut far);
                drop(tokio::io::copy(&mut from, &mut to).await);
                drop(tokio::io::AsyncWriteExt::shutdown(&mut to).await);
            };
            let (carried, ()) = tokio::join!(crate::relay(channel, near), echo);
            assert_eq!((carried.from_channel, carried.to_channel), (300_000, 300_000));
        }
    });

    assert!(matches!(soon(client.open_session()).await, Err(Error::OpenRefused { reason: 1, .. })));
    assert!(soon(client.listen("", 0)).await.is_err());
    let channel = soon(client.open_direct_tcp("web-1", 22, ("", 0))).await.unwrap();
    let sent = pattern(300_000);
    let (_, got) = soon(async {
        tokio::join!(
            async {
                channel.write_all(&sent).await.unwrap();
                channel.eof();
            },
            read_all(&channel)
        )
    })
    .await;
    assert!(got == sent);
}
