//! The floor table as data: which room may use which, and why not the others.
//!
//! Arrows only run down; sideways is forbidden. `model` and, for rooms that are not pure, `runtime` are the ground
//! and stand in no list. ARCHITECTURE.md shows the same table to people.

use std::collections::BTreeSet;

use super::findings::Findings;
use super::metadata::{Metadata, Role};

/// A room, its floor, and what it may use beside the ground.
pub(super) struct Room {
    pub(super) name: &'static str,
    pub(super) floor: u8,
    pub(super) pure: bool,
    pub(super) may_use: &'static [&'static str],
    /// What an arrow that is not allowed would break.
    pub(super) wall: &'static str,
}

pub(super) const ROOMS: &[Room] = &[
    Room {
        name: "moongate",
        floor: 6,
        pure: false,
        may_use: &[
            "audit", "auth", "client", "config", "node", "pki", "policy", "proxy", "session", "ssh", "store",
            "tunnel", "web", "wire",
        ],
        wall: "the executable wires rooms together and may use every one but the test kit",
    },
    Room {
        name: "node",
        floor: 5,
        pure: false,
        may_use: &["ssh", "session", "policy", "wire"],
        wall: "the room that forks stays small: certificates, audit and the API reach it through ssh and session",
    },
    Room {
        name: "session",
        floor: 4,
        pure: false,
        may_use: &["policy", "audit", "client"],
        wall: "the hall knows permits and recordings, not protocols or processes",
    },
    Room {
        name: "proxy",
        floor: 4,
        pure: false,
        may_use: &["wire", "tunnel", "client", "ssh", "pki"],
        wall: "the proxy authenticates and never authorizes: no role, no recording, no store",
    },
    Room {
        name: "web",
        floor: 4,
        pure: false,
        may_use: &["client", "tunnel", "ssh", "audit"],
        wall: "a browser gets what the published API gives, by the same path as any client",
    },
    Room {
        name: "auth",
        floor: 3,
        pure: false,
        may_use: &["policy", "pki", "audit", "store", "wire"],
        wall: "the authority answers questions; it dials nobody and parses no terminal",
    },
    Room {
        name: "tunnel",
        floor: 3,
        pure: false,
        may_use: &["wire", "pki"],
        wall: "a tunnel carries bytes and knows neither sessions nor the API",
    },
    Room {
        name: "ssh",
        floor: 3,
        pure: false,
        may_use: &["wire", "pki"],
        wall: "SSH runs over any byte stream; ptys, users and policy live above",
    },
    Room {
        name: "client",
        floor: 3,
        pure: false,
        may_use: &["pki", "wire"],
        wall: "the way to the authority must work where nothing else does",
    },
    Room {
        name: "store",
        floor: 2,
        pure: false,
        may_use: &[],
        wall: "the store keeps bytes with revisions and knows no noun's meaning",
    },
    Room {
        name: "policy",
        floor: 2,
        pure: true,
        may_use: &[],
        wall: "a decision is a pure function of its arguments",
    },
    Room {
        name: "pki",
        floor: 2,
        pure: true,
        may_use: &[],
        wall: "certificates are values; nobody dials to make one",
    },
    Room {
        name: "audit",
        floor: 2,
        pure: true,
        may_use: &[],
        wall: "a recording can be verified offline, by anyone",
    },
    Room { name: "wire", floor: 2, pure: true, may_use: &[], wall: "a parser has no world to change" },
    Room {
        name: "config",
        floor: 2,
        pure: true,
        may_use: &[],
        wall: "a file becomes a value that cannot be wrong",
    },
    Room { name: "model", floor: 1, pure: true, may_use: &[], wall: "nouns stand on nothing but serde" },
    Room { name: "runtime", floor: 1, pure: false, may_use: &[], wall: "the ground knows no domain word" },
];

/// Crates beside the house: tests and tools. No room may use them but for tests.
const TOOLS: &[(&str, &[&str])] = &[
    ("testkit", &["model", "runtime", "policy", "pki", "audit", "wire", "store", "client", "tunnel", "ssh"]),
    ("e2e", &["runtime", "model", "wire", "client", "ssh"]),
    (
        "corpora",
        &["model", "policy", "pki", "audit", "wire", "config", "node", "ssh", "tunnel", "client", "web"],
    ),
    ("reference", &["model", "config", "audit", "policy"]),
    ("xtask", &[]),
];

/// What a pure room's whole tree must not contain.
const IMPURE: &[(&str, &str)] = &[
    ("tokio", "a pure room has no runtime"),
    ("mio", "a pure room has no sockets"),
    ("hyper", "a pure room speaks to nobody"),
    ("rusqlite", "a pure room keeps nothing"),
    ("rustls", "a pure room holds no connection"),
    ("nix", "a pure room asks the system nothing"),
    ("tracing", "a pure room returns what it has to say"),
];

/// What no library may declare directly.
const LIBRARIES: &[(&str, &str)] = &[
    ("anyhow", "libraries have one error enum each, so that callers can act on it"),
    ("clap", "the command line is the executable's"),
    ("indicatif", "progress is the executable's"),
];

pub(super) fn room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|r| r.name == name)
}

pub(super) fn check(metadata: &Metadata, findings: &mut Findings) {
    let members: BTreeSet<&str> = metadata.members().map(|p| p.name.as_str()).collect();
    for package in metadata.members() {
        for (used, role) in &package.declared {
            if members.contains(used.as_str())
                && let Some(why) = forbidden(&package.name, used, *role)
            {
                findings.error("floors", format!("{} -> {used} ⇒ {why}", package.name));
            }
            if *role != Role::Dev && package.name != "moongate" {
                banned(LIBRARIES, &package.name, used, findings);
            }
        }
        if room(&package.name).is_none() && !TOOLS.iter().any(|(t, _)| *t == package.name) {
            findings
                .error("floors", format!("{} ⇒ a crate needs a floor: name its wall first", package.name));
        }
        if room(&package.name).is_some_and(|r| r.pure) {
            for used in metadata.reach(&package.name) {
                for (name, why) in IMPURE.iter().filter(|(n, _)| *n == used) {
                    findings.error("floors", format!("{} ~> {name} ⇒ {why}", package.name));
                }
            }
        }
    }
}

fn banned(table: &[(&str, &str)], package: &str, used: &str, findings: &mut Findings) {
    if room(package).is_none() {
        return;
    }
    for (name, why) in table.iter().filter(|(n, _)| *n == used) {
        findings.error("floors", format!("{package} -> {name} ⇒ {why}"));
    }
}

/// Why `from` may not use `to`, if it may not.
fn forbidden(from: &str, to: &str, role: Role) -> Option<&'static str> {
    if let Some((_, allowed)) = TOOLS.iter().find(|(t, _)| *t == from) {
        return (!allowed.contains(&to)).then_some("this tool has no need of that room in its list");
    }
    let room = room(from)?;
    if TOOLS.iter().any(|(t, _)| *t == to) {
        let test_only = role == Role::Dev && to == "testkit";
        return (!test_only).then_some("test kits and tools stay out of the product");
    }
    let ground = to == "model" || (to == "runtime" && !room.pure);
    let below = ROOMS.iter().any(|r| r.name == to && r.floor < room.floor);
    if ground || room.may_use.contains(&to) || (role == Role::Dev && below) {
        return None;
    }
    Some(room.wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allowed_arrow_runs_down() {
        for room in ROOMS {
            for used in room.may_use {
                let below = super::room(used).unwrap();

                assert!(below.floor < room.floor, "{} -> {used}", room.name);
            }
        }
    }

    #[test]
    fn an_undeclared_arrow_is_refused_with_its_reason() {
        assert!(forbidden("proxy", "policy", Role::Normal).unwrap().contains("never authorizes"));
        assert!(forbidden("wire", "runtime", Role::Normal).is_some());
        assert!(forbidden("auth", "testkit", Role::Normal).is_some());
    }

    #[test]
    fn the_ground_and_the_listed_arrows_are_allowed() {
        assert_eq!(forbidden("proxy", "wire", Role::Normal), None);
        assert_eq!(forbidden("auth", "runtime", Role::Normal), None);
        assert_eq!(forbidden("auth", "testkit", Role::Dev), None);
    }
}
