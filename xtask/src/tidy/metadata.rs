//! `cargo metadata`, reduced to what the rules ask: packages, direct arrows, and what is reachable.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::shell::{cargo, output};

/// How a dependency is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Normal,
    Build,
    Dev,
}

/// One package of the tree.
pub(super) struct Package {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) licence: Option<String>,
    pub(super) manifest: PathBuf,
    /// Declared dependencies by package name.
    pub(super) declared: Vec<(String, Role)>,
    /// Library and executable roots.
    pub(super) roots: Vec<PathBuf>,
}

/// The tree.
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
    members: BTreeSet<String>,
    arrows: BTreeMap<String, Vec<String>>,
}

impl Metadata {
    pub(super) fn load() -> Result<Self> {
        let bytes = output(cargo().args([
            "metadata",
            "--format-version",
            "1",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ]))?;
        let value: Value = serde_json::from_slice(&bytes).context("cargo metadata")?;
        let packages = list(&value, "packages").map(package).collect();
        let members =
            list(&value, "workspace_members").filter_map(|m| m.as_str().map(str::to_owned)).collect();
        let arrows = value.get("resolve").into_iter().flat_map(|r| list(r, "nodes")).map(node).collect();
        Ok(Self { packages, members, arrows })
    }

    /// The workspace's own packages.
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|p| self.members.contains(&p.id))
    }

    /// Names of everything reachable from `name` by normal arrows.
    pub(super) fn reach(&self, name: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut queue: Vec<&str> =
            self.packages.iter().filter(|p| p.name == name).map(|p| p.id.as_str()).collect();
        while let Some(id) = queue.pop() {
            for next in self.arrows.get(id).into_iter().flatten() {
                if seen.insert(next.as_str()) {
                    queue.push(next);
                }
            }
        }
        self.packages.iter().filter(|p| seen.contains(p.id.as_str())).map(|p| p.name.clone()).collect()
    }
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn package(value: &Value) -> Package {
    let is_root = |target: &&Value| {
        list(target, "kind").any(|k| matches!(k.as_str(), Some("lib" | "bin" | "rlib" | "proc-macro")))
    };
    Package {
        id: text(value, "id"),
        name: text(value, "name"),
        licence: value.get("license").and_then(Value::as_str).map(str::to_owned),
        manifest: PathBuf::from(text(value, "manifest_path")),
        declared: list(value, "dependencies").map(|d| (text(d, "name"), role(d))).collect(),
        roots: list(value, "targets").filter(is_root).map(|t| PathBuf::from(text(t, "src_path"))).collect(),
    }
}

fn role(dependency: &Value) -> Role {
    match dependency.get("kind").and_then(Value::as_str) {
        Some("dev") => Role::Dev,
        Some("build") => Role::Build,
        Some(_) | None => Role::Normal,
    }
}

fn node(value: &Value) -> (String, Vec<String>) {
    let normal = |d: &&Value| list(d, "dep_kinds").any(|k| k.get("kind").is_none_or(Value::is_null));
    let next = list(value, "deps").filter(normal).map(|d| text(d, "pkg")).collect();
    (text(value, "id"), next)
}
