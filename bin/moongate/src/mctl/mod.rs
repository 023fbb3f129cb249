//! `mctl`: what admins run.

mod args;
mod logs;
mod resources;
mod tokens;
mod users;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{CommandFactory as _, Parser as _};
use runtime::telemetry::{self, Output};
use runtime::{Clock, Scope};

use self::args::{Command, Common, Mctl};
use crate::daemon::file;
use crate::gate;
use crate::msh::profile::Home;

/// Runs `mctl`.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let mctl = match Mctl::try_parse_from(args) {
        Ok(mctl) => mctl,
        Err(error) => return crate::show::usage(&error),
    };
    drop(telemetry::init(if mctl.common.debug { "debug" } else { "error" }, &Output::Stderr, false));
    crate::show::run("mctl", run(mctl))
}

async fn run(mctl: Mctl) -> Result<ExitCode> {
    let scope = Scope::root("mctl");
    let clock = Clock::system();
    let Mctl { common, command } = mctl;
    match command {
        Command::Completion { shell } => {
            crate::show::completion(shell, Mctl::command(), "mctl")?;
        }
        Command::Version { out } => crate::show::version(out.format, "mctl")?,
        Command::Recordings(command) => {
            logs::recordings(connect(&common, &scope), command, &clock).await?;
        }
        command => {
            let client = connect(&common, &scope)?;
            match command {
                Command::Status { out } => logs::status(&client, out.format).await?,
                Command::Users(command) => users::run(&client, command).await?,
                Command::Tokens(command) => tokens::run(&client, command).await?,
                Command::Nodes(command) => tokens::nodes(&client, command).await?,
                Command::Get { resource, format } => resources::get(&client, &resource, format).await?,
                Command::Create { file, force, out } => {
                    resources::create(&client, &file, force, out.format).await?;
                }
                Command::Rm { resource, out } => resources::remove(&client, &resource, out.format).await?,
                Command::Lock(wanted) => resources::lock(&client, wanted).await?,
                Command::Audit(command) => logs::audit_log(&client, command, &clock).await?,
                Command::Recordings(_) | Command::Completion { .. } | Command::Version { .. } => {}
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The way to the authority: its own certificate where its configuration says it runs here, else the person's.
fn connect(common: &Common, scope: &Scope) -> Result<client::Client> {
    if common.proxy.is_some() {
        return as_person(common, scope);
    }
    let (file, nothing) = match file::read(common.config.as_deref()) {
        Ok(file) if file.name.is_empty() => {
            (None, "there is no authority on this host (give -c FILE if there is)")
        }
        Ok(file) => (Some(file), "the configuration of this host runs no auth_service"),
        // Whose host it is need not be who administers the cluster.
        Err(error) if common.config.is_none() && is_denied(&error) => {
            (None, "this host's configuration is not for you to read (give -c FILE if you mean another)")
        }
        Err(error) => return Err(error),
    };
    if let Some(file) = file {
        let loaded = config::load(&file.name, &file.text, &config::Flags::default())?;
        if let Some(auth) = loaded.config.auth {
            tracing::debug!(file = file.name, "acting as the authority's host");
            let at = common.auth_server.clone().unwrap_or_else(|| auth.listen.local().to_string());
            return gate::by_data_dir(&loaded.config.instance.data_dir, &at, scope);
        }
        ensure!(
            common.config.is_none(),
            "{} runs no auth_service: run mctl on the authority's host, or log in with msh",
            file.name
        );
    }
    as_person(common, scope).context(nothing)
}

/// As the person who is logged in with msh.
fn as_person(common: &Common, scope: &Scope) -> Result<client::Client> {
    ensure!(
        common.auth_server.is_none(),
        "--auth-server is for the authority's own host: whoever is logged in with msh goes through their gate"
    );
    let home = Home::open(common.home.as_deref())?;
    let profile = home.profile(common.proxy.as_deref())?;
    tracing::debug!(gate = profile.web_proxy_addr, user = profile.user, "acting as a person");
    Ok(gate::by_profile(&home, &profile, scope)?.client)
}

fn is_denied(error: &anyhow::Error) -> bool {
    let denied = |e: &std::io::Error| e.kind() == std::io::ErrorKind::PermissionDenied;
    error.chain().any(|e| e.downcast_ref().is_some_and(denied))
}
