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
