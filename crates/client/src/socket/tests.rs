//! What the kernel is asked for, by where the ends of a connection are.

use tokio::net::TcpListener;

use super::*;

#[test]
fn both_ends_on_this_host() {
    for (here, there, within) in [
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "127.0.0.2", true),
        ("::1", "::1", true),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", true),
        ("192.0.2.7", "192.0.2.7", true),
        ("::ffff:192.0.2.7", "192.0.2.7", true),
        ("2001:db8::7", "2001:db8::7", true),
        ("192.0.2.7", "192.0.2.8", false),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.8", false),
        ("2001:db8::7", "2001:db8::8", false),
        ("192.0.2.127", "127.0.0.1", true),
    ] {
        let (from, to) = (here.parse().unwrap(), there.parse().unwrap());
        assert_eq!(same_host(from, to), within, "{here} to {there}");
    }
}

#[tokio::test]
async fn within_one_host_little_waits_in_the_kernel() {
    for kind in [Use::Single, Use::Tunnel] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let dialed = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        for socket in [&dialed, &accepted] {
            tune(socket, kind);
            let socket = SockRef::from(socket);
            // The kernel answers with twice what was asked for (socket(7)).
            assert!(socket.recv_buffer_size().unwrap() <= 2 * WITHIN, "{kind:?}");
            assert!(socket.send_buffer_size().unwrap() <= 2 * WITHIN, "{kind:?}");
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap(), "{kind:?}");
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_peer_that_reads_nothing_for_a_while_is_not_taken_for_gone() {
    for kind in [Use::Single, Use::Tunnel] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let dialed = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();

        tune(&dialed, kind);

        assert_eq!(SockRef::from(&dialed).tcp_user_timeout().unwrap(), None, "{kind:?}");
    }
}
