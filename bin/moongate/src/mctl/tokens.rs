//! `mctl tokens` and `mctl nodes`.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use client::Client;
use model::api::nodes::{DeleteNode, ListNodes};
use model::api::tokens::{CreateToken, DeleteToken, ListTokens, NewToken};
use model::resource::Liveness;
use model::{NodeId, Secret, SystemRole, label};

use super::args::{Nodes, Tokens};
use super::users::span;
use crate::show::{Done, Format, Table, many, print};

/// Runs `mctl tokens …`.
///
/// # Errors
/// A word makes no sense, or the authority refused.
pub(crate) async fn run(client: &Client, command: Tokens) -> Result<()> {
    match command {
        Tokens::Add { kinds, value, labels, ttl, out } => {
            let verb = CreateToken {
                roles: system_roles(&kinds)?,
                ttl: Some(span(&ttl)?),
                value: value.map(Secret::new),
                labels: label::parse(&labels)?,
            };
            let token = client.call(&verb).await.context("cannot make a token")?;
            show_token(out.format, &token, &ttl)
        }
        Tokens::Ls { out } => {
            let page = client.call(&ListTokens {}).await.context("cannot list tokens")?;
            print(out.format, &page.items, || {
                let mut table = Table::new(&["Token", "Type", "Labels", "Expiry Time (UTC)"]);
                for token in &page.items {
                    let expiry = match token.expires {
                        Some(at) => at.to_string(),
                        None if token.is_static => "never (configuration file)".to_owned(),
                        None => "never".to_owned(),
                    };
                    table.row([
                        token.id.clone(),
                        roles_text(&token.roles),
                        label::to_text(&token.labels),
                        expiry,
                    ]);
                }
                table.text()
            })
        }
        Tokens::Rm { token, out } => {
            client.call(&DeleteToken { id: token }).await.context("cannot remove the token")?;
            // It may have been named by its secret, which is not to be repeated.
            let done = Done { done: "deleted", kind: "token", name: "" };
            print(out.format, &done, || "The token has been deleted\n".to_owned())
        }
    }
}

/// Runs `mctl nodes …`.
///
/// # Errors
/// A word makes no sense, or the authority refused.
pub(crate) async fn nodes(client: &Client, command: Nodes) -> Result<()> {
    match command {
        Nodes::Add { roles, ttl, token, out } => {
            let verb = CreateToken {
                roles: system_roles(&roles)?,
                ttl: Some(span(&ttl)?),
                value: token.map(Secret::new),
                labels: model::Labels::new(),
            };
            let token = client.call(&verb).await.context("cannot make a token")?;
            match out.format {
                Format::Json => print(out.format, &[&token], String::new),
                other => show_token(other, &token, &ttl),
            }
        }
        Nodes::Ls { search, verbose, out } => {
            let page = client
                .call(&ListNodes { labels: String::new(), search })
                .await
                .context("cannot list nodes")?;
            print(out.format, &page.items, || {
                let mut table = if verbose {
                    Table::new(&[
                        "Host",
                        "UUID",
                        "Status",
                        "Since",
                        "Public Address",
                        "Labels",
                        "Version",
                        "Last Seen",
                    ])
                } else {
                    Table::new(&["Host", "UUID", "Status", "Public Address", "Labels", "Version"])
                };
                for view in &page.items {
                    let node = &view.node;
                    let address = if node.address.is_empty() {
                        "\u{27f5} tunnel".to_owned()
                    } else {
                        node.address.clone()
                    };
                    let status = match node.liveness {
                        Liveness::Online => "online",
                        Liveness::Offline => "offline",
                    };
                    let mut cells = vec![node.name.to_string(), node.id.to_string(), status.to_owned()];
                    if verbose {
                        cells.push(node.since.map(|t| t.to_string()).unwrap_or_default());
                    }
                    cells.extend([address, label::to_text(&node.labels), node.version.clone()]);
                    if verbose {
                        cells.push(node.last_seen.to_string());
                    }
                    table.row(cells);
                }
                table.text()
            })
        }
        Nodes::Rm { node, out } => {
            let context = || format!("cannot forget node {node}");
            let id = node_id(client, &node).await.with_context(context)?;
            client.call(&DeleteNode { id: id.clone() }).await.with_context(context)?;
            let done = Done { done: "deleted", kind: "node", name: id.as_str() };
            print(out.format, &done, || {
                format!("Node {node} has been removed; to come back it must join again\n")
            })
        }
    }
}

/// The id of a node that was named by it, or by a name that no other node has.
///
/// # Errors
/// There is no such node, or there are several.
pub(crate) async fn node_id(client: &Client, text: &str) -> Result<NodeId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let page = client.call(&ListNodes::default()).await.context("cannot list nodes")?;
    let mut ids = page.items.into_iter().filter(|v| v.node.name.as_str() == text).map(|v| v.node.id);
    match (ids.next(), ids.count()) {
        (Some(id), 0) => Ok(id),
        (Some(_), more) => {
            bail!("{} nodes are called `{text}`: give an id (see `mctl nodes ls`)", more + 1)
        }
        (None, _) => bail!("`{text}` is neither a node's id nor its name (see `mctl nodes ls`)"),
    }
}

fn system_roles(words: &[String]) -> Result<BTreeSet<SystemRole>> {
    words.iter().map(|w| w.trim().parse().map_err(|e: String| anyhow::anyhow!(e))).collect()
}

fn roles_text(roles: &BTreeSet<SystemRole>) -> String {
    roles.iter().map(|r| r.as_str()).collect::<Vec<_>>().join(",")
}

fn show_token(format: Format, token: &NewToken, ttl: &str) -> Result<()> {
    print(format, token, || {
        let server = token.proxy_addrs.first().map_or("<proxy>:3080", String::as_str);
        let pins: String = token.ca_pins.iter().map(|pin| format!(" \\\n    --ca-pin={pin}")).collect();
        format!(
            "The invite token: {secret}\nThis token will expire in {minutes}.\n\nRun this on the new node to join the cluster:\n\n\
             > moongate start \\\n    --roles={roles} \\\n    --token={secret}{pins} \\\n    --auth-server={server}\n\n\
             Please note:\n\n  - This invitation token will expire in {minutes}\n  - {server} must be reachable from the new node\n",
            secret = token.secret.expose(),
            roles = roles_text(&token.roles),
            minutes = spoken(ttl),
        )
    })
}

/// `30m` as people say it.
fn spoken(ttl: &str) -> String {
    match ttl.parse::<model::time::Span>() {
        Ok(span) if span.0.as_secs() % 3600 == 0 => many(span.0.as_secs() / 3600, "hour"),
        Ok(span) if span.0.as_secs() % 60 == 0 => many(span.0.as_secs() / 60, "minute"),
        _ => ttl.to_owned(),
    }
}
