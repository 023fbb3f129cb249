//! Places for connections, all together and for each address, so that nobody can take them all.
//!
//! IPv6 is counted by /64: that is what one household has. Taking a place waits for nobody.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places, some of them at most for each address.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    taken: Counts,
    each: u32,
}

/// Places taken, by address.
type Counts = Arc<Mutex<BTreeMap<IpAddr, u32>>>;

/// A place; dropping it frees it.
#[derive(Debug)]
pub struct Place {
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
    /// `all` of them, `each` at most for one address.
    #[must_use]
    pub fn new(all: usize, each: u32) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), taken: Arc::default(), each }
    }

    /// A place for somebody at `ip`; without an address, or for one that speaks for many, only the whole counts.
    /// `None` when there is none.
    #[must_use]
    pub fn take(&self, ip: Option<IpAddr>) -> Option<Place> {
        let place = self.all.clone().try_acquire_owned().ok()?;
        let Some(ip) = ip.map(household) else { return Some(Place { _place: place, counted: None }) };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get(&ip).is_some_and(|count| *count >= self.each) {
            return None;
        }
        *taken.entry(ip).or_default() += 1;
        drop(taken);
        Some(Place { _place: place, counted: Some((ip, self.taken.clone())) })
    }
}

/// Whose an address is, as far as counting goes: an IPv4 address, or an IPv6 /64.
#[must_use]
pub fn household(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_household_cannot_take_every_place() {
        let places = Places::new(3, 2);
        let at = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let held = (places.take(at("2001:db8::1")), places.take(at("2001:db8::2")));
        assert!(held.0.is_some() && held.1.is_some());

        assert!(places.take(at("2001:db8::1")).is_none(), "the same /64");
        let other = places.take(at("192.0.2.1"));
        assert!(other.is_some());
        assert!(places.take(at("192.0.2.2")).is_none(), "all places are taken");
        drop(held);
        assert!(places.take(at("2001:db8::1")).is_some());
        assert_eq!(places.taken.lock().unwrap().len(), 1, "addresses are forgotten");
    }

    #[test]
    fn who_speaks_for_many_is_counted_in_the_whole_only() {
        let places = Places::new(3, 1);
        let held: Vec<_> = (0..3).map(|_| places.take(None)).collect();

        assert!(held.iter().all(Option::is_some));
        assert!(places.take(None).is_none());
    }
}
