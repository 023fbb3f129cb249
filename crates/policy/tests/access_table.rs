//! The access table: who may do what, by preset, checked in and compared. Changing a line of it is a decision.
//!
//! `UPDATE=1 cargo test -p policy --test access_table` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "reads a checked-in file; a failure is a failed test"
)]

mod common;

use std::fmt::Write as _;

use common::*;
use model::api::{Asker, endpoints};
use model::resource::{ClusterConfig, Kind, Verb};
use model::{Identity, Timestamp};
use policy::{Action, Ask, Of, Rules, SshAction, decide, presets};

const NOW: Timestamp = Timestamp::from_secs(0);

fn who() -> Vec<(&'static str, Identity)> {
    vec![
        ("nobody", user("nobody", &[])),
        ("access", user("ann", &["access"])),
        ("editor", user("ed", &["editor"])),
        ("auditor", user("ada", &["auditor"])),
        ("vendor", user("vic", &["vendor"])),
        ("admin", user("adam", &["admin"])),
        ("vendor+auditor", user("sly", &["vendor", "auditor"])),
        ("node host", host(model::SystemRole::Node)),
        ("proxy host", host(model::SystemRole::Proxy)),
        ("auth host", host(model::SystemRole::Auth)),
    ]
}

fn table() -> String {
    let rules = Rules::new(1, &presets::all(), &[], ClusterConfig::default());
    let people = who();
    let mut out = String::from(
        "# Who may do what. Made by crates/policy/tests/access_table.rs; UPDATE=1 writes it anew.\n",
    );
    let head: Vec<String> = people.iter().map(|(name, _)| format!("{name:>15}")).collect();
    writeln!(out, "{:<24}{}", "", head.concat()).unwrap();
    let mut line = |what: String, may: Vec<bool>| {
        let cells: Vec<String> = may.iter().map(|m| format!("{:>15}", if *m { "✔" } else { "✘" })).collect();
        writeln!(out, "{what:<24}{}", cells.concat()).unwrap();
    };
    for kind in Kind::ALL {
        for verb in Verb::ALL {
            let action = Action::Api { kind, verb, of: Of::Any };
            let may = people.iter().map(|(_, id)| {
                decide(&Ask { who: id, action: action.clone(), from: None }, &rules, NOW).is_ok()
            });
            line(format!("{} {}", kind.as_str(), verb.as_str()), may.collect());
        }
    }
    let (target, login) = (node("web-1", &[("env", "prod")]), "root".parse().unwrap());
    for what in SshAction::ALL {
        let action = Action::Ssh { target: &target, login: &login, what };
        let may = people
            .iter()
            .map(|(_, id)| decide(&Ask { who: id, action: action.clone(), from: None }, &rules, NOW).is_ok());
        line(format!("ssh {}", what.as_str()), may.collect());
    }
    out
}

#[test]
fn the_table_is_as_checked_in() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/access-table.txt");
    let now = table();
    if std::env::var("UPDATE").is_ok() {
        std::fs::write(path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    for (new, old) in now.lines().zip(kept.lines()) {
        assert_eq!(new, old, "access changed");
    }
    assert_eq!(now, kept, "access changed");
}

#[test]
fn the_table_covers_every_kind_verb_and_action() {
    let table = table();
    for kind in Kind::ALL {
        for verb in Verb::ALL {
            let start = format!("{} {} ", kind.as_str(), verb.as_str());
            assert_eq!(table.lines().filter(|l| l.starts_with(&start)).count(), 1, "{start}");
        }
    }
    for what in SshAction::ALL {
        assert!(table.contains(&format!("ssh {} ", what.as_str())), "{what:?}");
    }
}

#[test]
fn every_endpoint_that_is_granted_is_in_the_table() {
    let table = table();
    for endpoint in endpoints() {
        if let Asker::Granted(kind, verb) = endpoint.asker {
            let start = format!("{} {} ", kind.as_str(), verb.as_str());
            assert!(table.lines().any(|l| l.starts_with(&start)), "{}: {start}", endpoint.name);
        }
    }
}

#[test]
fn a_vendor_cannot_learn_that_recordings_exist() {
    let rules = Rules::new(1, &presets::all(), &[], ClusterConfig::default());
    let may = policy::may(&user("vic", &["vendor"]), &rules, NOW);

    assert_eq!(may.keys().collect::<Vec<_>>(), ["own"], "{may:?}");
}
