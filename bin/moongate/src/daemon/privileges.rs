//! The split before anything else runs: the privileged half is started, then root is given up.

use std::path::Path;

use ::node::privilege::{self, Plan};
use ::node::spawner::{self, Launched};
use anyhow::Context;

/// Starts the privileged half and becomes the account that keeps the data directory. Must be called while the process
/// has one thread and before files of the data directory are opened.
pub(crate) fn split(data_dir: &Path) -> anyhow::Result<Launched> {
    let executable = std::env::current_exe().context("cannot find this program's own file")?;
    let launched = spawner::launch(&executable).context("cannot start the privileged half")?;
    let plan = privilege::plan(data_dir)?;
    match &plan {
        Plan::Already => {}
        Plan::Become { name, .. } => tracing::info!(account = %name, "giving up root"),
        Plan::StayRoot => tracing::warn!(
            "running as root: make an account `{}` (or give the data directory to one) and the service becomes it",
            privilege::USER
        ),
    }
    privilege::give_data_dir(data_dir, &plan)?;
    privilege::drop_to(&plan)?;
    Ok(launched)
}
