//! Invites, passwords, one-time codes, lock-outs, and what certificates say.

use std::time::Duration;

use auth::settings::LONGEST_USER_CERT;
use model::api::Fault;
use model::api::access::{AcceptInvite, GetInvite, SignIn, Unlock, WhoAmI};
use model::api::locks::{CreateLock, DeleteLock, ListLocks};
use model::api::users::{CreateUser, DeleteUser, GetUser, ListUsers, ResetUser, UpdateUser};
use model::resource::LockTarget;
use model::time::Span;
use model::{Secret, Subject};

use crate::world::{Keys, PASSWORD, World, code, fault, refused, totp_of, wrong_code};

#[tokio::test]
async fn an_invited_user_signs_in_and_is_who_they_are() {
    let world = World::new().await;
    let ann = world.person("ann", "editor").await;

    let (client, certs) = world.signed_in(&ann).await;
    let me = client.call(&WhoAmI {}).await.unwrap();

    assert_eq!(me.user.as_str(), "ann");
    assert!(me.may["user"].contains(&"create".to_owned()), "{:?}", me.may);
    let trust = pki::Trust::from_bundle(&certs.trust).unwrap();
    let ssh: pki::ssh::Certificate = certs.ssh_cert.parse().unwrap();
    let verified = pki::ssh::verify_user(&ssh, &trust, None, world.clock.now()).unwrap();
    assert_eq!(verified.identity.user().unwrap().as_str(), "ann");
    assert!(verified.identity.mfa_at.is_some());
    assert_eq!(certs.expires.secs() - world.clock.now().secs(), 12 * 3600 - 30);
    for (event, code) in [
        ("user.create", "T1002I"),
        ("reset_password_token.create", "T6000I"),
        ("user.password_change", "T1005I"),
        ("mfa.add", "T1006I"),
        ("user.login", "T1000I"),
        ("cert.create", "TC000I"),
    ] {
        assert!(world.has_event(event, code).await, "{event}");
    }
    world.stop().await;
}

#[tokio::test]
async fn logins_come_from_roles_and_traits() {
    let world = World::new().await;
    let bob = world.person("bob", "access").await;

    let (_, certs) = world.signed_in(&bob).await;

    let ssh: pki::ssh::Certificate = certs.ssh_cert.parse().unwrap();
    assert_eq!(ssh.principals(), ["bob", "root"]);
}

#[tokio::test]
async fn every_wrong_answer_is_the_same_answer() {
    let world = World::new().await;
    let ann = world.person("ann", "access").await;
    let keys = Keys::new(&world.random);
    let good = world.sign_in_request(&ann, &keys);
    let wrong = wrong_code(&ann.totp, world.clock.now());
    let tries = [
        SignIn { user: "nobody".into(), ..good.clone() },
        SignIn { user: "no such\nname".into(), ..good.clone() },
        SignIn { password: Secret::new("wrong horse battery"), ..good.clone() },
        SignIn { otp: wrong, ..good.clone() },
        SignIn { otp: String::new(), ..good.clone() },
    ];

    let mut answers = Vec::new();
    for ask in tries {
        answers.push(refused(world.anyone().call(&ask).await));
    }

    assert!(answers.iter().all(|a| *a == answers[0]), "{answers:?}");
    assert_eq!(answers[0].0, Fault::Unauthenticated);
    assert!(world.has_event("user.login", "T1000W").await);
    assert!(world.anyone().call(&good).await.is_ok(), "three wrong tries do not lock");
}

#[tokio::test]
async fn five_wrong_tries_lock_for_twenty_minutes() {
    let world = World::new().await;
    let ann = world.person("ann", "access").await;
    let keys = Keys::new(&world.random);
    let wrong = SignIn { password: Secret::new("wrong horse battery"), ..world.sign_in_request(&ann, &keys) };
    for _ in 0..5 {
        assert_eq!(fault(world.anyone().call(&wrong).await), Fault::Unauthenticated);
    }

    let right = world.sign_in_request(&ann, &keys);
    assert_eq!(fault(world.anyone().call(&right).await), Fault::Unauthenticated);
    let shown = world.admin().await.call(&GetUser { name: "ann".parse().unwrap() }).await.unwrap();
    assert!(shown.locked_until.is_some());
    assert!(world.has_event("user.lockout", "MGU001W").await);

    world.clock.advance(Duration::from_secs(20 * 60 + 1));
    let right = world.sign_in_request(&ann, &keys);
    assert!(world.anyone().call(&right).await.is_ok());
}

#[tokio::test]
async fn a_browser_is_unlocked_as_one_signs_in_and_nothing_is_issued() {
    let world = World::new().await;
    let ann = world.person("ann", "access").await;
    let proxy = world.proxy().await.client;
    let keys = Keys::new(&world.random);
    let ask = |otp: String| Unlock {
        user: "ann".parse().unwrap(),
        password: Secret::new(PASSWORD),
        otp,
        passkey: None,
        client_addr: Some("203.0.113.7".parse().unwrap()),
    };
    let issued = async || {
        world.events().await.iter().filter(|e| e["event"] == "cert.create" && e["user"] == "ann").count()
    };
    let before = issued().await;
    let right = world.sign_in_request(&ann, &keys);

    proxy.call(&ask(right.otp.clone())).await.unwrap();

    assert_eq!(issued().await, before);
    let told = world.events().await.into_iter().rev().find(|e| e["event"] == "user.unlock").unwrap();
    assert_eq!((&told["code"], &told["user"]), (&"MGU002I".into(), &"ann".into()));
    assert_eq!(told["addr.remote"], "203.0.113.7");
    assert_eq!(
        fault(proxy.call(&ask(right.otp.clone())).await),
        Fault::Unauthenticated,
        "a code is good once"
    );
    assert_eq!(fault(world.anyone().call(&ask(right.otp)).await), Fault::Unauthenticated, "proxies ask");
    let wrong = Unlock { password: Secret::new("wrong horse battery"), ..ask(String::new()) };
    for _ in 0..4 {
        assert_eq!(fault(proxy.call(&wrong).await), Fault::Unauthenticated);
    }
    assert!(world.has_event("user.unlock", "MGU002W").await);
    assert!(world.has_event("user.lockout", "MGU001W").await, "wrong tries count as those of signing in");
    let right = world.sign_in_request(&ann, &keys);
    assert_eq!(fault(world.anyone().call(&right).await), Fault::Unauthenticated);
    world.stop().await;
}

#[tokio::test]
async fn a_lock_out_is_told_and_does_not_tell_who_exists() {
    let world = World::new().await;
    let ann = world.person("ann", "access").await;
    let keys = Keys::new(&world.random);
    let mut seen = Vec::new();
    for name in ["ann", "nobody", "No Name!"] {
        let wrong = SignIn {
            user: name.into(),
            password: Secret::new("wrong horse battery"),
            ..world.sign_in_request(&ann, &keys)
        };
        let mut answers = Vec::new();
        for _ in 0..6 {
            let before = world.events().await.len();
            let Err(testkit::client::CallError::Refused { fault, message, until }) =
                world.anyone().call(&wrong).await
            else {
                panic!("{name} got in")
            };
            let events: Vec<_> = world.events().await[before..]
                .iter()
                .map(|e| (e["event"].to_string(), e["code"].to_string()))
                .collect();
            answers.push((fault, message, until.map(|at| at.since(world.clock.now())), events));
        }
        world.clock.advance(Duration::from_secs(20 * 60 + 1));
        let Err(testkit::client::CallError::Refused { until, .. }) = world.anyone().call(&wrong).await else {
            panic!("{name} got in")
        };
        answers.push((Fault::Unauthenticated, String::new(), until.map(|_| Duration::ZERO), Vec::new()));
        // The moment differs, the words must not.
        for (_, message, ..) in &mut answers {
            *message = message.split(" before ").next().unwrap_or_default().to_owned();
        }
        seen.push(answers);
    }

    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    let told: Vec<bool> = seen[0].iter().map(|(_, _, until, _)| until.is_some()).collect();
    assert_eq!(told, [false, false, false, false, true, true, false]);
    assert_eq!(seen[0][4].2, Some(Duration::from_secs(20 * 60)));
    assert!(seen[0][4].3.iter().any(|(event, _)| event.contains("user.lockout")), "{:?}", seen[0][4].3);
}

#[tokio::test]
async fn many_tries_at_once_count_as_many_and_lock_once_whether_there_is_such_a_user_or_not() {
    let world = World::new().await;
    let ann = world.person("ann", "access").await;
    let keys = Keys::new(&world.random);
    for name in ["ann", "nobody"] {
        let wrong = SignIn {
            user: name.into(),
            password: Secret::new("wrong horse battery"),
            ..world.sign_in_request(&ann, &keys)
        };
        let tries: Vec<_> = (0..10)
            .map(|_| {
                let (client, ask) = (world.anyone(), wrong.clone());
                world.scope.spawn("try", async move { client.call(&ask).await.is_err() })
            })
            .collect();
        for one in tries {
            assert_eq!(one.await.unwrap(), Some(true), "{name}");
        }

        let told = world.events().await;
        let lockouts = told.iter().filter(|e| e["event"] == "user.lockout" && e["user"] == name).count();
        assert_eq!(lockouts, 1, "{name}");
        let right = SignIn { user: name.into(), ..world.sign_in_request(&ann, &keys) };
        assert_eq!(fault(world.anyone().call(&right).await), Fault::Unauthenticated, "{name}");
    }
}

#[tokio::test]
async fn a_code_is_good_once_even_for_two_at_the_same_time() {
    let world = World::new().await;
    let ann = world.person("ann", "access").await;
    let keys = Keys::new(&world.random);
    let ask = world.sign_in_request(&ann, &keys);
    let tries: Vec<_> = (0..3)
        .map(|_| {
            let (client, ask) = (world.anyone(), ask.clone());
            world.scope.spawn("try", async move { client.call(&ask).await.is_ok() })
        })
        .collect();

    let mut good = 0;
    for one in tries {
        good += usize::from(one.await.unwrap().unwrap());
    }

    assert_eq!(good, 1);
    assert_eq!(fault(world.anyone().call(&ask).await), Fault::Unauthenticated);
}

#[tokio::test]
async fn a_link_is_good_once_and_for_an_hour() {
    let world = World::new().await;
    let admin = world.admin().await;
    let link = admin.call(&World::create_user("ann", "access")).await.unwrap();
    assert!(link.url.expose().starts_with("https://gate.example:3080/web/invite/"));
    assert_eq!(link.secret.expose().len(), 32);
    world.accept(&link, PASSWORD).await.unwrap();
    assert_eq!(fault(world.accept(&link, PASSWORD).await.map(|_| ())), Fault::NotFound);

    let late = admin.call(&World::create_user("bob", "access")).await.unwrap();
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(fault(world.accept(&late, PASSWORD).await.map(|_| ())), Fault::NotFound);
    let long =
        CreateUser { ttl: Some(Span(Duration::from_secs(49 * 3600))), ..World::create_user("eve", "access") };
    assert_eq!(fault(admin.call(&long).await), Fault::BadRequest);
}

#[tokio::test]
async fn a_weak_password_or_wrong_code_leaves_the_link_open() {
    let world = World::new().await;
    let link = world.admin().await.call(&World::create_user("ann", "access")).await.unwrap();
    let invite = world.anyone().call(&GetInvite { secret: link.secret.clone() }).await.unwrap();
    assert!(invite.otp_qr_svg.expose().contains("<svg"));
    let totp = totp_of(invite.otp_uri.expose());
    let now = world.clock.now();

    for (password, otp) in [("short", code(&totp, now)), (PASSWORD, wrong_code(&totp, now))] {
        let ask = AcceptInvite {
            secret: link.secret.clone(),
            password: Secret::new(password),
            otp,
            client_addr: None,
        };
        assert_eq!(fault(world.anyone().call(&ask).await), Fault::BadRequest);
    }

    assert!(world.accept(&link, PASSWORD).await.is_ok());
}

#[tokio::test]
async fn a_reset_ends_the_old_password_at_once_and_the_old_link() {
    let world = World::new().await;
    let admin = world.admin().await;
    let ann = world.person("ann", "access").await;
    let keys = Keys::new(&world.random);
    let first = admin.call(&ResetUser { name: "ann".parse().unwrap(), ttl: None }).await.unwrap();
    assert!(first.url.expose().contains("/web/reset/"));

    let old = world.sign_in_request(&ann, &keys);
    assert_eq!(fault(world.anyone().call(&old).await), Fault::Unauthenticated);
    let second = admin.call(&ResetUser { name: "ann".parse().unwrap(), ttl: None }).await.unwrap();
    assert_eq!(fault(world.accept(&first, PASSWORD).await.map(|_| ())), Fault::NotFound);

    let ann = world.accept(&second, PASSWORD).await.unwrap();
    assert!(world.anyone().call(&world.sign_in_request(&ann, &keys)).await.is_ok());
}

#[tokio::test]
async fn a_locked_or_deleted_user_gets_no_certificate_and_no_answer() {
    let world = World::new().await;
    let admin = world.admin().await;
    let ann = world.person("ann", "editor").await;
    let (client, _) = world.signed_in(&ann).await;
    let target = LockTarget { user: Some("ann".parse().unwrap()), ..LockTarget::default() };
    let lock = CreateLock { target, message: String::new(), ttl: Some(Span(Duration::from_secs(60))) };
    admin.call(&lock).await.unwrap();

    let keys = Keys::new(&world.random);
    assert_eq!(fault(world.anyone().call(&world.sign_in_request(&ann, &keys)).await), Fault::Unauthenticated);
    assert_eq!(fault(client.call(&ListUsers {}).await), Fault::NotFound);

    world.clock.advance(Duration::from_secs(61));
    assert!(client.call(&ListUsers {}).await.is_ok());
    admin.call(&DeleteUser { name: "ann".parse().unwrap() }).await.unwrap();
    assert_eq!(fault(client.call(&ListUsers {}).await), Fault::NotFound);
    assert_eq!(fault(world.anyone().call(&world.sign_in_request(&ann, &keys)).await), Fault::Unauthenticated);
    assert!(world.has_event("user.delete", "T1004I").await);
}

#[tokio::test]
async fn a_deleted_users_name_waits_until_their_certificates_have_ended() {
    let world = World::new().await;
    let admin = world.admin().await;
    let old = world.user("ann", "editor").await;
    admin.call(&DeleteUser { name: "ann".parse().unwrap() }).await.unwrap();
    let lock = admin.call(&ListLocks {}).await.unwrap().items.remove(0);

    let (fault_of, message) = refused(admin.call(&World::create_user("ann", "editor")).await);

    assert_eq!(fault_of, Fault::Conflict);
    for word in [lock.expires.unwrap().to_string(), format!("mctl rm lock/{}", lock.id)] {
        assert!(message.contains(&word), "{word}: {message}");
    }
    assert_eq!(admin.call(&ListLocks {}).await.unwrap().items, [lock]);
    assert!(admin.call(&World::create_user("bob", "editor")).await.is_ok(), "other names are free");

    world.clock.advance(LONGEST_USER_CERT);
    let link = admin.call(&World::create_user("ann", "editor")).await.unwrap();
    let again = world.accept(&link, PASSWORD).await.unwrap();
    world.signed_in(&again).await;
    assert!(old.call(&ListUsers {}).await.is_err(), "ended by themselves");
}

#[tokio::test]
async fn who_lifts_the_lock_of_a_deleted_user_frees_the_name() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.call(&World::create_user("ann", "editor")).await.unwrap();
    admin.call(&DeleteUser { name: "ann".parse().unwrap() }).await.unwrap();
    let lock = admin.call(&ListLocks {}).await.unwrap().items.remove(0);

    admin.call(&DeleteLock { id: lock.id }).await.unwrap();

    assert!(admin.call(&World::create_user("ann", "editor")).await.is_ok());
}

#[tokio::test]
async fn a_role_taken_away_is_gone_at_once() {
    let world = World::new().await;
    let admin = world.admin().await;
    let client = world.user("ann", "editor").await;
    assert!(client.call(&ListUsers {}).await.is_ok());

    let roles = Some(["access".parse().unwrap()].into());
    admin.call(&UpdateUser { name: "ann".parse().unwrap(), roles, traits: None }).await.unwrap();

    assert_eq!(fault(client.call(&ListUsers {}).await), Fault::NotFound);
}

#[tokio::test]
async fn certificates_end_when_roles_or_the_person_say() {
    let world = World::new().await;
    let ann = world.person("ann", "editor").await;
    let keys = Keys::new(&world.random);
    let ask = SignIn { ttl: Some(Span(Duration::from_secs(600))), ..world.sign_in_request(&ann, &keys) };

    let certs = world.anyone().call(&ask).await.unwrap();
    let client = world.client(world.trusting().showing(keys.certified(&certs.tls_cert_pem)));
    assert!(client.call(&WhoAmI {}).await.is_ok());

    // On the connection that stands, and on a new one.
    world.clock.advance(Duration::from_secs(601));
    assert_eq!(fault(client.call(&WhoAmI {}).await), Fault::Unauthenticated);
    client.hang_up().await;
    assert!(client.call(&WhoAmI {}).await.is_err());

    let long =
        SignIn { ttl: Some(Span(Duration::from_secs(90 * 3600))), ..world.sign_in_request(&ann, &keys) };
    let certs = world.anyone().call(&long).await.unwrap();
    assert!(certs.expires.since(world.clock.now()) <= Duration::from_secs(30 * 3600));
}

#[tokio::test]
async fn a_proxy_vouches_for_the_address_and_nobody_else() {
    let world = World::new().await;
    let ann = world.person("ann", "access").await;
    let keys = Keys::new(&world.random);
    let claim = Some("203.0.113.7".parse().unwrap());

    let ask = SignIn { client_addr: claim, ..world.sign_in_request(&ann, &keys) };
    world.proxy().await.client.call(&ask).await.unwrap();
    world.clock.advance(Duration::from_secs(30));
    let ask = SignIn { client_addr: claim, ..world.sign_in_request(&ann, &keys) };
    world.anyone().call(&ask).await.unwrap();

    let logins: Vec<_> = world.events().await.into_iter().filter(|e| e["event"] == "user.login").collect();
    assert_eq!(logins[0]["addr.remote"], "203.0.113.7");
    assert_ne!(logins[1]["addr.remote"], "203.0.113.7");
}

#[tokio::test]
async fn an_address_that_tries_too_often_waits() {
    let world = World::new().await;
    let client = world.anyone();
    let keys = Keys::new(&world.random);
    let ask = SignIn {
        user: "nobody".into(),
        password: Secret::new("x"),
        passkey: None,
        otp: String::new(),
        ssh_key: pki::Signer::ssh_public(&keys.ssh).to_string(),
        tls_key_pem: keys.tls.spki_pem(),
        ttl: None,
        client_addr: None,
    };

    let mut faults = Vec::new();
    for _ in 0..21 {
        faults.push(fault(client.call(&ask).await));
    }

    assert_eq!(faults.iter().filter(|f| **f == Fault::Unauthenticated).count(), 20);
    assert_eq!(faults[20], Fault::TooMany);
    world.clock.advance(Duration::from_secs(3));
    assert_eq!(fault(client.call(&ask).await), Fault::Unauthenticated);
}

#[tokio::test]
async fn an_identity_says_no_more_than_the_sign_in_gave() {
    let world = World::new().await;
    let ann = world.person("ann", "vendor").await;

    let (_, certs) = world.signed_in(&ann).await;

    let trust = pki::Trust::from_bundle(&certs.trust).unwrap();
    let der = pki::x509::certificate_from_pem(&certs.tls_cert_pem).unwrap();
    let identity = pki::x509::verify_client(&der, &trust, world.clock.now()).unwrap();
    let Subject::User { roles, .. } = &identity.subject else { panic!("{identity:?}") };
    assert_eq!(roles.iter().map(|r| r.as_str()).collect::<Vec<_>>(), ["vendor"]);
    assert!(!identity.pin_ip && identity.impersonator.is_none());
}
