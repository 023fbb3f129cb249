//! The control plane: rules, conditions, the review of roles.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure is a failed test")]

mod common;

use common::*;
use model::resource::{ClusterConfig, Kind, Role, Verb};
use model::{Identity, Timestamp};
use policy::{Action, Ask, Object, Of, Rules, decide, may, review_role};
use serde_json::json;

const NOW: Timestamp = Timestamp::from_secs(0);

fn rules(roles: &[Role]) -> Rules {
    Rules::new(7, roles, &[], ClusterConfig::default())
}

fn api(who: &Identity, kind: Kind, verb: Verb, of: Of<'_>, rules: &Rules) -> bool {
    decide(&Ask { who, action: Action::Api { kind, verb, of }, from: None }, rules, NOW).is_ok()
}

fn own_recordings() -> Role {
    role(
        "own-recordings",
        json!({"allow": {"rules": [{"resources": ["session"], "verbs": ["list", "read"],
            "where": "contains(session.participants, user.metadata.name)"}]}}),
    )
}

#[test]
fn a_condition_is_asked_about_each_row() {
    let rules = rules(&[own_recordings()]);
    let ann = user("ann", &["own-recordings"]);
    let mine = Object::session(vec!["ann".parse().unwrap()]);
    let theirs = Object::session(vec!["bob".parse().unwrap()]);
    let unknown = Object::named("x");

    assert!(api(&ann, Kind::Session, Verb::List, Of::Any, &rules), "some row may be hers");
    assert!(api(&ann, Kind::Session, Verb::Read, Of::One(&mine), &rules));
    assert!(!api(&ann, Kind::Session, Verb::Read, Of::One(&theirs), &rules));
    assert!(!api(&ann, Kind::Session, Verb::Read, Of::One(&unknown), &rules), "not known, not granted");
    assert!(!api(&ann, Kind::Session, Verb::Delete, Of::One(&mine), &rules));
}

#[test]
fn a_denying_condition_denies_what_it_cannot_judge() {
    let all = role("all", json!({"allow": {"rules": [{"resources": ["*"], "verbs": ["*"]}]}}));
    let not_prod = role(
        "not-prod",
        json!({"deny": {"rules": [{"resources": ["node"], "verbs": ["*"],
            "where": "equals(resource.metadata.labels['env'], 'prod')"}]}}),
    );
    let rules = rules(&[all, not_prod]);
    let ann = user("ann", &["all", "not-prod"]);
    let labelled =
        |env: &str| Object { labels: Some([("env".to_owned(), env.to_owned())].into()), ..Object::default() };

    assert!(api(&ann, Kind::Node, Verb::Delete, Of::One(&labelled("dev")), &rules));
    assert!(!api(&ann, Kind::Node, Verb::Delete, Of::One(&labelled("prod")), &rules));
    assert!(!api(&ann, Kind::Node, Verb::Delete, Of::One(&Object::named("x")), &rules));
    assert!(api(&ann, Kind::Node, Verb::Delete, Of::Any, &rules));
}

#[test]
fn what_is_not_asked_about_again_is_decided_at_once() {
    let condition = |text: &str| json!([{"resources": ["event", "node"], "verbs": ["list"], "where": text}]);
    let (one, ann_only) = ("equals(resource.metadata.name, 'x')", "equals(user.metadata.name, 'ann')");
    let rules = rules(&[
        role("allow-one", json!({"allow": {"rules": condition(one)}})),
        role("allow-ann", json!({"allow": {"rules": condition(ann_only)}})),
        role("deny-one", json!({"deny": {"rules": condition(one)}})),
    ]);
    for (roles, node, event, why) in [
        (&["allow-one"][..], true, false, "of nodes some may be that one, and each is asked about"),
        (&["allow-ann"], true, true, "it is known who asks"),
        (&["allow-ann", "deny-one"], true, false, "what cannot be known denies"),
    ] {
        let ann = user("ann", roles);
        assert_eq!(api(&ann, Kind::Node, Verb::List, Of::Any, &rules), node, "{roles:?}: {why}");
        assert_eq!(api(&ann, Kind::Event, Verb::List, Of::Any, &rules), event, "{roles:?}: {why}");
    }
    assert!(!api(&user("bob", &["allow-ann"]), Kind::Event, Verb::List, Of::Any, &rules));
}

#[test]
fn other_names_of_kinds_and_verbs_are_understood() {
    let rules = rules(&[role(
        "r",
        json!({"allow": {"rules": [{"resources": ["ssh_session", "session_recording_config"], "verbs": ["readnosecrets"]}]}}),
    )]);
    let ann = user("ann", &["r"]);

    assert!(api(&ann, Kind::SessionTracker, Verb::Read, Of::Any, &rules));
    assert!(api(&ann, Kind::ClusterConfig, Verb::Read, Of::Any, &rules));
    assert!(!api(&ann, Kind::Session, Verb::Read, Of::Any, &rules));
}

#[test]
fn the_authoritys_own_host_has_the_whole_control_plane() {
    let rules = rules(&[]);
    for kind in Kind::ALL {
        for verb in Verb::ALL {
            assert!(api(&host(model::SystemRole::Auth), kind, verb, Of::Any, &rules));
            for other in [model::SystemRole::Proxy, model::SystemRole::Node, model::SystemRole::Bot] {
                assert!(!api(&host(other), kind, verb, Of::Any, &rules), "{other} {kind:?} {verb:?}");
            }
        }
    }
}

#[test]
fn what_one_may_do_is_listed_by_kind() {
    let rules = rules(&policy::presets::all());

    let auditor = may(&user("ada", &["auditor"]), &rules, NOW);

    assert_eq!(auditor.keys().collect::<Vec<_>>(), ["event", "own", "session", "session_tracker"]);
    assert_eq!(auditor["session"], ["list", "read"]);
}

#[test]
fn the_review_names_every_mistake_at_once() {
    let mut bad = role(
        "bad",
        json!({
            "options": {"max_session_ttl": "0s", "max_sessions": 0, "forward_agnet": true},
            "allow": {
                "logins": ["{{internal}}", "^($"],
                "node_label": {"*": "*"},
                "node_labels": {"*": "x", "env": "^)$"},
                "rules": [
                    {"resources": ["usr"], "verbs": ["list", "lst"]},
                    {"resources": [], "verbs": ["*"]},
                    {"resources": ["session"], "verbs": ["*"], "where": "drop tables"},
                ],
            },
        }),
    );
    bad.version = "v9".to_owned();
    bad.metadata.name = "@own".to_owned();
    bad.metadata.expires = Some(NOW);

    let errors = review_role(&bad).errors;

    for wanted in [
        "version: `v9`",
        "metadata.name: names beginning with `@`",
        "metadata.expires: a role does not end by itself",
        "spec.options.max_session_ttl",
        "spec.options.max_sessions",
        "`forward_agnet` is not known; did you mean `forward_agent`?",
        "`node_label` is not known; did you mean `node_labels`?",
        "spec.allow.logins: `{{internal}}` is not a template",
        "spec.allow.logins: `^($` is not a regular expression",
        "spec.allow.node_labels: the key `*`",
        "spec.allow.node_labels: `^)$`",
        "spec.allow.rules[0].resources: `usr` is not known; did you mean `user`?",
        "spec.allow.rules[0].verbs: `lst` is not known; did you mean `list`?",
        "spec.allow.rules[1]: needs resources and verbs",
        "`where: drop tables`",
    ] {
        assert!(errors.iter().any(|e| e.contains(wanted)), "{wanted} not in {errors:#?}");
    }
}

#[test]
fn the_review_refuses_conditions_about_what_a_kind_does_not_have() {
    let errors = |side: &str, kinds: &[&str], condition: &str| {
        let rule = json!({"resources": kinds, "verbs": ["*"], "where": condition});
        review_role(&role("r", json!({side: {"rules": [rule]}}))).errors
    };
    let name = "equals(resource.metadata.name, 'x')";
    let label = "!(equals('a', 'b') || equals(resource.metadata.labels['env'], 'prod'))";
    let participants = "contains(session.participants, user.metadata.name)";

    for (kinds, condition) in [
        (&["user", "role", "node", "token", "lock", "session", "ssh_session"][..], name),
        (&["role", "node", "token"], label),
        (&["session", "session_tracker"], participants),
        (&["*"], "contains(user.spec.roles, 'dev')"),
        (&["event", "cluster_config"], "equals(user.metadata.name, 'ann')"),
        (&["app"], label),
    ] {
        assert_eq!(errors("allow", kinds, condition), Vec::<String>::new(), "{kinds:?} {condition}");
    }
    for (kind, condition) in [
        ("event", name),
        ("cert_authority", name),
        ("session_recording_config", name),
        ("own", name),
        ("*", name),
        ("user", label),
        ("session", label),
        ("*", label),
        ("node", participants),
        ("*", participants),
    ] {
        for side in ["allow", "deny"] {
            let found = errors(side, &[kind], condition);
            assert!(!found.is_empty(), "{side} {kind} {condition}");
        }
    }
    assert_eq!(
        errors("deny", &["user", "node", "*"], label),
        [
            "spec.deny.rules[0]: its `where` looks at resource.metadata.labels, which `user` does not have: \
             name only kinds that have it (role, node, token)",
            "spec.deny.rules[0]: its `where` looks at resource.metadata.labels, which not every kind has: \
             name only kinds that have it (role, node, token)",
        ]
    );
}

#[test]
fn the_review_names_what_has_no_effect_yet() {
    let later = role(
        "later",
        json!({
            "options": {"require_session_mfa": true, "record_session": {"desktop": true}},
            "allow": {
                "app_labels": {"*": "*"}, "join_sessions": [],
                "rules": [{"resources": ["app", "node"], "verbs": ["rotate", "list"]}],
            },
        }),
    );

    let review = review_role(&later);

    assert!(review.errors.is_empty(), "{:?}", review.errors);
    assert_eq!(
        review.not_in_effect,
        [
            "spec.options.record_session.desktop",
            "spec.options.require_session_mfa",
            "spec.allow.app_labels",
            "spec.allow.join_sessions",
            "spec.allow.rules[0].resources.app",
            "spec.allow.rules[0].verbs.rotate",
        ]
    );
}
