//! `mctl get`, `create`, `rm`, `lock`: resources as YAML in Teleport's shape.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use client::Client;
use model::api::locks::{CreateLock, DeleteLock, ListLocks};
use model::api::nodes::{DeleteNode, ListNodes};
use model::api::roles::{DeleteRole, GetRole, ListRoles, PutRole};
use model::api::tokens::{DeleteToken, ListTokens};
use model::api::users::{CreateUser, DeleteUser, GetUser, ListUsers, UpdateUser};
use model::resource::{LockTarget, Role, User};
use serde_json::{Value, json};

use super::args::Lock;
use super::users::span;
use crate::show::{Done, Format, escaped, print, print_done, write_out};

const KINDS: &str = "role, user, node, token, lock, or all";

/// Splits `kind/name`; plurals are fine.
fn split(resource: &str) -> (String, Option<&str>) {
    let (kind, name) = match resource.split_once('/') {
        Some((kind, name)) => (kind, Some(name).filter(|n| !n.is_empty())),
        None => (resource, None),
    };
    let kind = kind.to_ascii_lowercase();
    (kind.strip_suffix('s').map(str::to_owned).unwrap_or(kind), name)
}

/// `mctl get`.
///
/// # Errors
/// There is no such kind or resource.
pub(crate) async fn get(client: &Client, resource: &str, format: Format) -> Result<()> {
    let (kind, name) = split(resource);
    anyhow::ensure!(kind != "all" || name.is_none(), "`all` has no names: give kind/name (kinds: {KINDS})");
    let mut found = Vec::new();
    let kinds: Vec<&str> = match kind.as_str() {
        "all" => vec!["role", "user", "node", "token", "lock"],
        one => vec![one],
    };
    for kind in kinds {
        found.extend(fetch(client, kind, name).await?);
    }
    if let (Some(name), true) = (name, found.is_empty()) {
        bail!("there is no {kind} `{name}`");
    }
    match format {
        Format::Json => print(format, &found, String::new),
        Format::Yaml => {
            let documents: Vec<String> = found.iter().map(config::yaml::to_text).collect();
            write_out(&escaped(&documents.join("---\n")))
        }
        Format::Text => write_out(&found.iter().map(|v| format!("{}\n", title(v))).collect::<String>()),
    }
}

fn title(value: &Value) -> String {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or("?");
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("?");
    format!("{kind}/{name}")
}

async fn fetch(client: &Client, kind: &str, name: Option<&str>) -> Result<Vec<Value>> {
    let context = || match name {
        Some(name) => format!("cannot read {kind}/{name}"),
        None => format!("cannot read {kind}s"),
    };
    let keep = |id: &str| name.is_none_or(|n| n == id);
    Ok(match kind {
        "role" => match name {
            Some(name) => vec![serde_json::to_value(
                client.call(&GetRole { name: name.parse()? }).await.with_context(context)?,
            )?],
            None => {
                let page = client.call(&ListRoles {}).await.with_context(context)?;
                page.items.iter().map(serde_json::to_value).collect::<Result<_, _>>()?
            }
        },
        "user" => match name {
            Some(name) => vec![user_document(
                &client.call(&GetUser { name: name.parse()? }).await.with_context(context)?,
            )],
            None => client
                .call(&ListUsers {})
                .await
                .with_context(context)?
                .items
                .iter()
                .map(user_document)
                .collect(),
        },
        "node" => {
            let page = client.call(&ListNodes::default()).await.with_context(context)?;
            let wanted = page.items.iter().filter(|v| keep(v.node.id.as_str()) || keep(v.node.name.as_str()));
            wanted.map(|v| document("node", v.node.id.as_str(), json!(v))).collect()
        }
        "token" => {
            let page = client.call(&ListTokens {}).await.with_context(context)?;
            page.items.iter().filter(|t| keep(&t.id)).map(|t| document("token", &t.id, json!(t))).collect()
        }
        "lock" => {
            let page = client.call(&ListLocks {}).await.with_context(context)?;
            page.items
                .iter()
                .filter(|l| keep(l.id.as_str()))
                .map(|l| document("lock", l.id.as_str(), json!(l)))
                .collect()
        }
        other => bail!("`{other}` is not a kind of resource here (expected {KINDS})"),
    })
}

fn document(kind: &str, name: &str, spec: Value) -> Value {
    json!({ "kind": kind, "version": "v1", "metadata": { "name": name }, "spec": spec })
}

fn user_document(user: &User) -> Value {
    json!({
        "kind": "user",
        "version": "v2",
        "metadata": { "name": user.name, "revision": user.revision },
        "spec": { "roles": user.roles, "traits": user.traits, "created_by": user.created_by, "expires": user.expires },
    })
}

/// The text of a file, or of standard input for `-`.
fn read_text(file: &Path) -> Result<String> {
    let (mut bytes, most) = (Vec::new(), config::tree::MAX_BYTES as u64 + 1);
    let read = if file == Path::new("-") {
        std::io::stdin().take(most).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    let shown = if file == Path::new("-") { "standard input".into() } else { file.display().to_string() };
    read.with_context(|| format!("cannot read {shown}"))?;
    config::text_of(bytes).context(shown)
}

/// `mctl create`.
///
/// # Errors
/// The file cannot be read or a document is refused; those before it have been made, as the output says.
pub(crate) async fn create(client: &Client, file: &Path, force: bool, format: Format) -> Result<()> {
    let text = read_text(file)?;
    let documents = config::yaml::read(&text).with_context(|| file.display().to_string())?;
    anyhow::ensure!(!documents.is_empty(), "{} holds no resource", file.display());
    let (mut made, mut outcome) = (Vec::new(), Ok(()));
    for (n, document) in documents.into_iter().enumerate() {
        let which = which(&document, n + 1);
        match create_one(client, document.value, force).await {
            Ok((done, text)) => {
                if format == Format::Text {
                    write_out(&text)?;
                }
                made.push(done);
            }
            Err(error) => {
                outcome = Err(error.context(format!("{}, {which}", file.display())));
                break;
            }
        }
    }
    print_done(format, &made, outcome)
}

/// A document as people find it: its number, kind, name and line.
fn which(document: &config::yaml::Document, n: usize) -> String {
    let word =
        |pointer: &str| document.value.pointer(pointer).and_then(Value::as_str).map(crate::show::clean);
    let what = match (word("/kind"), word("/metadata/name")) {
        (Some(kind), Some(name)) => format!(" ({kind}/{name})"),
        (Some(kind), None) => format!(" (a {kind} without a name)"),
        (None, _) => String::new(),
    };
    format!("document {n}{what}, line {}", document.at.line)
}

/// Refuses what would be passed over in silence.
fn only_known(value: &Value, known: &[&str]) -> Result<()> {
    let spec = value.get("spec").and_then(Value::as_object);
    match spec.into_iter().flatten().find(|(key, _)| !known.contains(&key.as_str())) {
        Some((key, _)) => {
            bail!("spec.{} is not known here (expected one of {})", crate::show::clean(key), known.join(", "))
        }
        None => Ok(()),
    }
}

/// Refuses an end that a user would not have.
fn no_end(user: &Value) -> Result<()> {
    for place in ["/metadata/expires", "/spec/expires"] {
        if user.pointer(place).is_some_and(|end| !end.is_null()) {
            bail!(
                "{}: a user does not end by itself: leave it out, and remove or lock the user when its time is over \
                 (mctl users rm, mctl lock --user)",
                place.trim_start_matches('/').replace('/', ".")
            );
        }
    }
    Ok(())
}

/// Makes one: what was made as data, and in words.
async fn create_one(client: &Client, value: Value, force: bool) -> Result<(Value, String)> {
    match value.get("kind").and_then(Value::as_str) {
        Some("role") => {
            let role: Role = serde_json::from_value(value).context("not a role")?;
            let name = role.metadata.name.clone();
            let written = client.call(&PutRole { name: name.parse()?, role, replace: force }).await?;
            for key in &written.not_in_effect {
                eprintln!("role {name}: not in effect yet: {}", crate::show::clean(key));
            }
            let done = Done { done: "created", kind: "role", name: &name };
            Ok((json!(done), format!("role '{name}' has been created\n")))
        }
        Some("user") => {
            only_known(&value, &["roles", "traits", "created_by", "expires", "status"])?;
            no_end(&value)?;
            let name: model::UserName =
                serde_json::from_value(value.pointer("/metadata/name").cloned().unwrap_or_default())
                    .context("metadata.name is not a user name")?;
            let roles =
                serde_json::from_value(value.pointer("/spec/roles").cloned().unwrap_or_else(|| json!([])))
                    .context("spec.roles is not a list of role names")?;
            let traits =
                serde_json::from_value(value.pointer("/spec/traits").cloned().unwrap_or_else(|| json!({})))
                    .context("spec.traits is not a map from names to lists of values")?;
            if force && client.call(&GetUser { name: name.clone() }).await.is_ok() {
                client
                    .call(&UpdateUser { name: name.clone(), roles: Some(roles), traits: Some(traits) })
                    .await?;
                let done = Done { done: "updated", kind: "user", name: name.as_str() };
                return Ok((json!(done), format!("user '{name}' has been updated\n")));
            }
            let link = client.call(&CreateUser { name: name.clone(), roles, traits, ttl: None }).await?;
            let text = format!("user '{name}' has been created; link, good once: {}\n", link.url.expose());
            Ok((json!({ "done": "created", "kind": "user", "name": name, "link": link }), text))
        }
        Some(other) => bail!("`{other}` cannot be created from a file (expected role or user)"),
        None => bail!("the document has no `kind`"),
    }
}

/// `mctl rm`.
///
/// # Errors
/// There is no such kind or resource.
pub(crate) async fn remove(client: &Client, resource: &str, format: Format) -> Result<()> {
    let (kind, name) = split(resource);
    let Some(name) = name else { bail!("`{resource}` names no resource (expected kind/name)") };
    let context = || format!("cannot remove {kind}/{name}");
    match kind.as_str() {
        "role" => drop(client.call(&DeleteRole { name: name.parse()? }).await.with_context(context)?),
        "user" => drop(client.call(&DeleteUser { name: name.parse()? }).await.with_context(context)?),
        "node" => {
            let id = super::tokens::node_id(client, name).await.with_context(context)?;
            client.call(&DeleteNode { id }).await.with_context(context)?;
        }
        "token" => drop(client.call(&DeleteToken { id: name.to_owned() }).await.with_context(context)?),
        "lock" => drop(client.call(&DeleteLock { id: name.parse()? }).await.with_context(context)?),
        other => bail!("`{other}` is not a kind of resource here (expected {KINDS})"),
    }
    let done = Done { done: "deleted", kind: &kind, name };
    print(format, &done, || format!("{kind} '{name}' has been deleted\n"))
}

/// `mctl lock`.
///
/// # Errors
/// No target was given, or the authority refused.
pub(crate) async fn lock(client: &Client, wanted: Lock) -> Result<()> {
    let target = LockTarget {
        user: wanted.user.as_deref().map(str::parse).transpose()?,
        role: wanted.role.as_deref().map(str::parse).transpose()?,
        login: wanted.login.as_deref().map(str::parse).transpose()?,
        node: match &wanted.node {
            Some(node) => Some(super::tokens::node_id(client, node).await?),
            None => None,
        },
    };
    anyhow::ensure!(target != LockTarget::default(), "say whom to lock: --user, --role, --login or --node");
    let ttl = wanted.ttl.as_deref().map(span).transpose()?;
    let lock = client
        .call(&CreateLock { target, message: wanted.message, ttl })
        .await
        .context("cannot make the lock")?;
    print(wanted.out.format, &lock, || format!("Created a lock with name \"{}\".\n", lock.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_named_by_kind_and_name() {
        assert_eq!(split("roles/vendor"), ("role".to_owned(), Some("vendor")));
        assert_eq!(split("users"), ("user".to_owned(), None));
        assert_eq!(split("role/"), ("role".to_owned(), None));
    }

    #[test]
    fn a_document_is_told_as_people_find_it() {
        let text = "kind: role\nmetadata: {name: dev}\n---\nkind: user\n---\nspec: {}\n";
        let documents = config::yaml::read(text).unwrap();
        let told: Vec<String> = documents.iter().zip(1..).map(|(d, n)| which(d, n)).collect();

        assert_eq!(
            told,
            [
                "document 1 (role/dev), line 1",
                "document 2 (a user without a name), line 4",
                "document 3, line 6"
            ]
        );
    }

    #[test]
    fn what_nobody_would_read_is_refused() {
        let user = |spec: Value| only_known(&json!({ "kind": "user", "spec": spec }), &["roles", "traits"]);

        assert!(user(json!({ "roles": [] })).is_ok());
        let error = user(json!({ "role": ["dev"] })).unwrap_err().to_string();
        assert_eq!(error, "spec.role is not known here (expected one of roles, traits)");
    }

    #[test]
    fn an_end_that_a_user_would_not_have_is_refused() {
        let user = |metadata: Value, spec: Value| {
            no_end(&json!({ "kind": "user", "metadata": metadata, "spec": spec })).map_err(|e| e.to_string())
        };
        let shown = User {
            name: "ann".parse().unwrap(),
            roles: ["dev".parse().unwrap()].into(),
            traits: [].into(),
            created_by: String::new(),
            created_at: model::Timestamp::from_secs(0),
            expires: None,
            locked_until: None,
            enrolled: true,
            revision: None,
        };

        assert_eq!(no_end(&user_document(&shown)).map_err(|e| e.to_string()), Ok(()), "as it is shown");
        assert_eq!(user(json!({ "expires": null }), json!({})), Ok(()));
        for (metadata, spec, place) in [
            (json!({}), json!({ "expires": "2030-01-01T00:00:00Z" }), "spec.expires: "),
            (json!({ "expires": "2030-01-01T00:00:00Z" }), json!({}), "metadata.expires: "),
            (json!({}), json!({ "expires": "" }), "spec.expires: "),
        ] {
            let error = user(metadata, spec).unwrap_err();
            assert!(error.starts_with(place), "{error}");
        }
    }
}
