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
async fn a_gate_that_says_nothing_is_asked_in_no_other_way() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let to = HostPort { host: at.ip().to_string(), port: at.port() };
    let dialer = Dialer::new(to, ProxyEnv::none(), Keyring::new(Material::anyone()));

    let error = dialer.connect(Route::Tunnel).await.err().unwrap().to_string();

    assert!(error.contains("handshake took longer") && error.contains("MOONGATE_CARRIER"), "{error}");
    assert!(listener.accept().is_ok());
    assert!(listener.accept().is_err(), "one connection");
    assert_eq!(dialer.carrier(), None);
}
