//! Links while something else happens to their user.

use std::time::Duration;

use model::Secret;
use model::api::Fault;
use model::api::access::{AcceptInvite, GetInvite};
use model::api::users::ResetUser;

use crate::held::Wait;
use crate::world::{Keys, PASSWORD, Person, World, code, fault, totp_of};

#[tokio::test]
async fn of_two_resets_at_once_one_link_is_left() {
    let (world, held) = World::held().await;
    let admin = world.admin().await;
    world.person("ann", "access").await;
    let reset = ResetUser { name: "ann".parse().unwrap(), ttl: None };
    held.hold(Wait::Before, "invites");
    let (other, ask) = (world.admin().await, reset.clone());
    let slow = world.scope.spawn("reset", async move { other.call(&ask).await.unwrap() });
    held.reached().await;
    let fast = admin.call(&reset).await.unwrap();

    held.let_go();
    let slow = slow.await.unwrap().unwrap();

    assert_eq!(fault(world.accept(&fast, PASSWORD).await.map(|_| ())), Fault::NotFound);
    let ann = world.accept(&slow, PASSWORD).await.unwrap();
    world.signed_in(&ann).await;
    world.stop().await;
}

#[tokio::test]
async fn a_try_to_sign_in_does_not_keep_a_link_from_being_used() {
    let (world, held) = World::held().await;
    let admin = world.admin().await;
    let link = admin.call(&World::create_user("ann", "access")).await.unwrap();
    let invite = world.anyone().call(&GetInvite { secret: link.secret.clone() }).await.unwrap();
    let totp = totp_of(invite.otp_uri.expose());
    let ask = AcceptInvite {
        secret: link.secret.clone(),
        password: Secret::new(PASSWORD),
        otp: code(&totp, world.clock.now()),
        client_addr: None,
    };
    held.hold(Wait::Before, "invites");
    let anyone = world.anyone();
    let accepting = world.scope.spawn("accept", async move { anyone.call(&ask).await });
    held.reached().await;
    let ann = Person { name: "ann".into(), totp };
    let early = world.sign_in_request(&ann, &Keys::new(&world.random));
    assert_eq!(fault(world.anyone().call(&early).await), Fault::Unauthenticated);

    held.let_go();

    assert!(accepting.await.unwrap().unwrap().is_ok());
    world.clock.advance(Duration::from_secs(30));
    world.signed_in(&ann).await;
    world.stop().await;
}
