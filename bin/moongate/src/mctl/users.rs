//! `mctl users`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use client::Client;
use model::api::users::{CreateUser, DeleteUser, GetUser, InviteLink, ListUsers, ResetUser, UpdateUser};
use model::identity::Traits;
use model::time::Span;
use model::{RoleName, UserName};

use super::args::Users;
use crate::show::{Done, Format, Table, print, print_done, write_out};

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
            anyhow::ensure!(
                set_roles.is_some() || set_logins.is_some(),
                "say what to change: --set-roles or --set-logins"
            );
            let roles = set_roles.as_deref().map(role_names).transpose()?;
            let traits = match &set_logins {
                Some(logins) => Some(with_logins(client, &user(&name)?, logins).await?),
                None => None,
            };
            let verb = UpdateUser { name: user(&name)?, roles, traits };
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
            let (mut done, mut outcome) = (Vec::new(), Ok(()));
            for name in &names {
                if let Err(error) = remove(client, name).await {
                    outcome = Err(error.context(format!("cannot remove user {name}")));
                    break;
                }
                if out.format == Format::Text {
                    write_out(&format!("User {name} has been deleted\n"))?;
                }
                done.push(Done { done: "deleted", kind: "user", name });
            }
            print_done(out.format, &done, outcome)
        }
    }
}

async fn remove(client: &Client, name: &str) -> Result<()> {
    client.call(&DeleteUser { name: user(name)? }).await?;
    Ok(())
}

/// The traits somebody has, with these logins in place of the ones before.
async fn with_logins(client: &Client, name: &UserName, logins: &[String]) -> Result<Traits> {
    let found = client.call(&GetUser { name: name.clone() }).await;
    let mut traits = found.with_context(|| format!("cannot read user {name}"))?.traits;
    traits.remove("logins");
    traits.extend(login_trait(logins));
    Ok(traits)
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
