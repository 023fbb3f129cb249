//! Which agents have a tunnel, as the proxies report: the only source of a node's liveness.
//!
//! In memory: after a restart every proxy has told within its reporting interval. A proxy that stays silent longer
//! than the limit has no tunnels; one whose connection has ended (its process may be gone, and its tunnels with it) has
//! a few seconds to be heard over another, which a living one does at once. A proxy's connection that went silent ends
//! within seconds too: it is asked for a sign of life more often than others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use model::api::nodes::TunnelState;
use model::resource::Liveness;
use model::{NodeId, Timestamp};

/// When a connection ended: told by whoever serves it, read by whoever counts on it.
pub(crate) type Ended = Arc<OnceLock<Timestamp>>;

/// Reports by proxy, and since when each agent has been as it is.
pub(crate) struct Tunnels {
    patience: Patience,
    state: Mutex<State>,
}

/// How long a report counts.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// Without another one.
    pub(crate) silent: Duration,
    /// After the connection that brought it has ended.
    pub(crate) lost: Duration,
}

#[derive(Default)]
struct State {
    proxies: BTreeMap<NodeId, Report>,
    since: BTreeMap<NodeId, (Liveness, Timestamp)>,
}

struct Report {
    at: Timestamp,
    connection: Ended,
    tunnels: BTreeMap<NodeId, TunnelState>,
}

impl Report {
    fn counts(&self, patience: Patience, now: Timestamp) -> bool {
        let held = self.connection.get().is_none_or(|ended| now.since(*ended) < patience.lost);
        held && now.since(self.at) < patience.silent
    }

    /// When the proxy was last known to be there: until its connection ended, unless it had gone silent before.
    fn seen(&self, patience: Patience) -> Timestamp {
        let ended = self.connection.get().filter(|ended| ended.since(self.at) < patience.silent);
        ended.map_or(self.at, |ended| self.at.max(*ended))
    }
}

impl State {
    fn liveness(&self, id: &NodeId, patience: Patience, now: Timestamp) -> Liveness {
        let fresh = |r: &&Report| r.counts(patience, now);
        if self.proxies.values().filter(fresh).any(|r| r.tunnels.contains_key(id)) {
            Liveness::Online
        } else {
            Liveness::Offline
        }
    }
}

impl Tunnels {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, state: Mutex::default() }
    }

    /// Takes a proxy's whole report, which came by `connection`.
    pub(crate) fn report(
        &self,
        proxy: &NodeId,
        tunnels: Vec<TunnelState>,
        connection: Ended,
        now: Timestamp,
    ) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let tunnels: BTreeMap<_, _> = tunnels.into_iter().map(|t| (t.id.clone(), t)).collect();
        let mut touched: Vec<NodeId> = tunnels.keys().cloned().collect();
        let before = state.proxies.insert(proxy.clone(), Report { at: now, connection, tunnels });
        touched.extend(before.into_iter().flat_map(|r| r.tunnels.into_keys()));
        for id in touched {
            let is = state.liveness(&id, self.patience, now);
            let since = state.since.entry(id).or_insert((is, now));
            if since.0 != is {
                *since = (is, now);
            }
        }
        // A proxy long gone is forgotten, and with it agents nobody has reported since.
        let keep = self.patience.silent * 100;
        state.proxies.retain(|_, r| now.since(r.at) < keep);
        let State { proxies, since } = &mut *state;
        since.retain(|id, (_, at)| {
            now.since(*at) < keep || proxies.values().any(|report| report.tunnels.contains_key(id))
        });
    }

    /// Whether a proxy is there: it was heard a moment ago.
    pub(crate) fn hears(&self, proxy: &NodeId, now: Timestamp) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.proxies.get(proxy).is_some_and(|report| report.counts(self.patience, now))
    }

    /// Whether an agent has a tunnel, and since when that is so as far as is known.
    pub(crate) fn of(&self, id: &NodeId, now: Timestamp) -> (Liveness, Option<Timestamp>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is = state.liveness(id, self.patience, now);
        let since = state.since.get(id).map(|(was, at)| match (*was, is) {
            // The proxy went silent: the tunnel was last seen with the last of it.
            (Liveness::Online, Liveness::Offline) => state.last_seen(id, self.patience).unwrap_or(*at),
            (Liveness::Online | Liveness::Offline, _) => *at,
        });
        (is, since)
    }

    /// Every agent with a tunnel.
    #[cfg(test)]
    pub(crate) fn online(&self, now: Timestamp) -> Vec<NodeId> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .since
            .keys()
            .filter(|id| state.liveness(id, self.patience, now) == Liveness::Online)
            .cloned()
            .collect()
    }
}

impl State {
    fn last_seen(&self, id: &NodeId, patience: Patience) -> Option<Timestamp> {
        self.proxies.values().filter(|r| r.tunnels.contains_key(id)).map(|r| r.seen(patience)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(id: &NodeId) -> TunnelState {
        TunnelState { id: id.clone(), name: "web-1".parse().unwrap(), carrier: "tls".into() }
    }

    fn tunnels() -> Tunnels {
        Tunnels::new(Patience { silent: Duration::from_secs(30), lost: Duration::from_secs(4) })
    }

    #[test]
    fn a_node_is_online_while_a_fresh_report_has_it() {
        let tunnels = tunnels();
        let (proxy, node) = (NodeId::from_random([1; 16]), NodeId::from_random([2; 16]));
        let start = Timestamp::from_secs(1_000);
        assert_eq!(tunnels.of(&node, start), (Liveness::Offline, None));

        tunnels.report(&proxy, vec![tunnel(&node)], Ended::default(), start);
        tunnels.report(&proxy, vec![tunnel(&node)], Ended::default(), start + Duration::from_secs(10));
        assert_eq!(tunnels.of(&node, start + Duration::from_secs(11)), (Liveness::Online, Some(start)));
        assert_eq!(tunnels.online(start + Duration::from_secs(11)), vec![node.clone()]);

        let cut = start + Duration::from_secs(12);
        tunnels.report(&proxy, vec![], Ended::default(), cut);
        assert_eq!(tunnels.of(&node, cut), (Liveness::Offline, Some(cut)));
    }

    #[test]
    fn agents_long_gone_are_forgotten() {
        let tunnels = tunnels();
        let proxy = NodeId::from_random([1; 16]);
        let start = Timestamp::from_secs(1_000);
        let node = |n: u8| NodeId::from_random([n; 16]);
        for n in 2..200 {
            tunnels.report(&proxy, vec![tunnel(&node(n))], Ended::default(), start);
        }

        tunnels.report(&proxy, vec![tunnel(&node(2))], Ended::default(), start + Duration::from_secs(3_000));

        assert!(tunnels.state.lock().unwrap().since.len() <= 2);
    }

    #[test]
    fn a_silent_proxy_has_no_tunnels_and_another_may_hold_them() {
        let tunnels = tunnels();
        let (a, b) = (NodeId::from_random([1; 16]), NodeId::from_random([3; 16]));
        let node = NodeId::from_random([2; 16]);
        let start = Timestamp::from_secs(1_000);
        tunnels.report(&a, vec![tunnel(&node)], Ended::default(), start);

        let later = start + Duration::from_secs(30);
        assert_eq!(tunnels.of(&node, later).0, Liveness::Offline);
        tunnels.report(&b, vec![tunnel(&node)], Ended::default(), later);
        assert_eq!(tunnels.of(&node, later).0, Liveness::Online);
    }

    #[test]
    fn a_proxy_whose_connection_ended_has_a_moment_to_be_heard_again() {
        let (proxy, node) = (NodeId::from_random([1; 16]), NodeId::from_random([2; 16]));
        let start = Timestamp::from_secs(1_000);
        let second = |n: u64| start + Duration::from_secs(n);
        for heard_again in [false, true] {
            let (tunnels, old) = (tunnels(), Ended::default());
            tunnels.report(&proxy, vec![tunnel(&node)], old.clone(), start);
            old.set(second(8)).unwrap();

            assert_eq!(tunnels.of(&node, second(11)), (Liveness::Online, Some(start)));
            if heard_again {
                tunnels.report(&proxy, vec![tunnel(&node)], Ended::default(), second(9));
            }

            let expected =
                if heard_again { (Liveness::Online, start) } else { (Liveness::Offline, second(8)) };
            assert_eq!(tunnels.of(&node, second(12)), (expected.0, Some(expected.1)));
        }
    }

    #[test]
    fn a_report_that_came_by_a_connection_already_ended_does_not_last() {
        let tunnels = tunnels();
        let (proxy, node) = (NodeId::from_random([1; 16]), NodeId::from_random([2; 16]));
        let (start, ended) = (Timestamp::from_secs(1_000), Ended::default());
        ended.set(start).unwrap();

        tunnels.report(&proxy, vec![tunnel(&node)], ended, start);

        assert_eq!(tunnels.of(&node, start + Duration::from_secs(4)).0, Liveness::Offline);
    }
}
