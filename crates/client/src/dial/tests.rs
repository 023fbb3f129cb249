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
