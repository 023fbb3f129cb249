//! Who gets in, by which algorithms, and who does not.

use wire::ssh::userauth::{Method, Request, signed_data};
use wire::ssh::{number, put_string};

use super::*;
use crate::algorithms::{CIPHERS, KEXES, MACS};
use crate::hub::Role;
use crate::link::Link;
use crate::transport::Transport;
use crate::{Algorithms, keys::Signing};

async fn answers(world: &World) {
    let mut joined = world.join().await;
    let (ours, theirs) = joined.session().await;
    world.scope.spawn("echo", echo(theirs));
    let sent = pattern(100_000);
    let (_, got) = tokio::join!(
        async {
            ours.write_all(&sent).await.unwrap();
            ours.eof();
        },
        read_all(&ours)
    );
    assert!(got == sent);
}

#[tokio::test]
async fn every_combination_of_algorithms_carries_data() {
    for (kex, _) in KEXES {
        for (cipher, kind) in CIPHERS {
            for (mac, _) in MACS {
                if kind.is_aead() && mac != MACS[0].0 {
                    continue;
                }
                let mut world = World::new();
                world.client.algorithms = Algorithms::named(&[cipher], &[kex], &[mac]).unwrap();
                soon(answers(&world)).await;
            }
        }
    }
}

#[tokio::test]
async fn a_tiny_pipe_is_enough() {
    let world = World::new();
    let mut joined = soon(world.join_by(7)).await;
    let (ours, theirs) = soon(joined.session()).await;
    world.scope.spawn("echo", echo(theirs));
    ours.write_all(b"hello").await.unwrap();
    ours.eof();
    assert_eq!(soon(read_all(&ours)).await, b"hello");
}

#[tokio::test]
async fn no_common_cipher_is_said_by_both() {
    let mut world = World::new();
    world.client.algorithms = Algorithms::named(&["aes128-ctr"], &[], &[]).unwrap();
    world.server.algorithms = Algorithms::named(&["aes256-ctr"], &[], &[]).unwrap();
    let (ours, theirs) = tokio::io::duplex(4096);

    let (client, server) = soon(world.shake(ours, theirs)).await;

    assert!(matches!(client, Err(Error::NoCommon("cipher"))), "{client:?}");
    assert!(matches!(server, Err(Error::NoCommon("cipher") | Error::Disconnected { .. })), "{server:?}");
}

#[tokio::test]
async fn another_key_is_refused() {
    let mut world = World::new();
    world.server.refusal_delay = Duration::ZERO;
    let stranger = Arc::new(PrivateKey::generate("eve").unwrap());
    let gate = Only(world.user.public());
    let (ours, theirs) = tokio::io::duplex(4096);
    let credentials = [Credential { key: stranger.public(), signer: stranger }];
    let trust = |_: &PublicKey| Ok(());

    let (client, server) = soon(async {
        tokio::join!(
            client::connect(ours, Arc::new(world.client.clone()), &trust, "ann", &credentials),
            server::accept(theirs, Arc::new(world.server.clone()), &gate)
        )
    })
    .await;

    assert!(matches!(client, Err(Error::Denied)), "{client:?}");
    assert!(server.is_err());
}

/// Offers one key and signs with another.
struct Forger(PrivateKey);

impl crate::Signer for Forger {
    fn sign<'a>(&'a self, _: &'a PublicKey, _: &'a str, data: &'a [u8]) -> Signing<'a> {
        let signature = self.0.sign(data);
        Box::pin(std::future::ready(Ok(signature)))
    }
}

#[tokio::test]
async fn only_the_key_that_signed_counts() {
    let mut world = World::new();
    world.server.refusal_delay = Duration::ZERO;
    let gate = Only(world.user.public());
    let (ours, theirs) = tokio::io::duplex(4096);
    let forger = Arc::new(Forger(PrivateKey::generate("eve").unwrap()));
    let credentials = [Credential { key: world.user.public(), signer: forger }];
    let trust = |_: &PublicKey| Ok(());

    let (client, server) = soon(async {
        tokio::join!(
            client::connect(ours, Arc::new(world.client.clone()), &trust, "ann", &credentials),
            server::accept(theirs, Arc::new(world.server.clone()), &gate)
        )
    })
    .await;

    assert!(matches!(client, Err(Error::Denied)), "{client:?}");
    assert!(server.is_err());
}

#[tokio::test]
async fn the_right_one_of_several_keys_gets_in() {
    let world = World::new();
    let stranger = Arc::new(PrivateKey::generate("eve").unwrap());
    let gate = Only(world.user.public());
    let (ours, theirs) = tokio::io::duplex(4096);
    let credentials = [Credential { key: stranger.public(), signer: stranger }, world.credential()];
    let trust = |_: &PublicKey| Ok(());

    let (client, server) = soon(async {
        tokio::join!(
            client::connect(ours, Arc::new(world.client.clone()), &trust, "ann", &credentials),
            server::accept(theirs, Arc::new(world.server.clone()), &gate)
        )
    })
    .await;

    assert!(client.is_ok(), "{client:?}");
    let server = server.unwrap();
    assert_eq!((server.who.as_str(), server.login.as_str()), ("ann", "ann"));
    assert_eq!(server.key, world.user.public());
}

/// Every attempt of paramiko begins with a request for the service, also the second.
#[tokio::test]
async fn the_service_may_be_asked_for_before_every_attempt() {
    let world = World::new();
    let gate = Only(world.user.public());
    let (ours, theirs) = tokio::io::duplex(4096);
    let transport = Transport::new(Role::Client, Algorithms::default(), Vec::new(), "test");
    let mut link = Link::new(ours, transport);
    let client = async {
        link.ready().await.unwrap();
        for key in [Arc::new(PrivateKey::generate("eve").unwrap()), world.user.clone()] {
            link.transport
                .send(|out| {
                    out.push(number::SERVICE_REQUEST);
                    put_string(out, b"ssh-userauth");
                })
                .unwrap();
            assert_eq!(link.next().await.unwrap()[0], number::SERVICE_ACCEPT);
            let public = key.public();
            let (algorithm, blob) = (public.kind(), public.as_bytes());
            let service = b"ssh-connection";
            let signed = signed_data(link.transport.session(), "ann", service, algorithm, blob);
            let signature = key.sign(&signed);
            let method = Method::PublicKey { algorithm, key: blob, signature: Some(&signature) };
            link.transport.send(|out| Request { user: "ann", service, method }.encode(out)).unwrap();
            let answer = link.next().await.unwrap()[0];
            if answer == number::USERAUTH_SUCCESS {
                return true;
            }
            assert_eq!(answer, number::USERAUTH_FAILURE);
        }
        false
    };

    let (is_in, server) =
        soon(async { tokio::join!(client, server::accept(theirs, Arc::new(world.server.clone()), &gate)) })
            .await;

    assert!(is_in);
    assert_eq!(server.unwrap().key, world.user.public());
}

#[tokio::test]
async fn six_refused_signatures_end_the_connection() {
    let mut world = World::new();
    world.server.refusal_delay = Duration::ZERO;
    let gate = Only(world.user.public());
    let (ours, theirs) = tokio::io::duplex(4096);
    let strangers: Vec<Credential> = (0..8)
        .map(|_| {
            let key = Arc::new(PrivateKey::generate("eve").unwrap());
            Credential { key: key.public(), signer: key }
        })
        .collect();
    let trust = |_: &PublicKey| Ok(());

    let (client, server) = soon(async {
        tokio::join!(
            client::connect(ours, Arc::new(world.client.clone()), &trust, "ann", &strangers),
            server::accept(theirs, Arc::new(world.server.clone()), &gate)
        )
    })
    .await;

    let Err(Error::Disconnected { reason, .. }) = client else { panic!("{client:?}") };
    assert_eq!(reason, 14);
    assert!(matches!(server, Err(Error::Denied)));
}

#[tokio::test]
async fn an_untrusted_host_learns_nothing_of_the_user() {
    let world = World::new();
    let gate = Only(world.user.public());
    let (ours, theirs) = tokio::io::duplex(4096);
    let credentials = [world.credential()];
    let distrust = |_: &PublicKey| Err("not the host you think".to_owned());

    let (client, server) = soon(async {
        tokio::join!(
            client::connect(ours, Arc::new(world.client.clone()), &distrust, "ann", &credentials),
            server::accept(theirs, Arc::new(world.server.clone()), &gate)
        )
    })
    .await;

    assert!(matches!(client, Err(Error::HostKey(text)) if text.contains("think")));
    assert!(matches!(server, Err(Error::Disconnected { reason: 9, .. })), "{server:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up_after_the_deadline() {
    let world = World::new();
    let gate = Only(world.user.public());
    let (_ours, theirs) = tokio::io::duplex(4096);

    let server = server::accept(theirs, Arc::new(world.server.clone()), &gate).await;

    assert!(matches!(server, Err(Error::Deadline)), "{server:?}");
}

#[tokio::test]
async fn a_huge_length_is_refused_before_it_is_read() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new();
    let gate = Only(world.user.public());
    let (mut ours, theirs) = tokio::io::duplex(4096);
    let config = Arc::new(world.server.clone());
    let server = server::accept(theirs, config, &gate);

    let (server, ()) = soon(async {
        tokio::join!(server, async {
            ours.write_all(b"SSH-2.0-eve\r\n\x7f\xff\xff\xff").await.unwrap();
            let mut all = Vec::new();
            ours.read_to_end(&mut all).await.unwrap();
        })
    })
    .await;

    assert!(matches!(server, Err(Error::Integrity)), "{server:?}");
}
