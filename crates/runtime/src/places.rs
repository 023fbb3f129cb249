//! Places for connections, all together and for each address, so that nobody can take them all.
//!
//! IPv6 is counted by /64: that is what one household has. Taking a place waits for nobody. Whoever came through one
//! that speaks for many may be counted later, when it is known who it is.

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
    counted: Option<Counted>,
}

/// One of an address's places.
#[derive(Debug)]
struct Counted(IpAddr, Counts);

impl Drop for Counted {
    fn drop(&mut self) {
        let Self(ip, counts) = self;
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
        let mut place = Place { _place: place, counted: None };
        ip.is_none_or(|ip| self.charge(&mut place, ip)).then_some(place)
    }

    /// Counts `place`, one of these, for somebody at `ip` and for nobody else; false when there is none left for them.
    #[must_use]
    pub fn charge(&self, place: &mut Place, ip: IpAddr) -> bool {
        let ip = household(ip);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get(&ip).is_some_and(|count| *count >= self.each) {
            return false;
        }
        *taken.entry(ip).or_default() += 1;
        drop(taken);
        place.counted = Some(Counted(ip, self.taken.clone()));
        true
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

    #[test]
    fn whom_one_of_many_spoke_for_is_counted_from_then_on() {
        let places = Places::new(3, 1);
        let (ann, bob) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut held: Vec<_> = (0..2).map(|_| places.take(None).unwrap()).collect();

        assert!(places.charge(&mut held[0], ann));
        assert!(!places.charge(&mut held[1], ann), "one each");
        assert!(places.take(Some(ann)).is_none(), "however they come");
        assert!(places.charge(&mut held[1], bob));
        assert!(places.take(None).is_some(), "nobody takes two of the whole");
        assert!(places.charge(&mut held[0], "192.0.2.3".parse().unwrap()), "that was another");
        assert!(places.charge(&mut held[1], ann));
        drop(held);
        assert!(places.taken.lock().unwrap().is_empty(), "addresses are forgotten");
    }
}
