//! `mctl`: what admins run.

mod args;
mod logs;
mod resources;
mod tokens;
mod users;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
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
            clap_complete::generate(shell, &mut Mctl::command(), "mctl", &mut std::io::stdout());
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
    let file = match &common.config {
        Some(path) => Some(file::open(path)?),
        None if Path::new(file::DEFAULT).exists() => Some(
            file::open(Path::new(file::DEFAULT))
                .context("to use your own login instead, give no configuration")?,
        ),
        None => None,
    };
    if let Some(file) = file {
        let loaded = config::load(&file.name, &file.text, &config::Flags::default())?;
        match loaded.config.auth {
            Some(auth) => {
                tracing::debug!(file = file.name, "acting as the authority's host");
                let at = common.auth_server.clone().unwrap_or_else(|| auth.listen.local().to_string());
                return gate::by_data_dir(&loaded.config.instance.data_dir, &at, scope);
            }
            None if common.config.is_some() => {
                anyhow::bail!(
                    "{} runs no auth_service: run mctl on the authority's host, or log in with msh",
                    file.name
                )
            }
            None => {}
        }
    }
    let home = Home::open(common.home.as_deref())?;
    let profile =
        home.profile(None).context("there is no authority on this host (give -c FILE if there is)")?;
    tracing::debug!(gate = profile.web_proxy_addr, user = profile.user, "acting as a person");
    Ok(gate::by_profile(&home, &profile, scope)?.client)
}
