//! `mctl users`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use client::Client;
use model::api::users::{CreateUser, DeleteUser, InviteLink, ListUsers, ResetUser, UpdateUser};
use model::identity::Traits;
use model::time::Span;
use model::{RoleName, UserName};

use super::args::Users;
use crate::show::{Done, Format, Table, print, write_out};

/// Runs one of them.
///
/// # Errors
/// A word is no name, or the authority refused.
pub(crate) async fn run(client: &Client, command: Users) -> Result<()> {
    match command {
        Users::Add { name, roles, logins, ttl, out } => {
            let verb = CreateUser {
                name: user(&name)?,
                roles: role_names(&roles)?,
                traits: login_trait(&logins),
                ttl: Some(span(&ttl)?),
            };
            let link = client.call(&verb).await.with_context(|| format!("cannot make user {name}"))?;
            show_link(out.format, &link, "has been created but requires a password", &ttl)
        }
        Users::Reset { name, ttl, out } => {
            let verb = ResetUser { name: user(&name)?, ttl: Some(span(&ttl)?) };
            let link = client.call(&verb).await.with_context(|| format!("cannot reset user {name}"))?;
            show_link(out.format, &link, "has been reset", &ttl)
        }
        Users::Update { name, set_roles, set_logins, out } => {
            let verb = UpdateUser {
                name: user(&name)?,
                roles: set_roles.as_deref().map(role_names).transpose()?,
                traits: set_logins.as_deref().map(login_trait),
            };
            client.call(&verb).await.with_context(|| format!("cannot change user {name}"))?;
            let done = Done { done: "updated", kind: "user", name: &name };
            print(out.format, &done, || format!("User {name} has been updated\n"))
        }
        Users::Ls { out } => {
            let page = client.call(&ListUsers {}).await.context("cannot list users")?;
            print(out.format, &page.items, || {
                let mut table = Table::new(&["User", "Roles", "Logins", "State"]);
                for user in &page.items {
                    let state = match (user.locked_until, user.enrolled) {
                        (Some(until), _) => format!("locked until {until}"),
                        (None, true) => "active".to_owned(),
                        (None, false) => "invited".to_owned(),
                    };
                    table.row([
                        user.name.to_string(),
                        user.roles.iter().map(RoleName::to_string).collect::<Vec<_>>().join(","),
                        user.traits.get("logins").map(|l| l.join(",")).unwrap_or_default(),
                        state,
                    ]);
                }
                table.text()
            })
        }
        Users::Rm { names, out } => {
            for name in &names {
                client
                    .call(&DeleteUser { name: user(name)? })
                    .await
                    .with_context(|| format!("cannot remove user {name}"))?;
                if out.format == Format::Text {
                    write_out(&format!("User {name} has been deleted\n"))?;
                }
            }
            let done = |name| Done { done: "deleted", kind: "user", name };
            let all: Vec<Done<'_>> = names.iter().map(|name| done(name.as_str())).collect();
            print(out.format, &all, String::new)
        }
    }
}

fn user(name: &str) -> Result<UserName> {
    Ok(name.parse()?)
}

fn role_names(names: &[String]) -> Result<BTreeSet<RoleName>> {
    names.iter().map(|n| Ok(n.trim().parse()?)).collect()
}

/// A length of time from the command line.
///
/// # Errors
/// The text is none.
pub(crate) fn span(text: &str) -> Result<Span> {
    Ok(text.parse()?)
}

fn login_trait(logins: &[String]) -> Traits {
    let logins: Vec<String> = logins.iter().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect();
    if logins.is_empty() { BTreeMap::new() } else { BTreeMap::from([("logins".to_owned(), logins)]) }
}

fn show_link(format: Format, link: &InviteLink, what: &str, ttl: &str) -> Result<()> {
    print(format, link, || {
        let host = link.url.expose().split('/').nth(2).unwrap_or_default().to_owned();
        format!(
            "User \"{}\" {what}. Share this URL with the user to complete user setup, link is valid for {ttl}:\n{}\n\n\
             NOTE: Make sure {host} points at a Moongate proxy which users can access.\n",
            link.user,
            link.url.expose(),
        )
    })
}
