//! What is wrong with a role, all of it, before it is kept; and what in it has no effect yet.
//!
//! A key we do not know is an error with the nearest known key; a key of the language that is not built yet is kept
//! and named.

use model::RoleName;
use model::resource::{Conditions, Kind, Role, RoleOptions, Rule, Verb};

use crate::ask::Fact;
use crate::predicate::Predicate;
use crate::rules::{GoodRole, canonical_kind};

/// What a look at a role found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Why it cannot be kept. Empty when it can.
    pub errors: Vec<String>,
    /// Keys and words that are kept but have no effect yet.
    pub not_in_effect: Vec<String>,
}

/// Options of the role language that are not built yet.
const LATER_OPTIONS: &[&str] = &[
    "cert_extensions",
    "cert_format",
    "create_db_user",
    "create_db_user_mode",
    "create_desktop_user",
    "create_host_user",
    "create_host_user_default_shell",
    "create_host_user_mode",
    "desktop_clipboard",
    "desktop_directory_sharing",
    "device_trust_mode",
    "enhanced_recording",
    "idp",
    "lock",
    "max_kubernetes_connections",
    "mfa_verification_interval",
    "request_access",
    "request_prompt",
    "require_session_mfa",
    "ssh_port_forwarding",
];

/// Conditions of the role language that are not built yet.
const LATER_CONDITIONS: &[&str] = &[
    "app_labels",
    "app_labels_expression",
    "aws_role_arns",
    "azure_identities",
    "cluster_labels",
    "cluster_labels_expression",
    "db_labels",
    "db_labels_expression",
    "db_names",
    "db_permissions",
    "db_roles",
    "db_service_labels",
    "db_service_labels_expression",
    "db_users",
    "desktop_groups",
    "gcp_service_accounts",
    "github_permissions",
    "group_labels",
    "group_labels_expression",
    "host_groups",
    "host_sudoers",
    "impersonate",
    "join_sessions",
    "kubernetes_groups",
    "kubernetes_labels",
    "kubernetes_labels_expression",
    "kubernetes_resources",
    "kubernetes_users",
    "mcp",
    "node_labels_expression",
    "request",
    "require_session_join",
    "review_requests",
    "spiffe",
    "windows_desktop_labels",
    "windows_desktop_labels_expression",
    "windows_desktop_logins",
    "workload_identity_labels",
    "workload_identity_labels_expression",
];

/// Kinds of resources of the role language that are not built yet.
const LATER_KINDS: &[&str] = &[
    "access_list",
    "access_request",
    "app",
    "app_server",
    "auth_connector",
    "auth_server",
    "billing",
    "bot",
    "cluster_alert",
    "cluster_name",
    "db",
    "db_server",
    "device",
    "github",
    "instance",
    "kube_cluster",
    "kube_server",
    "kube_service",
    "license",
    "login_rule",
    "namespace",
    "network_restrictions",
    "oidc",
    "plugin",
    "proxy",
    "remote_cluster",
    "saml",
    "security_report",
    "trusted_cluster",
    "tunnel",
    "usage_event",
    "web_session",
    "windows_desktop",
    "windows_desktop_service",
];

/// Verbs of the role language that are not built yet.
const LATER_VERBS: &[&str] = &["rotate", "use", "enroll", "create_enroll_token"];

const OPTIONS: &[&str] = &[
    "max_session_ttl",
    "forward_agent",
    "port_forwarding",
    "ssh_file_copy",
    "permit_x11_forwarding",
    "client_idle_timeout",
    "disconnect_expired_cert",
    "max_sessions",
    "max_connections",
    "pin_source_ip",
    "record_session",
];
const CONDITIONS: &[&str] = &["logins", "node_labels", "rules"];

/// Looks a role over.
#[must_use]
pub fn review_role(role: &Role) -> Review {
    let mut review = Review::default();
    review_head(role, &mut review);
    review_options(&role.spec.options, &mut review);
    review_side(&role.spec.allow, "allow", &mut review);
    review_side(&role.spec.deny, "deny", &mut review);
    if let Err(problems) = GoodRole::read(role) {
        review.errors.extend(problems);
    }
    review
}

fn review_head(role: &Role, review: &mut Review) {
    if !matches!(role.version.as_str(), "v3" | "v4" | "v5" | "v6" | "v7" | "v8") {
        review.errors.push(format!("version: `{}` is not one of v3, v4, v5, v6, v7, v8", role.version));
    }
    match role.metadata.name.parse::<RoleName>() {
        Ok(name) if name.as_str().starts_with('@') => {
            review.errors.push("metadata.name: names beginning with `@` belong to the system".to_owned());
        }
        Ok(_) => {}
        Err(error) => review.errors.push(format!("metadata.name: {error}")),
    }
    // A role that ended by itself would take what it denies along: nothing reads it, so nobody may rely on it.
    if role.metadata.expires.is_some() {
        review.errors.push(
            "metadata.expires: a role does not end by itself: leave it out, and take the role from its users or lock \
             it (mctl lock --role) when its time is over"
                .to_owned(),
        );
    }
    let allow = &role.spec.allow;
    if role.version == "v3" && allow.node_labels.is_empty() && !allow.logins.is_empty() {
        review.not_in_effect.push(
            "v3's node_labels for everything when none are given (write node_labels: {'*': '*'})".to_owned(),
        );
    }
}

fn review_options(options: &RoleOptions, review: &mut Review) {
    for (name, span) in
        [("max_session_ttl", options.max_session_ttl), ("client_idle_timeout", options.client_idle_timeout)]
    {
        if span.is_some_and(|s| s.0.is_zero()) {
            review.errors.push(format!("spec.options.{name}: must be longer than nothing"));
        }
    }
    for (name, limit) in
        [("max_sessions", options.max_sessions), ("max_connections", options.max_connections)]
    {
        if limit == Some(0) {
            review.errors.push(format!("spec.options.{name}: must be at least 1"));
        }
    }
    if options.record_session.as_ref().is_some_and(|r| r.desktop.is_some()) {
        review.not_in_effect.push("spec.options.record_session.desktop".to_owned());
    }
    for key in options.later.keys() {
        review_key("spec.options", key, OPTIONS, LATER_OPTIONS, review);
    }
}

fn review_side(side: &Conditions, name: &str, review: &mut Review) {
    let place = format!("spec.{name}");
    for key in side.later.keys() {
        review_key(&place, key, CONDITIONS, LATER_CONDITIONS, review);
    }
    let kinds: Vec<&str> = Kind::ALL.iter().map(|k| k.as_str()).collect();
    let verbs: Vec<&str> = Verb::ALL.iter().map(|v| v.as_str()).collect();
    for (n, rule) in side.rules.iter().enumerate() {
        if rule.resources.is_empty() || rule.verbs.is_empty() {
            review.errors.push(format!("{place}.rules[{n}]: needs resources and verbs"));
        }
        for kind in rule.resources.iter().filter(|k| k.as_str() != "*") {
            let known = canonical_kind(kind);
            if !kinds.contains(&known) {
                review_key(&format!("{place}.rules[{n}].resources"), kind, &kinds, LATER_KINDS, review);
            }
        }
        for verb in rule.verbs.iter().filter(|v| !matches!(v.as_str(), "*" | "readnosecrets")) {
            if !verbs.contains(&verb.as_str()) {
                review_key(&format!("{place}.rules[{n}].verbs"), verb, &verbs, LATER_VERBS, review);
            }
        }
        review_where(&format!("{place}.rules[{n}]"), rule, review);
    }
}

/// A condition about what a kind does not have could never be decided.
fn review_where(place: &str, rule: &Rule, review: &mut Review) {
    // What does not parse is named where the role is read.
    let Some(Ok(condition)) = rule.condition.as_deref().map(str::trim).map(Predicate::parse) else { return };
    for fact in condition.facts() {
        let (with, without): (Vec<Kind>, Vec<Kind>) =
            Kind::ALL.into_iter().partition(|kind| Fact::of(*kind).contains(&fact));
        let lacks =
            |word: &str| word == "*" || without.iter().any(|kind| kind.as_str() == canonical_kind(word));
        let with: Vec<&str> = with.iter().map(|kind| kind.as_str()).collect();
        for word in rule.resources.iter().filter(|word| lacks(word)) {
            let who =
                if word == "*" { "not every kind has".to_owned() } else { format!("`{word}` does not have") };
            review.errors.push(format!(
                "{place}: its `where` looks at {}, which {who}: name only kinds that have it ({})",
                fact.as_str(),
                with.join(", ")
            ));
        }
    }
}

/// A word that is none of ours: not in effect yet, or an error.
fn review_key(place: &str, word: &str, known: &[&str], later: &[&str], review: &mut Review) {
    if later.contains(&word) {
        review.not_in_effect.push(format!("{place}.{word}"));
        return;
    }
    let nearest =
        known.iter().chain(later).min_by_key(|k| distance(word, k)).filter(|k| distance(word, k) <= 3);
    let hint = nearest.map_or(String::new(), |k| format!("; did you mean `{k}`?"));
    let shown: String = word.chars().take(64).flat_map(char::escape_default).collect();
    review.errors.push(format!("{place}: `{shown}` is not known{hint}"));
}

/// How many letters must be changed, added or dropped (Levenshtein), over the first 64.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.iter().zip(row.iter().skip(1)) {
            let cost = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
            diagonal = *above;
            left = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
