//! How many may stand in the door and come in: half-open connections and whole ones, all together and from one address.
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
    /// The same, from one address.
    pub connections_per_address: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            half_open: 16_384,
            half_open_per_address: 256,
            connections: 32 * 1024,
            connections_per_address: 15_000,
        }
    }
}

/// Places, some of them at most for each address.
#[derive(Debug)]
struct Places {
    all: Arc<Semaphore>,
    taken: Counts,
    most_per_address: u32,
}

/// Places taken, by address.
type Counts = Arc<Mutex<BTreeMap<IpAddr, u32>>>;

/// A place; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Place {
    _place: OwnedSemaphorePermit,
    counted: Option<(IpAddr, Counts)>,
}

impl Drop for Place {
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

impl Places {
    fn new(all: usize, most_per_address: u32) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), taken: Arc::default(), most_per_address }
    }

    /// `one_of_many` addresses are not counted by themselves.
    fn take(&self, ip: IpAddr, one_of_many: bool) -> Option<Place> {
        let place = self.all.clone().try_acquire_owned().ok()?;
        if one_of_many {
            return Some(Place { _place: place, counted: None });
        }
        let ip = group(ip);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(ip).or_default();
        if *count >= self.most_per_address {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Place { _place: place, counted: Some((ip, self.taken.clone())) })
    }
}

/// The door's bounds.
#[derive(Debug)]
pub(crate) struct Doors {
    half_open: Places,
    connections: Places,
}

impl Doors {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            half_open: Places::new(limits.half_open, limits.half_open_per_address),
            connections: Places::new(limits.connections, limits.connections_per_address),
        }
    }

    /// A place for a whole connection.
    pub(crate) fn connection(&self, ip: IpAddr, one_of_many: bool) -> Option<Place> {
        self.connections.take(ip, one_of_many)
    }

    /// A place for a half-open one.
    pub(crate) fn pending(&self, ip: IpAddr, one_of_many: bool) -> Option<Place> {
        self.half_open.take(ip, one_of_many)
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
        let doors = Doors::new(Limits {
            half_open: 3,
            half_open_per_address: 2,
            connections: 1,
            connections_per_address: 1,
        });
        let (a, b): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let held = (doors.pending(a, false), doors.pending(b, false));
        assert!(held.0.is_some() && held.1.is_some());

        assert!(doors.pending(a, false).is_none(), "the same /64");
        let other = doors.pending("192.0.2.1".parse().unwrap(), false);
        assert!(other.is_some());
        assert!(doors.pending("192.0.2.2".parse().unwrap(), false).is_none(), "all places are taken");
        drop(held);
        assert!(doors.pending(a, false).is_some());
        assert!(doors.half_open.taken.lock().unwrap().len() <= 1, "addresses are forgotten");
    }

    #[test]
    fn whole_connections_are_bounded_by_address_too() {
        let doors = Doors::new(Limits { connections: 10, connections_per_address: 2, ..Limits::default() });
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let held: Vec<_> = (0..3).filter_map(|_| doors.connection(one, false)).collect();

        assert_eq!(held.len(), 2);
        assert!(doors.connection(other, false).is_some());
        assert!(doors.connection(one, true).is_some(), "a balancer is not counted");
    }

    #[test]
    fn a_trusted_balancer_speaks_for_many() {
        let doors = Doors::new(Limits {
            half_open: 3,
            half_open_per_address: 1,
            connections: 1,
            connections_per_address: 1,
        });
        let ip = "10.0.0.1".parse().unwrap();
        let held: Vec<_> = (0..3).map(|_| doors.pending(ip, true)).collect();

        assert!(held.iter().all(Option::is_some));
        assert!(doors.pending(ip, true).is_none());
    }
}
