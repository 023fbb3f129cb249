//! Hosts that get no tunnel though their certificates are good: those that are locked, and those that were removed.
//!
//! What the rules told last counts: while the authority is away, nobody is kept out who was not before, and a host that
//! joined a moment ago is named nowhere.

use model::Identity;
use model::api::cluster::{PolicySnapshot, RemovedHost};
use runtime::Clock;
use tunnel::Judge;

/// Who is kept out by these rules, and why.
pub(crate) fn judge(rules: &PolicySnapshot, clock: &Clock) -> Judge {
    // Roles say nothing about hosts.
    let locks = PolicySnapshot { roles: Vec::new(), ..rules.clone() };
    let (locks, removed, clock) =
        (policy::Rules::from_snapshot(&locks), rules.removed.clone(), clock.clone());
    std::sync::Arc::new(move |host| {
        if policy::lock_on(host, &locks, clock.now()).is_some() {
            return Some("it is locked".to_owned());
        }
        is_void(host, &removed).then(|| "it was removed from the cluster, and must join again".to_owned())
    })
}

/// The certificate is one that its host had when it was removed.
fn is_void(host: &Identity, removed: &[RemovedHost]) -> bool {
    removed.iter().any(|removed| host.host() == Some(&removed.id) && host.expires_at <= removed.until)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::resource::{Lock, LockTarget};
    use model::{NodeId, RequestId, Subject, SystemRole, Timestamp};

    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_000);

    fn host(n: u8, expires_at: Timestamp) -> Identity {
        Identity {
            subject: Subject::Host {
                id: NodeId::from_random([n; 16]),
                name: "web-1".parse().unwrap(),
                roles: [SystemRole::Node].into(),
            },
            cluster: "gate.example".parse().unwrap(),
            expires_at,
            login_ip: None,
            pin_ip: false,
            mfa_at: None,
            impersonator: None,
            disallow_reissue: false,
        }
    }

    fn lock(target: LockTarget) -> Lock {
        Lock {
            id: RequestId::from_random([1; 16]),
            target,
            message: String::new(),
            expires: Some(START + Duration::from_secs(60)),
            created_at: START,
            created_by: "ann".to_owned(),
        }
    }

    #[test]
    fn a_locked_host_is_kept_out_until_the_lock_ends_and_a_removed_one_with_the_certificate_it_had() {
        let week = START + Duration::from_secs(7 * 86_400);
        let node = |n| LockTarget { node: Some(NodeId::from_random([n; 16])), ..LockTarget::default() };
        let ann_there = LockTarget { user: Some("ann".parse().unwrap()), ..node(3) };
        let rules = PolicySnapshot {
            locks: vec![lock(node(1)), lock(ann_there)],
            removed: vec![RemovedHost { id: NodeId::from_random([2; 16]), until: week }],
            ..super::super::node::nothing()
        };
        let clock = Clock::manual(START);
        let judge = judge(&rules, &clock);

        for (who, word) in [
            (host(1, week), Some("locked")),
            (host(2, week), Some("removed")),
            (host(2, START), Some("removed")),
            (host(2, week + Duration::from_secs(1)), None),
            (host(3, week), None),
            (host(4, week), None),
        ] {
            let why = judge(&who);
            assert_eq!(why.is_some(), word.is_some(), "{who:?}: {why:?}");
            assert!(why.is_none_or(|why| why.contains(word.unwrap())));
        }
        clock.advance(Duration::from_secs(61));
        assert_eq!(judge(&host(1, week)), None);
    }
}
