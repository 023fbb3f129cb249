//! Passkeys: added, used alone and beside the password, never twice, gone with a reset.

use data_encoding::BASE64URL_NOPAD;
use model::Secret;
use model::api::Fault;
use model::api::access::SignIn;
use model::api::locks::CreateLock;
use model::api::passkeys::{
    AddPasskey, BeginPasskey, BeginPasskeySignIn, DeviceKind, ListDevices, PasskeyAnswer, RemovePasskey,
    RenamePasskey,
};
use model::api::users::ResetUser;
use model::resource::LockTarget;
use testkit::client::Client;

use crate::authenticator::Authenticator;
use crate::world::{Keys, PASSWORD, Person, World, fault, refused};

const PARTY: &str = "gate.example";
const ORIGIN: &str = "https://gate.example:3080";

fn text(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

async fn make(client: &Client, device: &Authenticator) -> AddPasskey {
    let begun = client.call(&BeginPasskey {}).await.unwrap();
    assert_eq!(begun.party, PARTY);
    let challenge = BASE64URL_NOPAD.decode(begun.challenge.as_bytes()).unwrap();
    let (client_data, attestation) = device.make(&challenge);
    AddPasskey {
        name: "key".into(),
        password: Secret::new(PASSWORD),
        client_data: text(&client_data),
        attestation: text(&attestation),
    }
}

async fn use_it(world: &World, device: &mut Authenticator) -> PasskeyAnswer {
    let begun = world.anyone().call(&BeginPasskeySignIn::default()).await.unwrap();
    let challenge = BASE64URL_NOPAD.decode(begun.challenge.as_bytes()).unwrap();
    device.counter += 1;
    let (client_data, data, signature) = device.sign(&challenge);
    PasskeyAnswer {
        id: text(&device.id),
        client_data: text(&client_data),
        authenticator_data: text(&data),
        signature: text(&signature),
    }
}

fn alone(world: &World, answer: PasskeyAnswer) -> SignIn {
    let keys = Keys::new(&world.random);
    let nobody = Person { name: String::new(), totp: vec![0; 20] };
    SignIn {
        password: Secret::default(),
        otp: String::new(),
        passkey: Some(answer),
        ..world.sign_in_request(&nobody, &keys)
    }
}

async fn with_passkey(world: &World) -> (Client, Authenticator) {
    let ann = world.person("ann", "access").await;
    let (client, _) = world.signed_in(&ann).await;
    let device = Authenticator::new(PARTY, ORIGIN);
    let ask = make(&client, &device).await;
    client.call(&ask).await.unwrap();
    (client, device)
}

#[tokio::test]
async fn a_passkey_is_added_and_signs_in_alone_and_beside_the_password() {
    let world = World::new().await;
    let (client, mut device) = with_passkey(&world).await;

    let ask = alone(&world, use_it(&world, &mut device).await);
    let certs = world.anyone().call(&ask).await.unwrap();
    assert_eq!(certs.user.as_str(), "ann");
    device.flags = 0x01;
    let unverified = alone(&world, use_it(&world, &mut device).await);
    assert_eq!(fault(world.anyone().call(&unverified).await), Fault::Unauthenticated, "alone it must verify");
    let answer = use_it(&world, &mut device).await;
    let beside = SignIn { user: "ann".into(), password: Secret::new(PASSWORD), ..alone(&world, answer) };
    assert!(world.anyone().call(&beside).await.is_ok());

    let devices = client.call(&ListDevices {}).await.unwrap().items;
    assert_eq!(devices.iter().map(|d| d.kind).collect::<Vec<_>>(), [DeviceKind::Totp, DeviceKind::Passkey]);
    assert!(devices[1].used.is_some());
    let logins: Vec<_> = world.events().await.into_iter().filter(|e| e["event"] == "user.login").collect();
    assert!(logins.iter().any(|e| e.get("mfa_device").is_some_and(|d| d["mfa_device_type"] == "WebAuthn")));
    world.stop().await;
}

#[tokio::test]
async fn a_configured_name_outlives_the_addresses_of_proxies() {
    let world = World::with(|settings| {
        settings.passkey_name = Some("example".into());
        settings.proxy_addrs = vec!["192.0.2.1:3080".into(), "new.gate.example:443".into()];
    })
    .await;
    let ann = world.person("ann", "access").await;
    let (client, _) = world.signed_in(&ann).await;

    for (origin, good) in [
        ("https://new.gate.example", true),
        ("https://example", true),
        ("https://gate.example", false),
        ("https://192.0.2.1:3080", false),
    ] {
        let begun = client.call(&BeginPasskey {}).await.unwrap();
        assert_eq!(begun.party, "example");
        let challenge = BASE64URL_NOPAD.decode(begun.challenge.as_bytes()).unwrap();
        let (client_data, attestation) = Authenticator::new("example", origin).make(&challenge);
        let ask = AddPasskey {
            name: "key".into(),
            password: Secret::new(PASSWORD),
            client_data: text(&client_data),
            attestation: text(&attestation),
        };
        assert_eq!(client.call(&ask).await.is_ok(), good, "{origin}");
    }
    world.stop().await;
}

#[tokio::test]
async fn an_answer_is_good_once_for_its_purpose_and_its_owner() {
    let world = World::new().await;
    let (client, mut device) = with_passkey(&world).await;
    let answer = use_it(&world, &mut device).await;
    let ask = alone(&world, answer.clone());
    assert!(world.anyone().call(&ask).await.is_ok());
    let wrong = refused(world.anyone().call(&ask).await);
    assert_eq!(wrong.0, Fault::Unauthenticated, "used up");

    let stranger = Authenticator::new(PARTY, ORIGIN);
    let begun = client.call(&BeginPasskey {}).await.unwrap();
    let challenge = BASE64URL_NOPAD.decode(begun.challenge.as_bytes()).unwrap();
    let (client_data, data, signature) = device.sign(&challenge);
    let for_adding = PasskeyAnswer {
        client_data: text(&client_data),
        authenticator_data: text(&data),
        signature: text(&signature),
        ..answer.clone()
    };
    let others = PasskeyAnswer { id: text(&stranger.id), ..use_it(&world, &mut device).await };
    let named = SignIn { user: "bob".into(), ..alone(&world, use_it(&world, &mut device).await) };
    device.counter = 0;
    let copied = use_it(&world, &mut device).await;
    for (what, ask) in [
        ("a challenge for adding", alone(&world, for_adding)),
        ("an unknown passkey", alone(&world, others)),
        ("somebody else's name", named),
        ("a counter that went backwards", alone(&world, copied)),
    ] {
        assert_eq!(refused(world.anyone().call(&ask).await), wrong, "{what}");
    }

    device.counter += 10;
    let late = alone(&world, use_it(&world, &mut device).await);
    world.clock.advance(std::time::Duration::from_secs(301));
    assert_eq!(refused(world.anyone().call(&late).await), wrong, "too late");
}

#[tokio::test]
async fn wrong_passwords_do_not_keep_a_passkey_out_and_wrong_signatures_keep_nobody_out() {
    let world = World::new().await;
    let (_, mut device) = with_passkey(&world).await;
    let beside = |answer, password: &str| SignIn {
        user: "ann".into(),
        password: Secret::new(password),
        ..alone(&world, answer)
    };
    for _ in 0..6 {
        let mut answer = use_it(&world, &mut device).await;
        answer.signature = text(b"nonsense");
        assert_eq!(fault(world.anyone().call(&alone(&world, answer)).await), Fault::Unauthenticated);
    }
    let right = beside(use_it(&world, &mut device).await, PASSWORD);
    assert!(world.anyone().call(&right).await.is_ok(), "wrong signatures are no guesses");

    for _ in 0..5 {
        let wrong = beside(use_it(&world, &mut device).await, "wrong horse battery");
        assert_eq!(fault(world.anyone().call(&wrong).await), Fault::Unauthenticated);
    }

    let right = beside(use_it(&world, &mut device).await, PASSWORD);
    assert_eq!(fault(world.anyone().call(&right).await), Fault::Unauthenticated, "a password may be guessed");
    let ask = alone(&world, use_it(&world, &mut device).await);
    assert!(world.anyone().call(&ask).await.is_ok());
    let right = beside(use_it(&world, &mut device).await, PASSWORD);
    assert_eq!(fault(world.anyone().call(&right).await), Fault::Unauthenticated, "still locked out");

    let target = LockTarget { user: Some("ann".parse().unwrap()), ..LockTarget::default() };
    let lock = CreateLock { target, message: String::new(), ttl: None };
    world.admin().await.call(&lock).await.unwrap();
    let ask = alone(&world, use_it(&world, &mut device).await);
    assert_eq!(fault(world.anyone().call(&ask).await), Fault::Unauthenticated, "an admin's lock counts");
    world.stop().await;
}

#[tokio::test]
async fn a_change_of_devices_needs_the_password_and_is_noted() {
    let world = World::new().await;
    let (client, device) = with_passkey(&world).await;
    let id = text(&device.id);
    let mut ask = make(&client, &Authenticator::new(PARTY, ORIGIN)).await;
    ask.password = Secret::new("wrong horse battery");
    assert_eq!(fault(client.call(&ask).await), Fault::BadRequest);
    let again = make(&client, &device).await;
    assert_eq!(fault(client.call(&again).await), Fault::Conflict, "it is there already");

    client.call(&RenamePasskey { id: id.clone(), name: "blue".into() }).await.unwrap();
    let remove = |password: &str| RemovePasskey { id: id.clone(), password: Secret::new(password) };
    assert_eq!(fault(client.call(&remove("wrong horse battery")).await), Fault::BadRequest);
    assert_eq!(client.call(&ListDevices {}).await.unwrap().items[1].name, "blue");
    client.call(&remove(PASSWORD)).await.unwrap();
    assert_eq!(client.call(&ListDevices {}).await.unwrap().items.len(), 1);
    assert!(world.has_event("mfa.delete", "T1007I").await);
}

#[tokio::test]
async fn a_reset_takes_passkeys_along() {
    let world = World::new().await;
    let (_, mut device) = with_passkey(&world).await;
    let link =
        world.admin().await.call(&ResetUser { name: "ann".parse().unwrap(), ttl: None }).await.unwrap();
    let refused = alone(&world, use_it(&world, &mut device).await);
    assert_eq!(fault(world.anyone().call(&refused).await), Fault::Unauthenticated);

    let ann = world.accept(&link, PASSWORD).await.unwrap();
    let (client, _) = world.signed_in(&ann).await;
    assert_eq!(client.call(&ListDevices {}).await.unwrap().items.len(), 1);
    let ask = make(&client, &device).await;
    assert!(client.call(&ask).await.is_ok(), "its id is free again");
}
