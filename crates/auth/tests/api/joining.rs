//! Tokens, joining, renewing, and whose id is whose.

use std::time::Duration;

use model::api::Fault;
use model::api::certs::{Join, Renew};
use model::api::cluster::WatchPolicy;
use model::api::nodes::DeleteNode;
use model::api::tokens::{CreateToken, DeleteToken, ListTokens};
use model::time::Span;
use model::{NodeId, Secret, SystemRole};
use pki::Signer;

use crate::world::{Keys, NODE_TOKEN, PROXY_TOKEN, World, fault, refused};

fn token(value: Option<&str>) -> CreateToken {
    CreateToken {
        roles: [SystemRole::Node].into(),
        ttl: Some(Span(Duration::from_secs(600))),
        value: value.map(Secret::new),
        labels: [("team".to_owned(), "infra".to_owned())].into(),
    }
}

fn renewal(keys: &Keys, principals: &[&str]) -> Renew {
    Renew {
        ssh_key: keys.ssh.ssh_public().to_string(),
        tls_key_pem: keys.tls.spki_pem(),
        principals: principals.iter().map(ToString::to_string).collect(),
    }
}

#[tokio::test]
async fn a_host_joins_with_a_token_and_is_certified_for_its_names() {
    let world = World::new().await;
    let made = world.admin().await.call(&token(None)).await.unwrap();
    assert_eq!(made.secret.expose().len(), 32);
    assert_eq!(made.ca_pins, world.authority.ca_pins());
    let keys = Keys::new(&world.random);
    let ask = world.join_request("web-1", made.secret.expose(), SystemRole::Node, &keys);

    let certs = world.anyone().call(&ask).await.unwrap();

    assert_eq!(certs.labels["team"], "infra");
    let trust = pki::Trust::from_bundle(&certs.trust).unwrap();
    let ssh: pki::ssh::Certificate = certs.ssh_cert.parse().unwrap();
    let name = format!("{}.gate.example", ask.id);
    assert!(pki::ssh::verify_host(&ssh, &trust, Some(&name), world.clock.now()).is_ok());
    assert!(world.has_event("join_token.create", "TJT00I").await);
    assert!(world.has_event("instance.join", "TJ002I").await);
    world.stop().await;
}

#[tokio::test]
async fn a_token_that_is_not_good_says_one_thing_only() {
    let world = World::new().await;
    let admin = world.admin().await;
    let keys = Keys::new(&world.random);
    let late = admin.call(&token(None)).await.unwrap();
    world.clock.advance(Duration::from_secs(600));
    let removed = admin.call(&token(None)).await.unwrap();
    admin.call(&DeleteToken { id: removed.id.clone() }).await.unwrap();
    let tries = [
        world.join_request("web-1", "no-such-token-at-all", SystemRole::Node, &keys),
        world.join_request("web-1", late.secret.expose(), SystemRole::Node, &keys),
        world.join_request("web-1", removed.secret.expose(), SystemRole::Node, &keys),
        world.join_request("web-1", NODE_TOKEN, SystemRole::Proxy, &keys),
        keys.proven(Join {
            roles: [].into(),
            ..world.join_request("web-1", NODE_TOKEN, SystemRole::Node, &keys)
        }),
        keys.proven(Join {
            roles: [SystemRole::Node, SystemRole::Auth].into(),
            ..world.join_request("web-1", NODE_TOKEN, SystemRole::Node, &keys)
        }),
    ];

    let mut answers = Vec::new();
    for ask in &tries {
        answers.push(refused(world.anyone().call(ask).await));
    }

    assert!(answers.iter().all(|a| *a == answers[0]), "{answers:?}");
    assert!(world.has_event("instance.join", "TJ002E").await);
    let said = format!("{:?}", world.events().await);
    assert!(!said.contains(NODE_TOKEN) && !said.contains(late.secret.expose()));
}

#[tokio::test]
async fn tokens_cannot_be_for_the_authority_and_are_shown_once() {
    let world = World::new().await;
    let admin = world.admin().await;
    let auth = CreateToken { roles: [SystemRole::Auth].into(), ..token(None) };
    assert_eq!(fault(admin.call(&auth).await), Fault::BadRequest);
    assert_eq!(fault(admin.call(&token(Some("short"))).await), Fault::BadRequest);

    let made = admin.call(&token(Some("a-secret-of-my-own-making"))).await.unwrap();
    let listed = format!("{:?}", admin.call(&ListTokens {}).await.unwrap());

    assert!(listed.contains(&made.id) && !listed.contains("a-secret-of-my-own-making"));
    assert_eq!(fault(admin.call(&token(Some("a-secret-of-my-own-making"))).await), Fault::Conflict);
    assert_eq!(fault(admin.call(&DeleteToken { id: PROXY_TOKEN.into() }).await), Fault::Conflict);
    assert!(admin.call(&DeleteToken { id: "a-secret-of-my-own-making".into() }).await.is_ok());
    assert_eq!(fault(admin.call(&DeleteToken { id: made.id }).await), Fault::NotFound);
}

#[tokio::test]
async fn an_id_is_the_hosts_who_joined_with_it_first() {
    let world = World::new().await;
    let keys = Keys::new(&world.random);
    let ask = world.join_request("web-1", NODE_TOKEN, SystemRole::Node, &keys);
    world.anyone().call(&ask).await.unwrap();
    assert!(world.anyone().call(&ask).await.is_ok(), "the same key may join again");
    let thief = Keys::new(&world.random);
    let steal = thief.over(ask.clone());

    assert_eq!(fault(world.anyone().call(&steal).await), Fault::Conflict);

    world.admin().await.call(&DeleteNode { id: ask.id.clone() }).await.unwrap();
    assert!(world.anyone().call(&steal).await.is_ok());
}

#[tokio::test]
async fn who_was_removed_does_not_come_back_when_the_id_does() {
    let world = World::new().await;
    let stolen = world.node("web-1", "prod").await;
    world.admin().await.call(&DeleteNode { id: stolen.id.clone() }).await.unwrap();
    let rebuilt = Keys::new(&world.random);
    let ask = rebuilt.proven(Join {
        id: stolen.id.clone(),
        ..world.join_request("web-1", NODE_TOKEN, SystemRole::Node, &rebuilt)
    });

    let certs = world.anyone().call(&ask).await.unwrap();

    assert_eq!(fault(stolen.client.call(&renewal(&stolen.keys, &[])).await), Fault::NotFound);
    assert_eq!(
        fault(stolen.client.call(&world.report(&stolen, "web-1", "prod")).await),
        Fault::NotFound,
        "also on a connection that stands"
    );
    let again = world.client(world.trusting().showing(rebuilt.certified(&certs.tls_cert_pem)));
    assert!(again.call(&renewal(&rebuilt, &[])).await.is_ok());
}

#[tokio::test]
async fn a_host_may_renew_over_another_key_and_goes_on_with_the_old_one_until_the_answer_is_there() {
    let world = World::new().await;
    let node = world.node("web-1", "prod").await;
    let new = Keys::new(&world.random);
    node.client.call(&renewal(&new, &[])).await.unwrap();

    // The answer was lost: the same is asked again.
    let certs = node.client.call(&renewal(&new, &[])).await.unwrap();

    let renewed = world.client(world.trusting().showing(new.certified(&certs.tls_cert_pem)));
    assert!(renewed.call(&renewal(&new, &[])).await.is_ok());
    assert_eq!(fault(node.client.call(&renewal(&node.keys, &[])).await), Fault::NotFound, "it has arrived");
}

#[tokio::test]
async fn nobody_joins_over_a_key_that_they_do_not_hold() {
    let world = World::new().await;
    let gate = Keys::new(&world.random);
    let ask = world.join_request("gate", PROXY_TOKEN, SystemRole::Proxy, &gate);
    let certs = world.anyone().call(&ask).await.unwrap();
    let thief = Keys::new(&world.random);
    let steal = Join {
        id: ask.id.clone(),
        tls_key_pem: ask.tls_key_pem.clone(),
        ..world.join_request("evil", NODE_TOKEN, SystemRole::Node, &thief)
    };

    for (what, proof) in [
        ("none", String::new()),
        ("by another key", thief.proven(steal.clone()).proof),
        ("of another join", ask.proof.clone()),
    ] {
        let outcome = world.anyone().call(&Join { proof, ..steal.clone() }).await;
        assert_eq!(fault(outcome), Fault::BadRequest, "{what}");
    }

    let client = world.client(world.trusting().showing(gate.certified(&certs.tls_cert_pem)));
    let renewed = client.call(&renewal(&gate, &[])).await.unwrap();
    let trust = pki::Trust::from_bundle(&renewed.trust).unwrap();
    let der = pki::x509::certificate_from_pem(&renewed.tls_cert_pem).unwrap();
    let identity = pki::x509::verify_client(&der, &trust, world.clock.now()).unwrap();
    assert!(identity.speaks_for(SystemRole::Proxy));
}

#[tokio::test]
async fn names_of_others_and_of_the_cluster_are_refused() {
    let world = World::new().await;
    let keys = Keys::new(&world.random);
    let other = NodeId::from_random([7; 16]).to_string();
    for principal in [
        "proxy.moongate.internal",
        "AUTH.moongate.internal",
        "gate.example",
        "web-2.gate.example",
        "*",
        &other,
    ] {
        let ask = keys.proven(Join {
            principals: vec![principal.to_owned()],
            ..world.join_request("web-1", NODE_TOKEN, SystemRole::Node, &keys)
        });
        assert_eq!(fault(world.anyone().call(&ask).await), Fault::BadRequest, "{principal}");
    }
    for name in ["proxy.moongate.internal", "web-1.gate.example", &other] {
        let ask = world.join_request(name, NODE_TOKEN, SystemRole::Node, &keys);
        assert_eq!(fault(world.anyone().call(&ask).await), Fault::BadRequest, "{name}");
    }
    let good = keys.proven(Join {
        principals: vec!["gate.public.example".into(), "192.0.2.1".into()],
        ..world.join_request("proxy-1", PROXY_TOKEN, SystemRole::Proxy, &keys)
    });
    assert!(world.anyone().call(&good).await.is_ok());
}

#[tokio::test]
async fn no_host_is_certified_for_the_name_of_another_node() {
    let world = World::with(|s| s.public_names = vec!["gate.public.example".into()]).await;
    let web = world.node("web-2", "prod").await;
    world.node("gate.public.example", "prod").await;
    let proxy = world.proxy().await;
    let keys = Keys::new(&world.random);

    for name in ["web-2", "WEB-2", "web-2.", "web-2.gate.example", web.id.as_str()] {
        assert_eq!(
            fault(proxy.client.call(&renewal(&proxy.keys, &[name])).await),
            Fault::BadRequest,
            "{name}"
        );
        let ask = keys.proven(Join {
            principals: vec![name.to_owned()],
            ..world.join_request("proxy-2", PROXY_TOKEN, SystemRole::Proxy, &keys)
        });
        assert_eq!(fault(world.anyone().call(&ask).await), Fault::BadRequest, "{name}");
    }
    let (_, message) = refused(proxy.client.call(&renewal(&proxy.keys, &["web-2"])).await);
    assert!(message.contains("`web-2` is the name of another node"), "{message}");

    // Its own name, those that the cluster has by its configuration, and names of hosts that people do not reach.
    assert!(web.client.call(&renewal(&web.keys, &["web-2", "proxy-1"])).await.is_ok());
    assert!(proxy.client.call(&renewal(&proxy.keys, &["gate.public.example"])).await.is_ok());
    world.admin().await.call(&DeleteNode { id: web.id.clone() }).await.unwrap();
    assert!(proxy.client.call(&renewal(&proxy.keys, &["web-2"])).await.is_ok(), "nobody's any more");
}

#[tokio::test]
async fn renewing_keeps_id_and_roles_and_ends_with_the_node() {
    let world = World::new().await;
    let node = world.node("web-1", "prod").await;
    world.clock.advance(Duration::from_secs(86_400));

    let certs = node.client.call(&renewal(&node.keys, &[])).await.unwrap();

    assert!(certs.expires > node.certs.expires);
    let trust = pki::Trust::from_bundle(&certs.trust).unwrap();
    let der = pki::x509::certificate_from_pem(&certs.tls_cert_pem).unwrap();
    let identity = pki::x509::verify_client(&der, &trust, world.clock.now()).unwrap();
    assert_eq!(identity.host(), Some(&node.id));
    assert!(identity.speaks_for(SystemRole::Node) && !identity.speaks_for(SystemRole::Proxy));
    let wider = renewal(&node.keys, &["proxy.moongate.internal"]);
    assert_eq!(fault(node.client.call(&wider).await), Fault::BadRequest);

    world.admin().await.call(&DeleteNode { id: node.id.clone() }).await.unwrap();
    assert_eq!(fault(node.client.call(&renewal(&node.keys, &[])).await), Fault::NotFound);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let world = World::new().await;
    let keys = Keys::new(&world.random);
    let good = world.join_request("web-1", NODE_TOKEN, SystemRole::Node, &keys);
    let cert = world.anyone().call(&good).await.unwrap().ssh_cert;

    for ask in [
        keys.proven(Join { ssh_key: "ssh-ed25519 nonsense".into(), ..good.clone() }),
        keys.proven(Join { ssh_key: cert, ..good.clone() }),
        Join { tls_key_pem: "nonsense".into(), id: NodeId::from_random([5; 16]), ..good.clone() },
    ] {
        assert_eq!(fault(world.anyone().call(&ask).await), Fault::BadRequest);
    }
}

#[tokio::test]
async fn guessing_tokens_is_slowed_also_when_a_guess_is_right() {
    let world = World::new().await;
    let keys = Keys::new(&world.random);
    let stranger = world.anyone();
    let guess = world.join_request("web-1", "not-the-token-at-all", SystemRole::Node, &keys);
    let right = world.join_request("web-1", NODE_TOKEN, SystemRole::Node, &keys);
    for _ in 0..30 {
        assert_eq!(fault(stranger.call(&guess).await), Fault::Unauthenticated);
    }

    assert_eq!(fault(stranger.call(&right).await), Fault::TooMany);

    assert!(world.anyone().call(&right).await.is_ok(), "another address is not held up");
    world.clock.advance(Duration::from_secs(60));
    assert!(stranger.call(&world.join_request("web-2", NODE_TOKEN, SystemRole::Node, &keys)).await.is_ok());
}

#[tokio::test]
async fn who_follows_the_rules_hears_of_removed_hosts_whose_certificates_are_good() {
    let world = World::new().await;
    let proxy = world.proxy().await;
    let keys = Keys::new(&world.random);
    let ask = world.join_request("web-1", NODE_TOKEN, SystemRole::Node, &keys);
    let first = world.anyone().call(&ask).await.unwrap();
    let mut feed = proxy.client.stream(&WatchPolicy {}).await.unwrap();
    assert!(feed.next().await.unwrap().unwrap().removed.is_empty());

    world.admin().await.call(&DeleteNode { id: ask.id.clone() }).await.unwrap();

    let removed = feed.next().await.unwrap().unwrap().removed;
    assert!(removed.len() == 1 && removed[0].id == ask.id, "{removed:?}");
    assert!(first.expires <= removed[0].until, "what it has is void");
    let again = world.anyone().call(&ask).await.unwrap();
    assert!(again.expires > removed[0].until, "what it gets when it joins anew is not");
    let fresh = Keys::new(&world.random);
    let joined = world.client(world.trusting().showing(keys.certified(&again.tls_cert_pem)));
    let renewed = joined.call(&renewal(&fresh, &[])).await.unwrap();
    assert!(renewed.expires > removed[0].until, "nor what it renews");
}
