//! Properties over generated roles, and a slow reading of the rules written a second time.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::collections::BTreeMap;

use common::*;
use model::resource::{ClusterConfig, Conditions, Kind, OneOrMany, Role, Rule, Verb};
use model::{Identity, Timestamp};
use policy::{Action, Ask, Of, Rules, SshAction, Target, decide, explain};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

const NOW: Timestamp = Timestamp::from_secs(0);
const LOGINS: &[&str] = &["root", "ann", "dev"];

fn conditions() -> impl Strategy<Value = Conditions> {
    let logins = proptest::collection::vec(
        select(vec!["root", "ann", "dev", "*", "{{internal.logins}}", "{{internal.none}}", "r*t"]),
        0..3,
    );
    let values = proptest::collection::vec(select(vec!["a", "b", "*"]), 0..3);
    let labels = prop_oneof![
        1 => Just(BTreeMap::from([("*".to_owned(), OneOrMany::One("*".to_owned()))])),
        5 => proptest::collection::btree_map(
            select(vec!["x", "y"]).prop_map(str::to_owned),
            values.prop_map(|v| OneOrMany::Many(v.into_iter().map(str::to_owned).collect())),
            0..3,
        ),
    ];
    let rule = (
        proptest::collection::vec(select(vec!["user", "session", "node", "*"]), 1..3),
        proptest::collection::vec(select(vec!["list", "read", "delete", "*"]), 1..3),
    )
        .prop_map(|(resources, verbs)| Rule {
            resources: resources.into_iter().map(str::to_owned).collect(),
            verbs: verbs.into_iter().map(str::to_owned).collect(),
            condition: None,
        });
    (logins, labels, proptest::collection::vec(rule, 0..2)).prop_map(|(logins, node_labels, rules)| {
        Conditions {
            logins: logins.into_iter().map(str::to_owned).collect(),
            node_labels,
            rules,
            ..Conditions::default()
        }
    })
}

fn roles() -> impl Strategy<Value = Vec<Role>> {
    let sides = (conditions(), proptest::option::weighted(0.3, conditions()));
    proptest::collection::vec(sides, 0..4).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(n, (allow, deny))| {
                let mut made = role(&format!("r{n}"), json!({}));
                made.spec.allow = allow;
                made.spec.deny = deny.unwrap_or_default();
                made
            })
            .collect()
    })
}

fn target() -> impl Strategy<Value = Target> {
    proptest::collection::btree_map(
        select(vec!["x", "y", "z"]).prop_map(str::to_owned),
        select(vec!["a", "b", "c"]).prop_map(str::to_owned),
        0..3,
    )
    .prop_map(|labels| Target { labels, ..node("n", &[]) })
}

/// Who holds every one of these roles.
fn holder(roles: &[Role]) -> Identity {
    let names: Vec<&str> = roles.iter().map(|r| r.metadata.name.as_str()).collect();
    user_with("ann", &names, LOGINS)
}

fn ssh(roles: &[Role], who: &Identity, target: &Target, login: &str) -> bool {
    let rules = Rules::new(1, roles, &[], ClusterConfig::default());
    let login = login.parse().unwrap();
    let action = Action::Ssh { target, login: &login, what: SshAction::Shell };
    decide(&Ask { who, action, from: None }, &rules, NOW).is_ok()
}

fn api(roles: &[Role], who: &Identity, kind: Kind, verb: Verb) -> bool {
    let rules = Rules::new(1, roles, &[], ClusterConfig::default());
    decide(&Ask { who, action: Action::Api { kind, verb, of: Of::Any }, from: None }, &rules, NOW).is_ok()
}

/// The rules read again, slowly and plainly, without anything of the room's own.
mod reference {
    use super::*;

    fn value(pattern: &str, text: &str) -> bool {
        match pattern {
            "*" => true,
            "{{internal.logins}}" => LOGINS.contains(&text),
            "{{internal.none}}" => false,
            "r*t" => text.len() >= 2 && text.starts_with('r') && text.ends_with('t'),
            plain => plain == text,
        }
    }

    fn nodes(side: &Conditions, target: &Target) -> bool {
        if side.node_labels.len() == 1 && side.node_labels.contains_key("*") {
            return true;
        }
        let mut matched = 0;
        for (key, wanted) in &side.node_labels {
            for (have, has) in &target.labels {
                if have == key && wanted.as_slice().iter().any(|w| value(w, has)) {
                    matched += 1;
                }
            }
        }
        !side.node_labels.is_empty() && matched == side.node_labels.len()
    }

    fn login(side: &Conditions, login: &str) -> bool {
        side.logins.iter().any(|p| value(p, login))
    }

    pub(super) fn ssh(roles: &[Role], target: &Target, name: &str) -> bool {
        let denied = roles.iter().any(|r| nodes(&r.spec.deny, target) || login(&r.spec.deny, name));
        let allowed = roles.iter().any(|r| nodes(&r.spec.allow, target) && login(&r.spec.allow, name));
        allowed && !denied
    }

    fn rule(side: &Conditions, kind: &str, verb: &str) -> bool {
        let has = |list: &[String], word: &str| list.iter().any(|w| w == "*" || w == word);
        side.rules.iter().any(|r| has(&r.resources, kind) && has(&r.verbs, verb))
    }

    pub(super) fn api(roles: &[Role], kind: Kind, verb: Verb) -> bool {
        let (k, v) = (kind.as_str(), verb.as_str());
        let own = k == "own";
        !roles.iter().any(|r| rule(&r.spec.deny, k, v))
            && (own || roles.iter().any(|r| rule(&r.spec.allow, k, v)))
    }
}

proptest! {
    #[test]
    fn the_slow_reading_agrees(roles in roles(), target in target(), login in select(LOGINS.to_vec())) {
        let who = holder(&roles);
        prop_assert_eq!(ssh(&roles, &who, &target, login), reference::ssh(&roles, &target, login));
        for kind in Kind::ALL {
            for verb in Verb::ALL {
                prop_assert_eq!(api(&roles, &who, kind, verb), reference::api(&roles, kind, verb));
            }
        }
    }

    #[test]
    fn the_order_of_roles_never_matters(roles in roles(), target in target(), login in select(LOGINS.to_vec()), turn in 0usize..4) {
        let who = holder(&roles);
        let mut turned = roles.clone();
        turned.rotate_left(turn.min(roles.len()));
        turned.reverse();
        let ask = |roles: &[Role]| {
            let rules = Rules::new(1, roles, &[], ClusterConfig::default());
            let login = login.parse().unwrap();
            let action = Action::Ssh { target: &target, login: &login, what: SshAction::Shell };
            decide(&Ask { who: &who, action, from: None }, &rules, NOW)
        };
        prop_assert_eq!(ask(&roles), ask(&turned));
    }

    #[test]
    fn adding_a_deny_never_grants(roles in roles(), deny in conditions(), target in target(), login in select(LOGINS.to_vec())) {
        let mut more = role("zz", json!({}));
        more.spec.deny = deny;
        let with: Vec<Role> = roles.iter().cloned().chain([more]).collect();
        let who = holder(&with);
        if ssh(&with, &who, &target, login) {
            prop_assert!(ssh(&roles, &who, &target, login));
        }
        for kind in Kind::ALL {
            for verb in Verb::ALL {
                if api(&with, &who, kind, verb) {
                    prop_assert!(api(&roles, &who, kind, verb));
                }
            }
        }
    }

    #[test]
    fn taking_a_role_away_never_grants_unless_it_denied(roles in roles(), target in target(), login in select(LOGINS.to_vec())) {
        for n in 0..roles.len() {
            let mut fewer = roles.clone();
            let gone = fewer.remove(n);
            let denied_nothing = gone.spec.deny == Conditions::default();
            if denied_nothing && ssh(&fewer, &holder(&fewer), &target, login) {
                prop_assert!(ssh(&roles, &holder(&roles), &target, login));
            }
        }
    }

    #[test]
    fn a_yes_for_all_roles_is_a_yes_for_one(roles in roles(), target in target(), login in select(LOGINS.to_vec())) {
        // Labels of one role never combine with logins of another.
        if ssh(&roles, &holder(&roles), &target, login) {
            let alone = |r: &Role| ssh(std::slice::from_ref(r), &holder(std::slice::from_ref(r)), &target, login);
            prop_assert!(roles.iter().any(alone));
        }
    }

    #[test]
    fn explaining_decides_the_same(roles in roles(), target in target(), login in select(LOGINS.to_vec())) {
        let who = holder(&roles);
        let rules = Rules::new(1, &roles, &[], ClusterConfig::default());
        let login = login.parse().unwrap();
        let ask = Ask { who: &who, action: Action::Ssh { target: &target, login: &login, what: SshAction::Exec }, from: None };
        prop_assert_eq!(explain(&ask, &rules, NOW).answer, decide(&ask, &rules, NOW));
    }
}
