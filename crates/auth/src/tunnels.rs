//! Which agents have a tunnel, as the proxies report: the only source of a node's liveness.
//!
//! In memory: after a restart every proxy has told within its reporting interval. A proxy that stays silent longer
//! than the limit has no tunnels.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::api::nodes::TunnelState;
use model::resource::Liveness;
use model::{NodeId, Timestamp};

/// Reports by proxy, and since when each agent has been as it is.
pub(crate) struct Tunnels {
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    proxies: BTreeMap<NodeId, Report>,
    since: BTreeMap<NodeId, (Liveness, Timestamp)>,
}

struct Report {
    at: Timestamp,
    tunnels: BTreeMap<NodeId, TunnelState>,
}

impl State {
    fn liveness(&self, id: &NodeId, limit: Duration, now: Timestamp) -> Liveness {
        let fresh = |r: &&Report| now.since(r.at) < limit;
        if self.proxies.values().filter(fresh).any(|r| r.tunnels.contains_key(id)) {
            Liveness::Online
        } else {
            Liveness::Offline
        }
    }
}

impl Tunnels {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// Takes a proxy's whole report.
    pub(crate) fn report(&self, proxy: &NodeId, tunnels: Vec<TunnelState>, now: Timestamp) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let tunnels: BTreeMap<_, _> = tunnels.into_iter().map(|t| (t.id.clone(), t)).collect();
        let mut touched: Vec<NodeId> = tunnels.keys().cloned().collect();
        let before = state.proxies.insert(proxy.clone(), Report { at: now, tunnels });
        touched.extend(before.into_iter().flat_map(|r| r.tunnels.into_keys()));
        for id in touched {
            let is = state.liveness(&id, self.limit, now);
            let since = state.since.entry(id).or_insert((is, now));
            if since.0 != is {
                *since = (is, now);
            }
        }
        // A proxy long gone is forgotten, and with it agents nobody has reported since.
        let keep = self.limit * 100;
        state.proxies.retain(|_, r| now.since(r.at) < keep);
        let State { proxies, since } = &mut *state;
        since.retain(|id, (_, at)| {
            now.since(*at) < keep || proxies.values().any(|report| report.tunnels.contains_key(id))
        });
    }

    /// Whether an agent has a tunnel, and since when that is so as far as is known.
    pub(crate) fn of(&self, id: &NodeId, now: Timestamp) -> (Liveness, Option<Timestamp>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is = state.liveness(id, self.limit, now);
        let since = state.since.get(id).map(|(was, at)| match (*was, is) {
            // The proxy went silent: the tunnel was last seen with its last report.
            (Liveness::Online, Liveness::Offline) => state.last_seen(id).unwrap_or(*at),
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
            .filter(|id| state.liveness(id, self.limit, now) == Liveness::Online)
            .cloned()
            .collect()
    }
}

impl State {
    fn last_seen(&self, id: &NodeId) -> Option<Timestamp> {
        self.proxies.values().filter(|r| r.tunnels.contains_key(id)).map(|r| r.at).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(id: &NodeId) -> TunnelState {
        TunnelState { id: id.clone(), name: "web-1".parse().unwrap(), carrier: "tls".into() }
    }

    #[test]
    fn a_node_is_online_while_a_fresh_report_has_it() {
        let tunnels = Tunnels::new(Duration::from_secs(30));
        let (proxy, node) = (NodeId::from_random([1; 16]), NodeId::from_random([2; 16]));
        let start = Timestamp::from_secs(1_000);
        assert_eq!(tunnels.of(&node, start), (Liveness::Offline, None));

        tunnels.report(&proxy, vec![tunnel(&node)], start);
        tunnels.report(&proxy, vec![tunnel(&node)], start + Duration::from_secs(10));
        assert_eq!(tunnels.of(&node, start + Duration::from_secs(11)), (Liveness::Online, Some(start)));
        assert_eq!(tunnels.online(start + Duration::from_secs(11)), vec![node.clone()]);

        let cut = start + Duration::from_secs(12);
        tunnels.report(&proxy, vec![], cut);
        assert_eq!(tunnels.of(&node, cut), (Liveness::Offline, Some(cut)));
    }

    #[test]
    fn agents_long_gone_are_forgotten() {
        let tunnels = Tunnels::new(Duration::from_secs(30));
        let proxy = NodeId::from_random([1; 16]);
        let start = Timestamp::from_secs(1_000);
        let node = |n: u8| NodeId::from_random([n; 16]);
        for n in 2..200 {
            tunnels.report(&proxy, vec![tunnel(&node(n))], start);
        }

        tunnels.report(&proxy, vec![tunnel(&node(2))], start + Duration::from_secs(3_000));

        assert!(tunnels.state.lock().unwrap().since.len() <= 2);
    }

    #[test]
    fn a_silent_proxy_has_no_tunnels_and_another_may_hold_them() {
        let tunnels = Tunnels::new(Duration::from_secs(30));
        let (a, b) = (NodeId::from_random([1; 16]), NodeId::from_random([3; 16]));
        let node = NodeId::from_random([2; 16]);
        let start = Timestamp::from_secs(1_000);
        tunnels.report(&a, vec![tunnel(&node)], start);

        let later = start + Duration::from_secs(30);
        assert_eq!(tunnels.of(&node, later).0, Liveness::Offline);
        tunnels.report(&b, vec![tunnel(&node)], later);
        assert_eq!(tunnels.of(&node, later).0, Liveness::Online);
    }
}
