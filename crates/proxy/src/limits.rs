//! How many may stand in the door and come in: half-open connections and whole ones, all together and from one address,
//! at a time and over time; and how many people may be inside.
//!
//! Addresses that speak for many (trusted balancers) are not counted one by one; whom they name is, as if there were no
//! balancer. IPv6 is counted by /64.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::UserName;
use runtime::places::household;
use runtime::{Place, Places};
use tokio::time::Instant;

/// Bounds of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections that have not shown who they are.
    pub half_open: usize,
    /// The same, from one address.
    pub half_open_per_address: u32,
    /// Connections in all.
    pub connections: usize,
    /// The same, from one address.
    pub connections_per_address: u32,
    /// Connections over time from one address: each of these holds.
    pub rates: Vec<Rate>,
}

/// How many in how long, from one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How long.
    pub period: Duration,
    /// How many in that time, in the long run.
    pub average: u32,
    /// How many at once after a quiet while.
    pub burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            half_open: 16_384,
            half_open_per_address: 256,
            connections: 32 * 1024,
            connections_per_address: 15_000,
            rates: Vec::new(),
        }
    }
}

/// The door's bounds.
#[derive(Debug)]
pub(crate) struct Doors {
    half_open: Places,
    connections: Places,
    rates: Buckets,
}

impl Doors {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            rates: Buckets::new(&limits.rates),
            half_open: Places::new(limits.half_open, limits.half_open_per_address),
            connections: Places::new(limits.connections, limits.connections_per_address),
        }
    }

    /// A place for a whole connection that came just now.
    pub(crate) fn connection(&self, ip: IpAddr, one_of_many: bool, now: Instant) -> Option<Place> {
        if !one_of_many && !self.rates.take(household(ip), now) {
            return None;
        }
        self.connections.take((!one_of_many).then_some(ip))
    }

    /// A place for a half-open one.
    pub(crate) fn pending(&self, ip: IpAddr, one_of_many: bool) -> Option<Place> {
        self.half_open.take((!one_of_many).then_some(ip))
    }

    /// Whoever came as one of many turns out to be `ip`: their places are `ip`'s from now on. False when that is one too
    /// many.
    pub(crate) fn named(
        &self,
        ip: IpAddr,
        (connection, pending): (&mut Place, &mut Place),
        now: Instant,
    ) -> bool {
        self.rates.take(household(ip), now)
            && self.connections.charge(connection, ip)
            && self.half_open.charge(pending, ip)
    }
}

/// The most addresses with a bucket. When there are more, those that are full again make room, and where that is too
/// few those nearest to it: who came once gets a drop back early, who came too often is remembered, and whoever is new
/// gets in however many came before.
const MAX_BUCKETS: usize = 65_536;

/// What is free after room was made: so many newcomers share one look at all buckets.
const ROOM: usize = MAX_BUCKETS / 4;

/// Buckets for each address, one a rate: a connection takes a drop out of each, time pours them back.
#[derive(Debug)]
struct Buckets {
    /// The time that pours one drop back, and the time that fills an empty bucket.
    rates: Vec<(Duration, Duration)>,
    /// When each address has full buckets again.
    full_at: Mutex<BTreeMap<IpAddr, Vec<Instant>>>,
}

impl Buckets {
    fn new(rates: &[Rate]) -> Self {
        let times = |rate: &Rate| {
            let drop_in = rate.period / rate.average.max(1);
            (drop_in, drop_in.saturating_mul(rate.burst.max(1)))
        };
        Self { rates: rates.iter().map(times).collect(), full_at: Mutex::default() }
    }

    /// Takes a drop out of every bucket of `ip`, or none when one of them is empty.
    fn take(&self, ip: IpAddr, now: Instant) -> bool {
        if self.rates.is_empty() {
            return true;
        }
        let mut all = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_BUCKETS && !all.contains_key(&ip) {
            make_room(&mut all, now);
        }
        let buckets = all.entry(ip).or_insert_with(|| vec![now; self.rates.len()]);
        let after = |(full_at, (drop_in, full_in)): (&Instant, &(Duration, Duration))| {
            let full_at = *full_at.max(&now) + *drop_in;
            (full_at.duration_since(now) <= *full_in).then_some(full_at)
        };
        let taken: Option<Vec<Instant>> = buckets.iter().zip(&self.rates).map(after).collect();
        let enough = taken.is_some();
        *buckets = taken.unwrap_or_else(|| std::mem::take(buckets));
        enough
    }
}

/// When the last of an address's buckets is full again.
fn all_full_at(buckets: &[Instant]) -> Option<Instant> {
    buckets.iter().max().copied()
}

/// Forgets who has full buckets, and at least so many of the others that [`ROOM`] is free.
fn make_room(all: &mut BTreeMap<IpAddr, Vec<Instant>>, now: Instant) {
    all.retain(|_, buckets| all_full_at(buckets) > Some(now));
    let Some(excess) = all.len().checked_sub(MAX_BUCKETS - ROOM + 1) else { return };
    let mut ends: Vec<Option<Instant>> = all.values().map(Vec::as_slice).map(all_full_at).collect();
    let (_, bound, _) = ends.select_nth_unstable(excess);
    let bound = *bound;
    all.retain(|_, buckets| all_full_at(buckets) > bound);
}

/// Who is connected to nodes through this proxy: each person counts once, however many connections they have.
#[derive(Debug, Clone, Default)]
pub struct People {
    present: Arc<Mutex<BTreeMap<UserName, usize>>>,
    most: Option<usize>,
}

/// A person's connection; dropping it ends it.
#[derive(Debug)]
pub struct Presence {
    name: UserName,
    people: People,
}

impl People {
    /// At most `most` people at a time; `None` for no bound.
    #[must_use]
    pub fn at_most(most: Option<usize>) -> Self {
        Self { present: Arc::default(), most }
    }

    /// One more connection of `name`; `None` when as many others are connected as may be.
    #[must_use]
    pub fn enter(&self, name: &UserName) -> Option<Presence> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if self.most.is_some_and(|most| present.len() >= most) && !present.contains_key(name) {
            tracing::warn!(user = %name, people = present.len(), "connection_limits.max_users is reached");
            return None;
        }
        *present.entry(name.clone()).or_default() += 1;
        drop(present);
        Some(Presence { name: name.clone(), people: self.clone() })
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut present = self.people.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = present.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                present.remove(&self.name);
            }
        }
    }
}

/// What a person is told who would be one too many.
pub const TOO_MANY_PEOPLE: &str =
    "as many people as this gate takes are connected: try again later, or ask an admin about max_users";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_connections_are_bounded_by_address_too() {
        let doors = Doors::new(&Limits { connections: 10, connections_per_address: 2, ..Limits::default() });
        let now = Instant::now();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let held: Vec<_> = (0..3).filter_map(|_| doors.connection(one, false, now)).collect();

        assert_eq!(held.len(), 2);
        assert!(doors.connection(other, false, now).is_some());
        assert!(doors.connection(one, true, now).is_some(), "a balancer is not counted");
    }

    #[test]
    fn connections_over_time_are_bounded_by_address() {
        let minute = Duration::from_secs(60);
        let rates = vec![
            Rate { period: minute, average: 6, burst: 3 },
            Rate { period: minute * 60, average: 60, burst: 5 },
        ];
        let doors = Doors::new(&Limits { rates, ..Limits::default() });
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = Instant::now();
        let let_in = |count: usize, after: u64| {
            (0..count)
                .filter(|_| doors.connection(one, false, now + Duration::from_secs(after)).is_some())
                .count()
        };

        assert_eq!(let_in(10, 0), 3, "the burst");
        assert!(doors.connection(other, false, now).is_some());
        assert!((0..9).all(|_| doors.connection(one, true, now).is_some()), "a balancer is not counted");
        assert_eq!(let_in(2, 10), 1, "one every ten seconds");
        assert_eq!(let_in(5, 40), 1, "the longer rate has had five");
        assert_eq!(let_in(9, 3600), 3);
    }

    #[test]
    fn however_many_addresses_came_a_new_one_gets_in_and_who_came_too_often_does_not() {
        let rates = vec![Rate { period: Duration::from_secs(3600), average: 60, burst: 3 }];
        let doors = Doors::new(&Limits { rates, connections: usize::MAX >> 3, ..Limits::default() });
        let now = Instant::now();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        let comes = |n: u32| doors.connection(address(n), false, now).is_some();
        let often = 1;
        assert!((0..3).all(|_| comes(often)));

        let most = u32::try_from(2 * MAX_BUCKETS).unwrap();
        assert!((2..most).all(comes), "nobody is locked out by others");

        assert!(!comes(often), "who came too often is remembered");
        assert!(doors.rates.full_at.lock().unwrap().len() <= MAX_BUCKETS);
    }

    #[test]
    fn a_person_counts_once_and_leaves_with_the_last_connection() {
        let people = People::at_most(Some(1));
        let (ann, bob): (UserName, UserName) = ("ann".parse().unwrap(), "bob".parse().unwrap());
        let held = (people.enter(&ann), people.enter(&ann));

        assert!(held.0.is_some() && held.1.is_some());
        assert!(people.enter(&bob).is_none());
        drop(held.0);
        assert!(people.enter(&bob).is_none(), "ann is still there");
        drop(held.1);
        assert!(people.enter(&bob).is_some());
        assert!(People::at_most(None).enter(&bob).is_some());
    }
}
