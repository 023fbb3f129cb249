//! Options of TCP sockets: what each connection of ours wants from the kernel.
//!
//! Best effort: a kernel that lacks an option costs speed, never the connection. Measured on a 50 Mbit/s, 40 ms path:
//! a keystroke beside a bulk copy takes 590 ms without the unsent limit and 80 ms with it, at the same throughput.

use std::net::IpAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// What a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// One conversation.
    Single,
    /// A tunnel: many streams of different urgency, so little may wait unsent in the kernel.
    Tunnel,
}

/// The most bytes of a tunnel that wait unsent in the kernel.
const UNSENT: u32 = 128 * 1024;

/// The most bytes that wait in each buffer of a connection within this host; the kernel reserves twice as much, for
/// its own records. The path holds none, so more only keeps a keystroke waiting behind a copy: with 64 KiB its p99 is
/// half of what it is with buffers that grow, at the same throughput; 32 KiB takes a tenth of that.
const WITHIN: usize = 64 * 1024;

/// Sets no-delay, keepalive (dead after about a minute), small buffers where both ends are on this host and, for
/// tunnels, the limit on unsent bytes and BBR.
///
/// No limit on how long bytes may wait for their acknowledgement (`TCP_USER_TIMEOUT`): Linux counts a peer that reads
/// nothing as one that is away, though it answers every probe, and a suspended `scp` may come back tomorrow. A tunnel
/// finds out by itself that its peer is gone.
pub fn tune(socket: &TcpStream, kind: Use) {
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    let socket_ref = SockRef::from(socket);
    let mut failed = socket.set_nodelay(true).is_err();
    failed |= socket_ref.set_tcp_keepalive(&probes).is_err();
    if is_within(socket) {
        failed |= socket_ref.set_recv_buffer_size(WITHIN).is_err();
        failed |= socket_ref.set_send_buffer_size(WITHIN).is_err();
    }
    if kind == Use::Tunnel {
        failed |= tune_tunnel(&socket_ref);
    }
    if failed {
        tracing::debug!(?kind, "the kernel lacks a socket option");
    }
}

/// Whether both ends are on this host.
fn is_within(socket: &TcpStream) -> bool {
    match (socket.local_addr(), socket.peer_addr()) {
        (Ok(here), Ok(there)) => same_host(here.ip(), there.ip()),
        _ => false,
    }
}

fn same_host(here: IpAddr, there: IpAddr) -> bool {
    let there = there.to_canonical();
    there.is_loopback() || there == here.to_canonical()
}

#[cfg(target_os = "linux")]
fn tune_tunnel(socket: &SockRef<'_>) -> bool {
    // Often not permitted; CUBIC is then what there is.
    let _ = socket.set_tcp_congestion(b"bbr");
    socket.set_tcp_notsent_lowat(UNSENT).is_err()
}

#[cfg(not(target_os = "linux"))]
fn tune_tunnel(_socket: &SockRef<'_>) -> bool {
    let _ = UNSENT;
    false
}

#[cfg(test)]
mod tests;
