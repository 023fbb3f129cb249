//! How many strangers may stand in the door: half-open connections, all together and from one address.
//!
//! Addresses that speak for many (trusted balancers) are not counted one by one. IPv6 is counted by /64.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections that have not shown who they are.
    pub half_open: usize,
    /// The same, from one address.
    pub half_open_per_address: u32,
    /// Connections in all.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { half_open: 4096, half_open_per_address: 256, connections: 32 * 1024 }
    }
}

/// Half-open connections by address.
type Counts = Arc<Mutex<BTreeMap<IpAddr, u32>>>;

#[derive(Debug)]
pub(crate) struct Doors {
    half_open: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    per_address: Counts,
    most_per_address: u32,
}

/// A place among the half-open; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Pending {
    _place: OwnedSemaphorePermit,
    counted: Option<(IpAddr, Counts)>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some((ip, counts)) = &self.counted else { return };
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(ip);
            }
        }
    }
}

impl Doors {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            half_open: Arc::new(Semaphore::new(limits.half_open)),
            connections: Arc::new(Semaphore::new(limits.connections)),
            per_address: Arc::default(),
            most_per_address: limits.half_open_per_address,
        }
    }

    /// A place for a whole connection.
    pub(crate) fn connection(&self) -> Option<OwnedSemaphorePermit> {
        self.connections.clone().try_acquire_owned().ok()
    }

    /// A place for a half-open one. `one_of_many` addresses are not counted by themselves.
    pub(crate) fn pending(&self, ip: IpAddr, one_of_many: bool) -> Option<Pending> {
        let place = self.half_open.clone().try_acquire_owned().ok()?;
        if one_of_many {
            return Some(Pending { _place: place, counted: None });
        }
        let ip = group(ip);
        let mut counts = self.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(ip).or_default();
        if *count >= self.most_per_address {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Pending { _place: place, counted: Some((ip, self.per_address.clone())) })
    }
}

fn group(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_place() {
        let doors = Doors::new(Limits { half_open: 3, half_open_per_address: 2, connections: 1 });
        let (a, b): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let held = (doors.pending(a, false), doors.pending(b, false));
        assert!(held.0.is_some() && held.1.is_some());

        assert!(doors.pending(a, false).is_none(), "the same /64");
        let other = doors.pending("192.0.2.1".parse().unwrap(), false);
        assert!(other.is_some());
        assert!(doors.pending("192.0.2.2".parse().unwrap(), false).is_none(), "all places are taken");
        drop(held);
        assert!(doors.pending(a, false).is_some());
        assert!(doors.per_address.lock().unwrap().len() <= 1, "addresses are forgotten");
    }

    #[test]
    fn a_trusted_balancer_speaks_for_many() {
        let doors = Doors::new(Limits { half_open: 3, half_open_per_address: 1, connections: 1 });
        let ip = "10.0.0.1".parse().unwrap();
        let held: Vec<_> = (0..3).map(|_| doors.pending(ip, true)).collect();

        assert!(held.iter().all(Option::is_some));
        assert!(doors.pending(ip, true).is_none());
    }
}
