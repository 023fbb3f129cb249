//! Where a host's forwards may lead.
//!
//! As with sshd, the host's own loopback and its networks are allowed: that is what forwards are for, and `policy`
//! has said yes before. Link-local addresses and those of metadata services are not: on cloud machines they hand out the
//! machine's own credentials.
//! Every address a name resolves to is looked at, and it is the address looked at that is connected to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a name may take to resolve.
const RESOLVE: Duration = Duration::from_secs(10);
/// Most addresses of one name that are tried.
const ADDRESSES: usize = 8;

/// Metadata services outside the link-local network: Alibaba Cloud's, Oracle's, and Azure's host of each machine.
const METADATA: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
/// The same over IPv6: those of EC2 and of Google Cloud.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// True when nothing may be forwarded there.
#[must_use]
pub fn forbidden(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA.contains(&v4),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || METADATA_V6.contains(&v6),
    }
}

/// Connects to the first address of `host` that is allowed and answers.
///
/// # Errors
/// None does; in words fit for the person.
pub async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    // Brackets are how some clients write IPv6 addresses.
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| "the name takes too long to resolve".to_owned())?
        .map_err(|error| format!("the name does not resolve: {error}"))?;
    let addresses: Vec<SocketAddr> = found.take(ADDRESSES).collect();
    let mut last = "the name has no address".to_owned();
    for address in addresses {
        if forbidden(address.ip()) {
            last = "link-local addresses and metadata services are not forwarded to".to_owned();
            continue;
        }
        match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small writes of interactive protocols must not wait for each other.
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            Ok(Err(error)) => last = words(&error),
            Err(_) => last = "no answer in time".to_owned(),
        }
    }
    Err(last)
}

fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_addresses_are_forbidden_in_every_spelling() {
        for bad in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "100.100.100.200",
            "::ffff:168.63.129.16",
            "192.0.0.192",
            "fe80::1",
            "fd00:ec2::254",
            "fd20:ce::254",
        ] {
            assert!(forbidden(bad.parse().unwrap()), "{bad}");
        }
        for good in ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "8.8.8.8", "100.100.100.201", "fd00::1"] {
            assert!(!forbidden(good.parse().unwrap()), "{good}");
        }
    }

    #[tokio::test]
    async fn a_forbidden_address_is_never_connected_to() {
        let refused = connect("169.254.169.254", 80).await.unwrap_err();

        assert!(refused.contains("link-local"), "{refused}");
    }

    #[tokio::test]
    async fn the_hosts_own_services_are_reached() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();

        assert!(connect("localhost", port).await.is_ok());
        assert!(connect("[::ffff:127.0.0.1]", port).await.is_ok());

        assert!(connect("127.0.0.1", 1).await.unwrap_err().contains("refused"));
    }
}
