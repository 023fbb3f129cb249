//! A proxy on loopback and everyone who comes to it: agents, people, browsers, fronts, strangers.

mod authority;
mod counted;
mod fronts;
mod strangers;
mod typing;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::dial::{CarrierKind, Dialer, HostPort, ProxyEnv, WebTrust};
use client::{BoxStream, ConnectError, Keyring, Material};
use fronts::{Temper, breaking, connect_proxy, front};
use model::{NodeId, SystemRole};
use runtime::direct::Wrapped;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use wire::dial::{DialReply, Refusal};
use wire::route::Route;
use world::{Cluster, How, PATIENCE, World, browsers, dial, echo, ended, insecure, line};

#[tokio::test]
async fn the_port_tells_protocols_apart() {
    let world = World::new();

    let redirected = world.ask(b"GET /web/login?x=1 HTTP/1.1\r\nHost: gate.example:3080\r\n\r\n").await;
    assert!(redirected.starts_with("HTTP/1.1 301 "), "{redirected}");
    assert!(redirected.contains("\r\nLocation: https://gate.example:3080/web/login?x=1\r\n"), "{redirected}");
    let refused = world.ask(b"POST / HTTP/1.1\r\nHost: gate.example\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    let smuggled = world.ask(b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n").await;
    assert!(smuggled.starts_with("HTTP/1.1 400 "), "{smuggled}");
    for (path, status) in
        [("", "426"), ("?x=1", "426"), ("X", "301"), ("/", "301"), ("%20", "301"), ("#", "301")]
    {
        let request = format!("GET /webapi/connectionupgrade{path} HTTP/1.1\r\nHost: gate.example\r\n\r\n");
        let answer = world.ask(request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    assert_eq!(world.ask(b"\0\0\0\x08\x04\xd2\x16\x2f").await, "", "a stranger gets no answer");
    assert_eq!(world.ask(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nSSH-2.0-x\r\n").await, "");
    let mut ssh = world.tcp().await;
    ssh.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await.unwrap();
    let mut banner = [0; 16];
    ssh.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"SSH-2.0-Moongate");
}

#[tokio::test]
async fn whoever_waits_in_silence_is_shown_an_ssh_banner() {
    let world = World::new();
    let mut silent = world.tcp().await;
    let began = Instant::now();

    let mut banner = [0; 8];
    silent.read_exact(&mut banner).await.unwrap();

    assert_eq!(&banner, b"SSH-2.0-");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_whose_first_packet_was_lost_is_not_taken_for_a_silent_one() {
    let world = World::new();
    let mut late = world.tcp().await;

    // It is sent again when a second has passed.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    late.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();

    let mut answer = [0; 5];
    late.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/");
}

#[tokio::test]
async fn browsers_reach_the_web_handler() {
    let world = World::new();
    let dialer = world.dialer(world.cluster.nobody());

    for trust in [WebTrust::Insecure, WebTrust::Cluster] {
        let mut stream = dialer.connect_web(&trust).await.unwrap();
        stream.write_all(b"GET /webapi/ping HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("127.0.0.1 h2=false"), "{answer}");
    }
    let error = dialer.connect_web(&WebTrust::System).await.err().unwrap();
    assert!(matches!(&error, ConnectError::Untrusted { .. }), "{error}");
    assert!(error.to_string().contains("--insecure"), "{error}");
}

#[tokio::test]
async fn a_person_reaches_a_node_and_the_node_hears_the_true_address() {
    let mut world = World::new();
    world.echoing(1, "web-1", None).await;
    let dialer = world.dialer(world.cluster.keyring(&world.cluster.ann()));

    let id = NodeId::from_random([1; 16]).to_string();
    for target in ["web-1", "web-1.gate.example", &id] {
        let (reply, mut stream) = dial(&dialer, target).await;
        assert_eq!(reply, DialReply::Ok);
        assert_eq!(line(&mut stream).await, "127.0.0.1", "what the client claims is replaced");
        echo(&mut stream, &[7; 200_000]).await;
    }
    assert_eq!(dialer.carrier().unwrap().to_string(), "tls");
    let reported = timeout(PATIENCE, world.reported.wait_for(|tunnels| !tunnels.is_empty()));
    assert_eq!(reported.await.unwrap().unwrap()[0].carrier, "tls");
}

#[tokio::test]
async fn refusals_say_why() {
    let world = World::new();
    world.echoing(1, "web", None).await;
    world.echoing(2, "web", None).await;
    while world.registry.list().len() < 2 {
        tokio::task::yield_now().await;
    }
    let ann = world.dialer(world.cluster.keyring(&world.cluster.ann()));
    let node = world.dialer(world.cluster.keyring(&world.cluster.host_identity(3, "x", SystemRole::Node)));
    let mut pinned = world.cluster.ann();
    (pinned.pin_ip, pinned.login_ip) = (true, Some("192.0.2.1".parse().unwrap()));
    let pinned = world.dialer(world.cluster.keyring(&pinned));

    for (dialer, target, refusal, words) in [
        (&ann, "nowhere", Refusal::Unknown, "nowhere"),
        (&ann, "web", Refusal::Ambiguous, "use an id"),
        (&node, "web", Refusal::Denied, "people"),
        (&pinned, "web", Refusal::Denied, "sign in again"),
    ] {
        let (DialReply::Refused(code, message), _) = dial(dialer, target).await else { panic!("{target}") };
        assert_eq!(code, refusal);
        assert!(message.contains(words), "{message}");
    }
}

/// The far end's verdict on a client certificate arrives after the handshake.
async fn is_shut_out(world: &World, keyring: Keyring, route: Route) -> bool {
    let Ok(mut stream) = world.dialer(keyring).connect(route).await else { return true };
    let heard = timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
    !matches!(heard, Ok(1..))
}

#[tokio::test]
async fn only_live_certificates_of_this_cluster_get_in() {
    let world = World::new();
    let other = Cluster::new(2);
    let ann = world.cluster.ann();
    let stranger = Keyring::new(Material::anyone());
    let foreign = other.keyring(&ann).current();
    let foreign = Keyring::new(
        Material::trusting(&world.cluster.bundle).unwrap().showing(
            client::tls::Certified::from_pem(
                &pki::x509::pem("CERTIFICATE", &foreign.certified().unwrap().chain()[0]),
                &pki::x509::pem("PRIVATE KEY", foreign.certified().unwrap().key().secret_der()),
            )
            .unwrap(),
        ),
    );
    let soon =
        world.cluster.keyring(&ended(ann.clone(), world.cluster.clock.now() + Duration::from_secs(60)));
    world.cluster.clock.advance(Duration::from_secs(61));

    assert!(is_shut_out(&world, stranger, Route::Ssh).await, "no certificate");
    assert!(is_shut_out(&world, foreign, Route::Ssh).await, "another cluster's certificate");
    assert!(is_shut_out(&world, soon, Route::Ssh).await, "a certificate that has ended");
    assert!(
        is_shut_out(&world, world.cluster.keyring(&ann), Route::Tunnel).await,
        "a person opens no tunnel"
    );
    assert!(world.registry.list().is_empty());
    let other_ann = world.dialer(other.keyring(&other.ann())).connect(Route::Ssh).await.err().unwrap();
    assert!(matches!(other_ann, ConnectError::Untrusted { .. }), "{other_ann}");
}

#[tokio::test]
async fn the_authoritys_bytes_are_passed_on_unread() {
    let world = World::new();
    let mut stream = world.tcp().await;
    let hello = include_bytes!("../../testdata/hello-auth.bin");

    stream.write_all(hello).await.unwrap();

    let mut back = [0; 3];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(back, hello[..3]);
}

#[tokio::test]
async fn through_a_front_that_ends_tls_every_route_runs_in_a_websocket() {
    let world = World::new();
    let at = front(&world.scope, world.at, Temper::Passes).await;
    world.echoing(1, "web-1", Some(at.clone())).await;
    assert_eq!(world.registry.list()[0].carrier, "websocket");

    let ann = Dialer::new(at.clone(), ProxyEnv::none(), world.cluster.keyring(&world.cluster.ann()));
    let (reply, mut stream) = dial(&ann, "web-1").await;
    assert_eq!(reply, DialReply::Ok);
    line(&mut stream).await;
    echo(&mut stream, &[7; 500_000]).await;
    let carrier = ann.carrier().unwrap();
    assert_eq!(carrier.kind, CarrierKind::WebSocket);
    assert!(!carrier.why.is_empty());
    let (reply, _) = dial(&ann, "web-1").await;
    assert_eq!(reply, DialReply::Ok, "the carrier is remembered");

    // The authority's route: its answer is no TLS here, so the handshake that runs inside must be what fails.
    let error = ann.connect(Route::Auth).await.err().unwrap().to_string();
    assert!(!error.contains("upgrade"), "{error}");
}

#[tokio::test]
async fn a_websocket_is_used_without_a_front_where_somebody_asks_for_it() {
    let world = World::new();
    world.echoing(1, "web-1", None).await;
    let env = ProxyEnv::from_vars([("MOONGATE_CARRIER".to_owned(), "websocket".to_owned())]).unwrap();
    let ann = Dialer::new(world.address(), env, world.cluster.keyring(&world.cluster.ann()));

    let (reply, mut stream) = dial(&ann, "web-1").await;

    assert_eq!(reply, DialReply::Ok);
    line(&mut stream).await;
    echo(&mut stream, &[7; 500_000]).await;
    assert_eq!(ann.carrier().unwrap().to_string(), "websocket");
}

#[tokio::test]
async fn a_way_that_breaks_once_is_tried_again_and_one_that_always_does_is_left_until_it_heals() {
    let world = World::new();
    let breaks = Arc::new(AtomicUsize::new(1));
    let at = breaking(&world.scope, world.at, breaks.clone()).await;
    let ann = Dialer::new(at, ProxyEnv::none(), world.cluster.keyring(&world.cluster.ann()));
    let carrier = async |ann: &Dialer| {
        drop(ann.connect(Route::Ssh).await.unwrap());
        ann.carrier().unwrap().to_string()
    };
    assert_eq!(carrier(&ann).await, "tls", "a gate that just starts");

    breaks.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(carrier(&ann).await, "websocket");
    breaks.store(0, Ordering::SeqCst);
    assert_eq!(carrier(&ann).await, "websocket", "it is remembered");

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::resume();
    assert_eq!(carrier(&ann).await, "tls");
}

#[tokio::test]
async fn a_front_that_spoils_the_upgrade_is_named_with_its_cure() {
    let world = World::new();
    for (temper, status) in [(Temper::DropsUpgradeHeaders, "426"), (Temper::AnswersItself, "200")] {
        let at = front(&world.scope, world.at, temper).await;
        let ann = Dialer::new(at.clone(), ProxyEnv::none(), world.cluster.keyring(&world.cluster.ann()));

        let error = ann.connect(Route::Ssh).await.err().unwrap().to_string();

        assert!(error.contains(status) && error.contains("proxy_set_header Upgrade"), "{error}");
        assert!(error.contains(&at.to_string()), "{error}");
    }
}

#[tokio::test]
async fn an_http_proxy_on_the_way_carries_everything() {
    let world = World::new();
    world.echoing(1, "web-1", None).await;
    let through = connect_proxy(&world.scope, world.at).await;
    let env = ProxyEnv::from_vars([("HTTPS_PROXY".to_owned(), format!("http://{through}"))]).unwrap();
    let to = HostPort { host: "gate.example".into(), port: 3080 };
    let ann = Dialer::new(to, env, world.cluster.keyring(&world.cluster.ann()));

    let (reply, mut stream) = dial(&ann, "web-1").await;

    assert_eq!(reply, DialReply::Ok);
    line(&mut stream).await;
    echo(&mut stream, b"hello").await;
    assert_eq!(ann.carrier().unwrap().to_string(), "tls+connect");
}

#[tokio::test]
async fn there_is_no_browser_inside_a_websocket_and_so_no_websocket_inside_another() {
    let world = World::new();
    for offers in [&[][..], &["http/1.1"], &["h2", "http/1.1"]] {
        let outer = insecure(world.tcp().await).await;
        let url = "wss://gate.example/webapi/connectionupgrade";
        let (socket, _) = tokio_tungstenite::client_async(url, outer).await.unwrap();

        let within = browsers(client::websocket::Carrier::client(socket), offers);

        let within = timeout(PATIENCE, within).await.unwrap();
        assert!(within.is_err(), "{offers:?}");
    }
}

#[tokio::test]
async fn a_stopping_proxy_lets_conversations_finish_and_takes_no_new_ones() {
    let world = World::new();
    world.echoing(1, "web-1", None).await;
    let dialer = world.dialer(world.cluster.keyring(&world.cluster.ann()));
    let (_, mut stream) = dial(&dialer, "web-1").await;
    line(&mut stream).await;

    world.proxy.cancel();
    let refused = async {
        while tokio::net::TcpStream::connect(world.at).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, refused).await.unwrap();

    echo(&mut stream, b"still talking").await;
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    drop(stream);
    let gone = async {
        while !world.registry.list().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
}

/// Signs in to the jump host over plain TCP.
async fn jump(
    world: &World,
    credential: ssh::client::Credential,
) -> Result<ssh::client::Connected<tokio::net::TcpStream>, ssh::Error> {
    let any_host = |_: &ssh::PublicKey| Ok(());
    let config = Arc::new(ssh::client::Config::default());
    ssh::client::connect(world.tcp().await, config, &any_host, "whoever", &[credential]).await
}

#[tokio::test]
async fn plain_openssh_jumps_to_nodes_and_nowhere_else() {
    let world = World::new();
    world.echoing(1, "web-1", None).await;
    let connected = jump(&world, world.cluster.ssh_credential(&world.cluster.ann())).await.unwrap();
    world.scope.spawn("driver", connected.driver);
    let to = connected.connection;

    for (target, port) in [("web-1", 22), ("web-1.gate.example", 0), ("WEB-1", 3022)] {
        let channel = to.open_direct_tcp(target, port, ("127.0.0.1", 1)).await.unwrap();
        let mut stream: BoxStream = Box::new(Wrapped::new(channel.into_stream()));
        assert_eq!(line(&mut stream).await, "127.0.0.1");
        echo(&mut stream, &[7; 300_000]).await;
    }
    let error = to.open_direct_tcp("10.0.0.1", 22, ("127.0.0.1", 1)).await.err().unwrap();
    assert!(error.to_string().contains("connected here"), "{error}");
    let error = to.open_session().await.err().unwrap();
    assert!(error.to_string().contains("ssh -J"), "{error}");
    assert!(to.listen("", 8080).await.is_err());
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_given_up_on_every_way_in() {
    let world = World::new();
    let routing = tunnel::Routing { patience: Duration::from_millis(50), ..tunnel::Routing::default() };
    world.registry.route(routing);
    let _arrivals = world.silent(1, "web-1").await;
    let ann = world.dialer(world.cluster.keyring(&world.cluster.ann()));
    let connected = jump(&world, world.cluster.ssh_credential(&world.cluster.ann())).await.unwrap();

    let (reply, mut stream) = dial(&ann, "web-1").await;
    assert_eq!(reply, DialReply::Ok);
    let heard = timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
    assert!(!matches!(heard, Ok(1..)), "{heard:?}");
    let driver = world.scope.spawn("driver", connected.driver);
    let to = connected.connection;
    let _channel = to.open_direct_tcp("web-1", 22, ("127.0.0.1", 1)).await.unwrap();
    timeout(PATIENCE, driver).await.unwrap().unwrap();

    let said = to.ping().await.unwrap_err().to_string();
    assert!(said.contains("node `web-1` did not answer in time"), "{said}");
}

#[tokio::test]
async fn the_jump_host_wants_a_live_certificate_of_the_user_authority() {
    let world = World::new();
    let plain = ssh::PrivateKey::generate("plain").unwrap();
    let plain = ssh::client::Credential { key: plain.public(), signer: Arc::new(plain) };
    let foreign = Cluster::new(2).ssh_credential(&world.cluster.ann());
    let mut pinned = world.cluster.ann();
    (pinned.pin_ip, pinned.login_ip) = (true, Some("192.0.2.1".parse().unwrap()));
    let pinned = world.cluster.ssh_credential(&pinned);

    for credential in [plain, foreign, pinned] {
        assert!(jump(&world, credential).await.is_err());
    }
}

#[tokio::test]
async fn one_person_too_many_is_told_so_on_every_way_in() {
    let world = World::with(How { most_people: Some(1), ..How::default() });
    world.echoing(1, "web-1", None).await;
    let ann = world.dialer(world.cluster.keyring(&world.cluster.ann()));
    let (reply, held) = dial(&ann, "web-1").await;
    assert_eq!(reply, DialReply::Ok);
    let (again, _) = dial(&ann, "web-1").await;
    assert_eq!(again, DialReply::Ok, "ann is one person");

    let bob = world.cluster.person("bob");
    let (DialReply::Refused(code, why), _) = dial(&world.dialer(world.cluster.keyring(&bob)), "web-1").await
    else {
        panic!("bob is one too many")
    };
    assert_eq!(code, Refusal::Denied);
    assert!(why.contains("max_users"), "{why}");
    let connected = jump(&world, world.cluster.ssh_credential(&bob)).await.unwrap();
    timeout(PATIENCE, connected.driver).await.expect("bob is sent away").ok();

    drop(held);
    let bob = world.dialer(world.cluster.keyring(&bob));
    let welcome = async { while dial(&bob, "web-1").await.0 != DialReply::Ok {} };
    timeout(PATIENCE, welcome).await.unwrap();
}

#[tokio::test]
async fn browsers_choose_from_the_cipher_suites_that_were_named() {
    let both = |suites: &[&str]| suites.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let suites = both(&["tls-ecdhe-ecdsa-with-chacha20-poly1305"]);
    let world = World::with(How { cipher_suites: suites, ..How::default() });

    for (wanted, agreed) in [
        (rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, true),
        (rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, false),
    ] {
        assert_eq!(world.tls12(wanted).await, agreed, "{wanted:?}");
    }
    assert!(crate::tls::cipher_suites(&both(&["tls-rsa-with-aes-128-cbc-sha"])).is_err());
}

#[test]
fn hosts_in_redirects_are_hosts() {
    for (host, location) in [
        ("gate.example", Some("https://gate.example/x")),
        ("gate.example:3080", Some("https://gate.example:3080/x")),
        ("[::1]:3080", Some("https://[::1]:3080/x")),
        ("a/b", None),
        ("a b", None),
    ] {
        let head = format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let head = wire::http_head::HttpHead::decode(head.as_bytes()).unwrap().unwrap();
        assert_eq!(crate::plain::redirect(&head).as_deref(), location, "{host}");
    }
}
