//! The rules in force: an immutable snapshot, read once and prepared for asking.
//!
//! A role that cannot be read (it was written by another build, or by hand) is not skipped: whoever holds it is
//! denied everything until it is mended, because what it meant to deny is not known.

use std::collections::{BTreeMap, BTreeSet};

use model::RoleName;
use model::api::cluster::PolicySnapshot;
use model::resource::{ClusterConfig, Conditions, Lock, Role, RoleOptions, Rule};

use crate::matcher::{Pattern, Selector};
use crate::options::Options;
use crate::predicate::Predicate;

/// Roles, locks and settings at one revision.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    revision: u64,
    roles: BTreeMap<RoleName, ReadRole>,
    locks: Vec<Lock>,
    config: ClusterConfig,
}

/// One role, prepared.
#[derive(Clone, Debug)]
pub(crate) enum ReadRole {
    Good(Box<GoodRole>),
    Broken,
}

#[derive(Clone, Debug)]
pub(crate) struct GoodRole {
    pub(crate) allow: Side,
    pub(crate) deny: Side,
    pub(crate) options: RoleOptions,
}

/// Allow or deny.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    pub(crate) logins: Vec<Pattern>,
    pub(crate) nodes: Selector,
    pub(crate) rules: Vec<ReadRule>,
}

/// One rule about the control plane.
#[derive(Clone, Debug)]
pub(crate) struct ReadRule {
    resources: BTreeSet<String>,
    verbs: BTreeSet<String>,
    pub(crate) condition: Option<Predicate>,
}

impl ReadRule {
    /// True when the rule is about this, its condition aside.
    pub(crate) fn is_about(&self, kind: model::resource::Kind, verb: model::resource::Verb) -> bool {
        let has = |set: &BTreeSet<String>, word: &str| set.contains("*") || set.contains(word);
        has(&self.resources, kind.as_str()) && has(&self.verbs, verb.as_str())
    }
}

impl Rules {
    /// Prepares a snapshot.
    #[must_use]
    pub fn from_snapshot(snapshot: &PolicySnapshot) -> Self {
        Self::new(snapshot.revision, &snapshot.roles, &snapshot.locks, snapshot.config.clone())
    }

    /// Prepares roles, locks and settings.
    #[must_use]
    pub fn new(revision: u64, roles: &[Role], locks: &[Lock], config: ClusterConfig) -> Self {
        let mut read: BTreeMap<RoleName, ReadRole> = BTreeMap::new();
        for role in roles {
            let Ok(name) = role.metadata.name.parse::<RoleName>() else { continue };
            let made = match GoodRole::read(role) {
                Ok(good) => ReadRole::Good(Box::new(good)),
                Err(_) => ReadRole::Broken,
            };
            // Two roles of one name: neither can be believed.
            let made = if read.contains_key(&name) { ReadRole::Broken } else { made };
            read.insert(name, made);
        }
        Self { revision, roles: read, locks: locks.to_vec(), config }
    }

    /// The store's revision they were taken at.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The cluster's settings.
    #[must_use]
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// Options of these roles, merged: what a new certificate and its sessions get.
    #[must_use]
    pub fn options<'a>(&self, roles: impl IntoIterator<Item = &'a RoleName>) -> Options {
        let good: Vec<&RoleOptions> = roles
            .into_iter()
            .filter_map(|name| match self.roles.get(name)? {
                ReadRole::Good(role) => Some(&role.options),
                ReadRole::Broken => None,
            })
            .collect();
        Options::merge(good.iter().copied(), &self.config)
    }

    pub(crate) fn locks(&self) -> &[Lock] {
        &self.locks
    }

    pub(crate) fn role(&self, name: &RoleName) -> Option<&ReadRole> {
        self.roles.get(name)
    }
}

impl GoodRole {
    /// Reads a role, or says everything that is wrong with it.
    pub(crate) fn read(role: &Role) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let allow = Side::read(&role.spec.allow, "allow", &mut problems);
        let deny = Side::read(&role.spec.deny, "deny", &mut problems);
        if problems.is_empty() {
            Ok(Self { allow, deny, options: role.spec.options.clone() })
        } else {
            Err(problems)
        }
    }
}

impl Side {
    fn read(from: &Conditions, side: &str, problems: &mut Vec<String>) -> Self {
        let mut note =
            |place: &str, problem: String| problems.push(format!("spec.{side}.{place}: {problem}"));
        let mut logins = Vec::new();
        for login in &from.logins {
            match Pattern::parse(login) {
                Ok(pattern) => logins.push(pattern),
                Err(problem) => note("logins", problem),
            }
        }
        let nodes = Selector::parse(&from.node_labels).unwrap_or_else(|found| {
            found.into_iter().for_each(|problem| note("node_labels", problem));
            Selector::default()
        });
        let mut rules = Vec::new();
        for rule in &from.rules {
            match ReadRule::read(rule) {
                Ok(rule) => rules.push(rule),
                Err(problem) => note("rules", problem),
            }
        }
        Self { logins, nodes, rules }
    }
}

impl ReadRule {
    fn read(rule: &Rule) -> Result<Self, String> {
        let condition = match rule.condition.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(text) => Some(Predicate::parse(text)?),
        };
        let verbs = rule.verbs.iter().map(|v| if v == "readnosecrets" { "read" } else { v }.to_owned());
        let resources = rule.resources.iter().map(|r| canonical_kind(r).to_owned());
        Ok(Self { resources: resources.collect(), verbs: verbs.collect(), condition })
    }
}

/// Other names in use for kinds of ours.
pub(crate) fn canonical_kind(name: &str) -> &str {
    match name {
        "ssh_session" => "session_tracker",
        "cluster_auth_preference" | "cluster_networking_config" | "session_recording_config" => {
            "cluster_config"
        }
        other => other,
    }
}
