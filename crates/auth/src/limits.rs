//! Rate limits by address: token buckets, kept for the busiest addresses only.
//!
//! Bound: [`MAX_ADDRESSES`] buckets; when full, the ones that are full again are dropped first. IPv6 counts by /64.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use model::Timestamp;
use runtime::places::household;

/// The most addresses remembered at a time.
const MAX_ADDRESSES: usize = 16_384;

/// A bucket for each address: `burst` at once, then one each `refill_ms`.
pub(crate) struct Limiter {
    burst: i64,
    refill_ms: i64,
    buckets: Mutex<BTreeMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens_ms: i64,
    at: Timestamp,
}

impl Limiter {
    pub(crate) fn new(burst: u16, per_minute: u16) -> Self {
        let refill_ms = 60_000 / i64::from(per_minute.max(1));
        Self { burst: i64::from(burst), refill_ms, buckets: Mutex::default() }
    }

    /// Takes one from the bucket of `from`; false when it is empty.
    pub(crate) fn take(&self, from: IpAddr, now: Timestamp) -> bool {
        let full = self.burst * self.refill_ms;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let from = household(from);
        if buckets.len() >= MAX_ADDRESSES && !buckets.contains_key(&from) {
            buckets.retain(|_, b| level(b, full, now) < full);
            if buckets.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let bucket = buckets.entry(from).or_insert(Bucket { tokens_ms: full, at: now });
        let has = level(bucket, full, now);
        let enough = has >= self.refill_ms;
        *bucket =
            Bucket { tokens_ms: if enough { has - self.refill_ms } else { has }, at: now.max(bucket.at) };
        enough
    }

    /// Whether [`Limiter::take`] would give one now.
    pub(crate) fn has(&self, from: IpAddr, now: Timestamp) -> bool {
        let full = self.burst * self.refill_ms;
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.get(&household(from)).is_none_or(|bucket| level(bucket, full, now) >= self.refill_ms)
    }
}

fn level(bucket: &Bucket, full: i64, now: Timestamp) -> i64 {
    let gained = i64::try_from(now.since(bucket.at).as_millis()).unwrap_or(full);
    bucket.tokens_ms.saturating_add(gained).min(full)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_address_runs_dry_alone_and_fills_again() {
        let limiter = Limiter::new(3, 60);
        let now = Timestamp::from_secs(100);
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());

        assert!((0..3).all(|_| limiter.take(a, now)));
        assert!(!limiter.take(a, now));
        assert!(limiter.take(b, now));
        assert!(limiter.take(a, now + Duration::from_secs(1)));
        assert!(!limiter.take(a, now + Duration::from_secs(1)));
    }

    #[test]
    fn one_network_of_ipv6_is_one_address() {
        let limiter = Limiter::new(1, 1);
        let now = Timestamp::from_secs(100);

        assert!(limiter.take("2001:db8::1".parse().unwrap(), now));
        assert!(!limiter.take("2001:db8::2".parse().unwrap(), now));
        assert!(limiter.take("2001:db8:0:1::1".parse().unwrap(), now));
    }
}
