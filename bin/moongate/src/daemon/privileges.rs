//! The split before anything else runs: the privileged half is started, then root is given up.

use std::path::Path;

use ::node::privilege::{self, Plan};
use ::node::spawner::{self, Launched};
use anyhow::Context;

/// Starts the privileged half and becomes the account that keeps the first of `dirs`, which gets all of them. Must be
/// called while the process has one thread and before files in them are opened.
pub(crate) fn split(dirs: &[&Path]) -> anyhow::Result<Launched> {
    let executable = std::env::current_exe().context("cannot find this program's own file")?;
    let launched = spawner::launch(&executable).context("cannot start the privileged half")?;
    let first = dirs.first().context("no data directory")?;
    let plan = privilege::plan(first)?;
    match &plan {
        Plan::Already => {}
        Plan::Become { name, .. } => tracing::info!(account = %name, "giving up root"),
        Plan::StayRoot => tracing::warn!(
            "running as root: make an account `{}` (or give the data directory to one) and the service becomes it",
            privilege::USER
        ),
    }
    for dir in dirs {
        privilege::give_data_dir(dir, &plan)?;
    }
    privilege::drop_to(&plan)?;
    Ok(launched)
}
