//! Sessions: labels, logins, denies, locks, options.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure is a failed test")]

mod common;

use std::time::Duration;

use common::*;
use model::resource::{ClusterConfig, Lock, LockTarget, Notice, RecordingMode, Role, Strictness};
use model::time::Span;
use model::{Identity, RequestId, Timestamp};
use policy::{
    Action, Ask, Denial, Permit, Rules, SshAction, Target, decide, explain, lock_on, logins, logins_at,
    visible,
};
use serde_json::json;

const NOW: Timestamp = Timestamp::from_secs(0);

fn rules(roles: &[Role]) -> Rules {
    Rules::new(7, roles, &[], ClusterConfig::default())
}

fn ssh(
    who: &Identity,
    target: &Target,
    login: &str,
    what: SshAction,
    rules: &Rules,
) -> Result<Permit, Denial> {
    let login = login.parse().unwrap();
    decide(&Ask { who, action: Action::Ssh { target, login: &login, what }, from: None }, rules, NOW)
}

fn shell(who: &Identity, target: &Target, login: &str, rules: &Rules) -> Result<(), Denial> {
    ssh(who, target, login, SshAction::Shell, rules).map(|_| ())
}

fn dev() -> Role {
    role("dev", json!({"allow": {"logins": ["dev"], "node_labels": {"env": "dev"}}}))
}

fn ops() -> Role {
    role("ops", json!({"allow": {"logins": ["root"], "node_labels": {"env": ["prod", "stage"]}}}))
}

#[test]
fn labels_of_one_role_never_combine_with_logins_of_another() {
    let rules = rules(&[dev(), ops()]);
    let both = user("ann", &["dev", "ops"]);
    let (dev_box, prod_box) = (node("a", &[("env", "dev")]), node("bb", &[("env", "prod")]));

    assert_eq!(shell(&both, &dev_box, "dev", &rules), Ok(()));
    assert_eq!(shell(&both, &prod_box, "root", &rules), Ok(()));
    assert_eq!(shell(&both, &dev_box, "root", &rules), Err(Denial::NotGranted));
    assert_eq!(shell(&both, &prod_box, "dev", &rules), Err(Denial::NotGranted));
}

#[test]
fn an_empty_list_grants_nothing() {
    let target = node("a", &[("env", "dev")]);
    for allow in [
        json!({"logins": ["dev"]}),
        json!({"logins": ["dev"], "node_labels": {}}),
        json!({"logins": [], "node_labels": {"*": "*"}}),
        json!({"logins": ["dev"], "node_labels": {"env": []}}),
        json!({"node_labels": {"*": "*"}}),
    ] {
        let rules = rules(&[role("dev", json!({"allow": allow}))]);
        assert_eq!(shell(&user("ann", &["dev"]), &target, "dev", &rules), Err(Denial::NotGranted), "{allow}");
    }
}

#[test]
fn every_key_must_match_one_of_its_values() {
    let allow = json!({"logins": ["dev"], "node_labels": {"env": ["dev", "test-*"], "gpu": "*", "site": "^eu-[0-9]$"}});
    let rules = rules(&[role("dev", json!({"allow": allow}))]);
    let ann = user("ann", &["dev"]);
    let on = |labels: &[(&str, &str)]| shell(&ann, &node("a", labels), "dev", &rules).is_ok();

    assert!(on(&[("env", "dev"), ("gpu", "h100"), ("site", "eu-1")]));
    assert!(on(&[("env", "test-7"), ("gpu", ""), ("site", "eu-2"), ("more", "x")]));
    assert!(!on(&[("env", "prod"), ("gpu", "h100"), ("site", "eu-1")]));
    assert!(!on(&[("env", "dev"), ("site", "eu-1")]));
    assert!(!on(&[("env", "dev"), ("gpu", "h100"), ("site", "eu-10")]));
    assert!(!on(&[]));
}

#[test]
fn the_lone_wildcard_matches_nodes_without_labels_too() {
    let rules = rules(&[role("all", json!({"allow": {"logins": ["dev"], "node_labels": {"*": "*"}}}))]);

    assert_eq!(shell(&user("ann", &["all"]), &node("a", &[]), "dev", &rules), Ok(()));
}

#[test]
fn deny_beats_allow_by_label_or_by_login() {
    let open = || role("open", json!({"allow": {"logins": ["root", "dev"], "node_labels": {"*": "*"}}}));
    let deny = |deny: serde_json::Value| role("no", json!({"deny": deny}));
    let ann = user("ann", &["open", "no"]);
    let (dev_box, prod_box) = (node("a", &[("env", "dev")]), node("bb", &[("env", "prod")]));

    let by_label = rules(&[open(), deny(json!({"node_labels": {"env": "prod"}}))]);
    assert_eq!(shell(&ann, &prod_box, "dev", &by_label), Err(Denial::DeniedBy("no".parse().unwrap())));
    assert_eq!(shell(&ann, &dev_box, "dev", &by_label), Ok(()));

    let by_login = rules(&[open(), deny(json!({"logins": ["ro*"]}))]);
    assert_eq!(shell(&ann, &dev_box, "root", &by_login), Err(Denial::DeniedBy("no".parse().unwrap())));
    assert_eq!(shell(&ann, &dev_box, "dev", &by_login), Ok(()));
}

#[test]
fn templates_take_the_users_traits_as_text() {
    let rules = rules(&[role(
        "own",
        json!({"allow": {"logins": ["{{internal.logins}}", "svc-{{internal.logins}}"], "node_labels": {"*": "*"}}}),
    )]);
    let star = user_with("eve", &["own"], &["a"]);
    let model::Subject::User { name, roles, mut traits, mut logins } = star.subject.clone() else {
        unreachable!()
    };
    traits.insert("logins".to_owned(), vec!["*".to_owned(), "a".to_owned()]);
    logins.insert("root".parse().unwrap());
    logins.insert("svc-a".parse().unwrap());
    let eve = Identity { subject: model::Subject::User { name, roles, traits, logins }, ..star };
    let target = node("a", &[]);

    assert_eq!(shell(&eve, &target, "a", &rules), Ok(()));
    assert_eq!(shell(&eve, &target, "svc-a", &rules), Ok(()));
    assert_eq!(shell(&eve, &target, "root", &rules), Err(Denial::NotGranted), "a trait is no wildcard");
}

#[test]
fn a_login_must_be_in_the_certificate() {
    let rules = rules(&[role("all", json!({"allow": {"logins": ["*"], "node_labels": {"*": "*"}}}))]);
    let ann = user_with("ann", &["all"], &["ann"]);
    let target = node("a", &[]);

    assert_eq!(shell(&ann, &target, "ann", &rules), Ok(()));
    assert_eq!(shell(&ann, &target, "root", &rules), Err(Denial::NotInCertificate("root".parse().unwrap())));
}

#[test]
fn certificates_bound_time_and_place() {
    let rules = rules(&[dev()]);
    let target = node("a", &[("env", "dev")]);
    let login = "dev".parse().unwrap();
    let ask = |who: &Identity, from: Option<&str>, now| {
        let action = Action::Ssh { target: &target, login: &login, what: SshAction::Exec };
        decide(&Ask { who, action, from: from.map(|f| f.parse().unwrap()) }, &rules, now).map(|_| ())
    };
    let ann = user("ann", &["dev"]);
    let pinned = Identity { pin_ip: true, login_ip: Some("192.0.2.7".parse().unwrap()), ..ann.clone() };
    let lost = Identity { pin_ip: true, login_ip: None, ..ann.clone() };

    assert_eq!(ask(&ann, None, Timestamp::from_secs(3599)), Ok(()));
    assert_eq!(ask(&ann, None, Timestamp::from_secs(3600)), Err(Denial::Expired(Timestamp::from_secs(3600))));
    assert_eq!(ask(&pinned, Some("192.0.2.7"), NOW), Ok(()));
    assert_eq!(ask(&pinned, Some("::ffff:192.0.2.7"), NOW), Ok(()));
    assert_eq!(ask(&pinned, Some("192.0.2.8"), NOW), Err(Denial::OtherAddress));
    assert_eq!(ask(&pinned, None, NOW), Err(Denial::OtherAddress));
    assert_eq!(ask(&lost, None, NOW), Err(Denial::OtherAddress));
}

fn lock(target: LockTarget, expires: Option<Timestamp>) -> Lock {
    Lock {
        id: RequestId::from_random([1; 16]),
        target,
        message: String::new(),
        expires,
        created_at: NOW,
        created_by: "ed".to_owned(),
    }
}

#[test]
fn locks_stop_whoever_they_name_until_they_end() {
    let target = node("a", &[("env", "dev")]);
    let ann = user("ann", &["dev"]);
    let with = |named: LockTarget, expires| {
        let rules = Rules::new(1, &[dev()], &[lock(named, expires)], ClusterConfig::default());
        (shell(&ann, &target, "dev", &rules).is_err(), lock_on(&ann, &rules, NOW).is_some())
    };
    let by = LockTarget::default;

    assert_eq!(with(LockTarget { user: Some("ann".parse().unwrap()), ..by() }, None), (true, true));
    assert_eq!(with(LockTarget { user: Some("bob".parse().unwrap()), ..by() }, None), (false, false));
    assert_eq!(with(LockTarget { role: Some("dev".parse().unwrap()), ..by() }, None), (true, true));
    assert_eq!(with(LockTarget { login: Some("dev".parse().unwrap()), ..by() }, None), (true, false));
    assert_eq!(with(LockTarget { node: Some(target.id.clone()), ..by() }, None), (true, false));
    let both =
        LockTarget { user: Some("ann".parse().unwrap()), login: Some("root".parse().unwrap()), ..by() };
    assert_eq!(with(both, None), (false, false), "every field must match");
    assert_eq!(with(by(), None), (false, false), "nothing named, nobody stopped");
    let ended = Some(NOW);
    assert_eq!(with(LockTarget { user: Some("ann".parse().unwrap()), ..by() }, ended), (false, false));
}

#[test]
fn a_locked_host_is_stopped() {
    let auth = host(model::SystemRole::Auth);
    let named = LockTarget { node: auth.host().cloned(), ..LockTarget::default() };
    let rules = Rules::new(1, &[], &[lock(named, None)], ClusterConfig::default());

    assert!(lock_on(&auth, &rules, NOW).is_some());
}

#[test]
fn hosts_open_no_sessions() {
    let rules = rules(&policy::presets::all());
    let target = node("a", &[]);
    for role in model::SystemRole::ALL {
        assert_eq!(shell(&host(role), &target, "root", &rules), Err(Denial::NotForHosts), "{role}");
    }
}

#[test]
fn channels_follow_the_options() {
    let with = |options: serde_json::Value, more: &[Role]| {
        let base = role(
            "base",
            json!({"options": options, "allow": {"logins": ["dev"], "node_labels": {"*": "*"}}}),
        );
        let names: Vec<&str> =
            ["base"].into_iter().chain(more.iter().map(|r| r.metadata.name.as_str())).collect();
        let ann = user("ann", &names);
        let rules = rules(&[&[base], more].concat());
        SshAction::ALL.map(|what| ssh(&ann, &node("a", &[]), "dev", what, &rules).is_ok())
    };
    // shell exec file_copy forward_local forward_remote agent x11
    assert_eq!(with(json!({}), &[]), [true, true, true, true, true, false, false]);
    assert_eq!(
        with(
            json!({"forward_agent": true, "permit_x11_forwarding": true, "port_forwarding": false, "ssh_file_copy": false}),
            &[]
        ),
        [true, true, false, false, false, true, true]
    );
    let strict = role("strict", json!({"options": {"ssh_file_copy": false, "port_forwarding": false}}));
    let loose = role("loose", json!({"options": {"ssh_file_copy": true, "port_forwarding": true}}));
    let merged = with(json!({}), &[strict, loose]);
    assert_eq!(merged, [true, true, false, true, true, false, false], "copy needs all, ports need one");
}

#[test]
fn obligations_are_merged_to_the_strictest() {
    let a = role(
        "a",
        json!({
            "options": {"max_session_ttl": "8h", "client_idle_timeout": "1h", "max_sessions": 10,
                        "record_session": {"default": "best_effort", "notice": "banner"}},
            "allow": {"logins": ["dev"], "node_labels": {"*": "*"}},
        }),
    );
    let b = role(
        "b",
        json!({"options": {"max_session_ttl": "12h", "client_idle_timeout": "30m", "max_sessions": 20,
                           "disconnect_expired_cert": true, "pin_source_ip": true,
                           "record_session": {"ssh": "strict", "default": "best_effort", "keystrokes": true}}}),
    );
    let config = ClusterConfig {
        client_idle_timeout: Some(Span(Duration::from_secs(600))),
        session_recording: RecordingMode::NodeSync,
        ..ClusterConfig::default()
    };
    let rules = Rules::new(42, &[a, b], &[], config);
    let ann = user("ann", &["a", "b"]);

    let permit = ssh(&ann, &node("a", &[]), "dev", SshAction::Shell, &rules).unwrap();
    let obligations = permit.obligations();
    let options = rules.options([&"a".parse().unwrap(), &"b".parse().unwrap()]);

    assert_eq!(permit.revision(), 42);
    assert_eq!(permit.granted_by().as_str(), "a");
    assert_eq!(obligations.idle_limit, Some(Duration::from_secs(600)));
    assert_eq!(obligations.max_sessions, Some(10));
    assert_eq!(obligations.ends_at, Some(ann.expires_at));
    assert_eq!(obligations.recording.mode, RecordingMode::NodeSync);
    assert_eq!(obligations.recording.strictness, Strictness::Strict);
    assert_eq!(obligations.recording.notice, Notice::Banner);
    assert!(obligations.recording.keystrokes);
    assert_eq!(options.max_session_ttl, Duration::from_secs(8 * 3600));
    assert!(options.pin_source_ip);
}

#[test]
fn the_loudest_notice_wins_whatever_the_order_and_nothing_is_told_of_nothing() {
    let with = |name: &str, record: serde_json::Value| {
        role(
            name,
            json!({"options": {"record_session": record}, "allow": {"logins": ["dev"], "node_labels": {"*": "*"}}}),
        )
    };
    let known = [
        with("silent", json!({"notice": "silent"})),
        with("banner", json!({"notice": "banner"})),
        with("consent", json!({"notice": "consent"})),
        with("keys", json!({"keystrokes": true})),
        role("plain", json!({})),
    ];
    let told = |mode: RecordingMode, held: &[&str]| {
        let config = ClusterConfig { session_recording: mode, ..ClusterConfig::default() };
        let rules = Rules::new(1, &known, &[], config);
        let held: Vec<_> = held.iter().map(|r| r.parse().unwrap()).collect();
        rules.options(&held).recording.notice
    };
    for (held, wanted) in [
        (&[][..], Notice::Silent),
        (&["plain"], Notice::Silent),
        (&["keys"], Notice::Silent),
        (&["silent"], Notice::Silent),
        (&["banner"], Notice::Banner),
        (&["consent"], Notice::Consent),
        (&["plain", "banner"], Notice::Banner),
        (&["silent", "banner"], Notice::Banner),
        (&["silent", "consent"], Notice::Consent),
        (&["banner", "consent"], Notice::Consent),
        (&["silent", "plain", "keys"], Notice::Silent),
        (&["silent", "banner", "consent", "plain"], Notice::Consent),
    ] {
        let backwards: Vec<&str> = held.iter().rev().copied().collect();
        for mode in
            [RecordingMode::Node, RecordingMode::NodeSync, RecordingMode::Proxy, RecordingMode::ProxySync]
        {
            assert_eq!(told(mode, held), wanted, "{held:?}");
            assert_eq!(told(mode, &backwards), wanted, "{backwards:?}");
        }
        assert_eq!(told(RecordingMode::Off, held), Notice::Silent, "{held:?}, nothing recorded");
    }
}

#[test]
fn the_most_careful_mode_wins_and_a_role_without_a_word_keeps_to_the_clusters() {
    use RecordingMode as Mode;
    let with = |name: &str, mode: &str| {
        role(name, json!({"options": {"record_session": {"mode": mode, "notice": "banner"}}}))
    };
    let known =
        [with("off", "off"), with("node", "node"), with("sync", "node-sync"), role("plain", json!({}))];
    for (cluster, held, wanted) in [
        (Mode::Node, &[][..], Mode::Node),
        (Mode::Node, &["plain"], Mode::Node),
        (Mode::Node, &["off"], Mode::Off),
        (Mode::Node, &["off", "plain"], Mode::Node),
        (Mode::Node, &["off", "node"], Mode::Node),
        (Mode::Node, &["off", "sync"], Mode::NodeSync),
        (Mode::Node, &["plain", "sync"], Mode::NodeSync),
        (Mode::NodeSync, &["node"], Mode::Node),
        (Mode::NodeSync, &["node", "plain"], Mode::NodeSync),
        (Mode::NodeSync, &["off"], Mode::Off),
        (Mode::Off, &[], Mode::Off),
        (Mode::Off, &["plain"], Mode::Off),
        (Mode::Off, &["off", "node"], Mode::Node),
        (Mode::Off, &["plain", "sync"], Mode::NodeSync),
        (Mode::Proxy, &["node"], Mode::Proxy),
        (Mode::Proxy, &["sync"], Mode::NodeSync),
        (Mode::ProxySync, &["plain", "off"], Mode::ProxySync),
    ] {
        let config = ClusterConfig { session_recording: cluster, ..ClusterConfig::default() };
        let rules = Rules::new(1, &known, &[], config);
        let told = |held: Vec<&str>| {
            let held: Vec<_> = held.iter().map(|r| r.parse().unwrap()).collect();
            rules.options(&held).recording
        };
        let recording = told(held.to_vec());
        assert_eq!(recording.mode, wanted, "{cluster:?}, {held:?}");
        assert_eq!(told(held.iter().rev().copied().collect()), recording, "{cluster:?}, {held:?} backwards");
        if wanted == Mode::Off {
            assert_eq!(recording.notice, Notice::Silent, "{cluster:?}, {held:?}: nothing is told of nothing");
        }
    }
}

#[test]
fn without_any_option_the_defaults_hold() {
    let rules = rules(&[dev()]);
    let permit =
        ssh(&user("ann", &["dev"]), &node("a", &[("env", "dev")]), "dev", SshAction::Shell, &rules).unwrap();
    let obligations = permit.obligations();

    assert_eq!(obligations.idle_limit, None);
    assert_eq!(obligations.ends_at, None);
    assert_eq!(obligations.recording.strictness, Strictness::BestEffort);
    assert_eq!(obligations.recording.notice, Notice::Silent);
    assert_eq!(rules.options([]).max_session_ttl, Duration::from_secs(30 * 3600));
}

#[test]
fn a_role_that_cannot_be_read_denies_everything() {
    let broken = role("odd", json!({"deny": {"node_labels": {"env": "^($"}}}));
    let rules = rules(&[dev(), broken]);
    let target = node("a", &[("env", "dev")]);

    assert_eq!(shell(&user("ann", &["dev"]), &target, "dev", &rules), Ok(()));
    assert_eq!(
        shell(&user("ann", &["dev", "odd"]), &target, "dev", &rules),
        Err(Denial::BrokenRole("odd".parse().unwrap()))
    );
}

#[test]
fn a_role_that_is_gone_grants_nothing() {
    let target = node("a", &[("env", "dev")]);
    assert_eq!(shell(&user("ann", &["dev"]), &target, "dev", &rules(&[])), Err(Denial::NotGranted));
}

#[test]
fn a_permit_is_asked_again_when_the_rules_change() {
    let target = node("a", &[("env", "dev")]);
    let ann = user("ann", &["dev"]);
    let permit = ssh(&ann, &target, "dev", SshAction::Shell, &rules(&[dev()])).unwrap();
    let locked = Rules::new(
        8,
        &[dev()],
        &[lock(LockTarget { user: Some("ann".parse().unwrap()), ..LockTarget::default() }, None)],
        ClusterConfig::default(),
    );

    assert!(permit.again(&rules(&[dev()]), NOW).is_ok());
    assert!(matches!(permit.again(&locked, NOW), Err(Denial::Locked(_))));
    assert_eq!(permit.again(&rules(&[]), NOW).unwrap_err(), Denial::NotGranted);
    assert_eq!(
        permit.also(SshAction::AgentForward, &rules(&[dev()]), NOW).unwrap_err(),
        Denial::ChannelOff("forwarding the agent")
    );
}

#[test]
fn logins_for_certificates_come_from_roles_and_traits() {
    let rules = rules(&[
        role("own", json!({"allow": {"logins": ["{{internal.logins}}", "fixed", "*", "gl*b"]}})),
        role("no", json!({"deny": {"logins": ["root"]}})),
    ]);
    let traits: model::identity::Traits =
        [("logins".to_owned(), vec!["root".to_owned(), "ann".to_owned(), "not a name".to_owned()])].into();
    let names = |roles: &[&str]| -> Vec<String> {
        let roles = roles.iter().map(|r| r.parse().unwrap()).collect();
        logins(&roles, &traits, &rules).iter().map(ToString::to_string).collect()
    };

    assert_eq!(names(&["own"]), ["ann", "fixed", "root"]);
    assert_eq!(names(&["own", "no"]), ["ann", "fixed"]);
    assert!(names(&[]).is_empty());
}

#[test]
fn lists_show_what_can_be_reached() {
    let rules = rules(&[
        dev(),
        ops(),
        role("lister", json!({"allow": {"rules": [{"resources": ["node"], "verbs": ["list"]}]}})),
        role(
            "some",
            json!({"allow": {"rules": [{"resources": ["node"], "verbs": ["list"],
                "where": "equals(resource.metadata.labels[\"env\"], \"dev\")"}]}}),
        ),
    ]);
    let (dev_box, prod_box) = (node("a", &[("env", "dev")]), node("bb", &[("env", "prod")]));
    let sees = |roles: &[&str]| {
        let who = user("ann", roles);
        [&dev_box, &prod_box].map(|n| visible(&who, n, &rules, NOW))
    };

    assert_eq!(sees(&["dev"]), [true, false]);
    assert_eq!(sees(&["dev", "ops"]), [true, true]);
    assert_eq!(sees(&["lister"]), [true, true]);
    assert_eq!(sees(&["some"]), [true, false]);
    assert_eq!(sees(&[]), [false, false]);
    let names = logins_at(&user("ann", &["dev", "ops"]), &prod_box, &rules, NOW);
    assert_eq!(names, ["root".parse().unwrap()]);
}

#[test]
fn an_explanation_gives_the_same_answer_with_its_steps() {
    let rules = rules(&[dev(), role("no", json!({"deny": {"node_labels": {"env": "prod"}}}))]);
    let ann = user("ann", &["dev", "no", "gone"]);
    let login = "dev".parse().unwrap();
    for (target, end) in [
        (node("a", &[("env", "dev")]), "granted by role `dev`"),
        (node("bb", &[("env", "prod")]), "denied: role `no` denies it"),
        (node("ccc", &[]), "denied: no role grants it"),
    ] {
        let ask = Ask {
            who: &ann,
            action: Action::Ssh { target: &target, login: &login, what: SshAction::Shell },
            from: None,
        };
        let explained = explain(&ask, &rules, NOW);
        assert_eq!(explained.answer, decide(&ask, &rules, NOW));
        assert_eq!(explained.notes.last().unwrap(), end, "{:?}", explained.notes);
        assert!(explained.notes.iter().any(|n| n == "role `gone` does not exist any more"));
    }
}
