//! Fronts and proxies of every temper, and what the dialer makes of them.

use super::*;

#[test]
fn every_status_has_advice() {
    for (status, words) in [
        (200, "proxy_set_header Upgrade"),
        (400, "proxy_set_header Upgrade"),
        (426, "proxy_http_version 1.1"),
        (301, "redirect"),
        (403, "login"),
        (404, "path"),
        (502, "behind it"),
        (500, "WebSockets"),
    ] {
        assert!(explain(status).contains(words), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_says_nothing_is_asked_in_another_way_and_for_a_tunnel_the_second_time() {
    for (route, dials) in [
        (Route::Tunnel, [1, 2].as_slice()),
        // One that lasts no longer than somebody works is not worth asking twice for.
        (Route::Ssh, &[2]),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let to = HostPort { host: at.ip().to_string(), port: at.port() };
        let dialer = Dialer::new(to, ProxyEnv::none(), Keyring::new(Material::anyone()));

        for connections in dials {
            let error = dialer.connect(route).await.err().unwrap().to_string();

            assert!(error.contains("handshake took longer") && error.contains("MOONGATE_CARRIER"), "{error}");
            assert_eq!(std::iter::from_fn(|| listener.accept().ok()).count(), *connections, "{route:?}");
            assert_eq!(dialer.carrier(), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_found_out_a_moment_ago_is_tried_first_and_what_long_ago_is_not() {
    for (minutes, connections) in [(Some(1), 3), (Some(11), 2), (None, 2)] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let to = HostPort { host: at.ip().to_string(), port: at.port() };
        let websocket = minutes.map(|m| ("a front".to_owned(), Duration::from_secs(m * 60)));
        let memory = Memory { websocket, note: Box::new(|found| panic!("{found:?} through silence")) };
        let keyring = Keyring::new(Material::anyone());
        let dialer = Dialer::remembering(to, ProxyEnv::none(), keyring, memory);

        dialer.connect(Route::Ssh).await.err().unwrap();

        // A WebSocket where one is remembered, straight TLS, a WebSocket.
        assert_eq!(std::iter::from_fn(|| listener.accept().ok()).count(), connections, "{minutes:?}");
    }
}
