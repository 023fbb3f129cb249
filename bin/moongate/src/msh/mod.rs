//! `msh`: what people run.

mod agent;
mod args;
mod carry;
mod escape;
mod forward;
mod hosts;
mod login;
pub(crate) mod ls;
mod node;
mod play;
pub(crate) mod profile;
mod prompt;
mod scp;
mod session;
mod ssh_config;
mod target;
mod web;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser as _};
use runtime::telemetry::{self, Output};
use runtime::{Clock, Scope};
use wire::dial::Class;

use self::args::{Command, Common, Msh, Proxy, Recordings, Scp};
use self::profile::{Home, Profile};
use crate::gate::{self, Way};
use crate::recordings::Source;
use crate::show::print;

/// Runs `msh`.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let msh = match Msh::try_parse_from(args) {
        Ok(msh) => msh,
        Err(error) => return crate::show::usage(&error),
    };
    drop(telemetry::init(if msh.common.debug { "debug" } else { "error" }, &Output::Stderr, false));
    crate::show::run("msh", run(msh))
}

async fn run(msh: Msh) -> Result<ExitCode> {
    let scope = Scope::root("msh");
    let clock = Clock::system();
    let Msh { common, command } = msh;
    match command {
        Command::Login(wanted) => login::login(&common, &wanted, &scope).await?,
        Command::Logout { format } => login::logout(&common, format).await?,
        Command::Status { format } => login::status(&common, format, &clock)?,
        Command::Ls(wanted) => ls::nodes(&enter(&common, &scope)?.way.client, &wanted).await?,
        Command::Config(wanted) => {
            let (home, profile) = signed_in(&common)?;
            let wanted =
                ssh_config::Wanted { names: wanted.names, alone: wanted.alone, format: wanted.format };
            ssh_config::show(&home, &profile, &own_command(), &wanted)?;
        }
        Command::Play(wanted) => {
            let client = enter(&common, &scope).ok().map(|e| e.way.client);
            play::play(&Source::open(client, &wanted.session).await?, &wanted).await?;
        }
        Command::Recordings(wanted @ Recordings::Ls { .. }) => {
            ls::recordings(&enter(&common, &scope)?.way.client, &wanted, &clock).await?;
        }
        Command::Completion { shell } => {
            crate::show::completion(shell, Msh::command(), "msh")?;
        }
        Command::Version { format } => crate::show::version(format, "msh")?,
        Command::Ssh(wanted) => {
            let entered = enter(&common, &scope)?;
            return session::run(&entered, &wanted, &login_of(&common)?, &scope).await;
        }
        Command::Scp(wanted) => copy_files(&common, &wanted, &scope).await?,
        Command::Proxy(Proxy::Ssh { cluster, target }) => {
            let entered = enter(&common, &scope)?;
            if let Some(cluster) = cluster.filter(|c| *c != entered.profile.cluster) {
                anyhow::bail!("you are logged in to {}, not to {cluster}", entered.profile.cluster);
            }
            let node = target::Target::parse(&target)?.node;
            let stream =
                carry::open(&entered.way, &node, &entered.profile.cluster, Class::Interactive).await?;
            carry::stdio(stream).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn copy_files(common: &Common, wanted: &Scp, scope: &Scope) -> Result<()> {
    let entered = enter(common, scope)?;
    let copy = scp::Copy::parse(&wanted.paths)?;
    let login = match &copy.target().login {
        Some(login) => login.clone(),
        None => login_of(common)?,
    };
    let node = node::connect(&entered, copy.target(), &login, Class::Bulk, scope).await?;
    let channel = node.connection.open_session().await.context("the node opens no session")?;
    channel.subsystem("sftp").await.context("the node allows you no file transfer")?;
    let mut copied = scp::Copied::default();
    let outcome = scp::run(channel.into_stream(), &copy, wanted, &mut copied).await;
    node.connection.disconnect("done");
    // What is there is there, also where it is not all.
    print(wanted.format, &copied, String::new)?;
    outcome
}

/// The account on targets that name none.
fn login_of(common: &Common) -> Result<String> {
    common.login.clone().map_or_else(gate::local_user, Ok)
}

/// A person signed in, and the way to the gate.
pub(crate) struct Entered {
    pub(crate) home: Home,
    pub(crate) profile: Profile,
    pub(crate) way: Way,
}

fn signed_in(common: &Common) -> Result<(Home, Profile)> {
    let home = Home::open(common.home.as_deref())?;
    let profile = home.profile(common.proxy.as_deref())?;
    Ok((home, profile))
}

fn enter(common: &Common, scope: &Scope) -> Result<Entered> {
    let (home, profile) = signed_in(common)?;
    let way = gate::by_profile(&home, &profile, scope)?;
    Ok(Entered { home, profile, way })
}

/// How to call this program again, for configuration files: its path, and the word `msh` when it goes by another name.
fn own_command() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| "msh".into());
    let word = if path.file_name().is_some_and(|name| name == "msh") { "" } else { " msh" };
    format!("\"{}\"{word}", path.display())
}
