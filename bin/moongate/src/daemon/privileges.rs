//! The split before anything else runs: the privileged half is started, then root is given up. And how that half
//! reads certificates, which it does for itself.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use ::node::privilege::{self, Plan};
use ::node::spawner::claim::Good;
use ::node::spawner::{self, Launched, Orders};
use anyhow::Context;

use super::host;

/// Starts the privileged half, which keeps root. Must be called while the process has one thread.
pub(crate) fn split(data_dir: &Path, config: &config::Ssh) -> anyhow::Result<Launched> {
    let executable = std::env::current_exe().context("cannot find this program's own file")?;
    let orders = Orders { pins: Some(pins(data_dir)?), own_env: config.permit_user_env };
    spawner::launch(&executable, &orders).context("cannot start the privileged half")
}

/// Decides whom to become, and gives that account its data directory and, where it is another, the authority's store;
/// makes them if need be. A store in the account's own reach is the account's to make.
pub(crate) fn plan(data_dir: &Path, store: &Path) -> anyhow::Result<Plan> {
    let plan = privilege::plan(data_dir)?;
    for dir in [data_dir, store] {
        if dir == data_dir || !plan.reaches(dir) {
            host::private_dir(dir)?;
            privilege::give_data_dir(dir, &plan)
                .with_context(|| format!("cannot give {} to the service's account", dir.display()))?;
        }
    }
    Ok(plan)
}

/// Carries the plan out: also where there is no half that needs root. Must be called while the process has one thread.
pub(crate) fn give_up_root(plan: &Plan) -> anyhow::Result<()> {
    Ok(privilege::drop_to(plan)?)
}

/// Says what became of root, once there is a log.
pub(crate) fn say(plan: &Plan) {
    match plan {
        Plan::Already => {}
        Plan::Become { name, .. } => tracing::info!(account = %name, "giving up root"),
        Plan::StayRoot => tracing::warn!(
            "running as root: make an account `{}` (or give the data directory to one) and the service becomes it",
            privilege::USER
        ),
    }
}

/// Where root keeps whom this host believes: beside the data directory, which is given away.
fn pins(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let up = data_dir.components().any(|part| part == Component::ParentDir);
    // A name that ends in `..` would put them into the directory it begins with.
    let data_dir = if up { std::fs::canonicalize(data_dir) } else { Ok(data_dir.to_owned()) };
    let mut name: OsString = data_dir.context("cannot find the data directory")?.into();
    name.push(".authorities");
    Ok(name.into())
}

/// What a user certificate says that one of these authorities has signed.
pub(crate) fn judge(
    certificate: &[u8],
    authorities: &[Vec<u8>],
    from: Option<IpAddr>,
    now: model::Timestamp,
) -> Result<Good, String> {
    let trust = pki::Trust::of_user_keys(authorities).map_err(|e| e.to_string())?;
    let certificate = pki::ssh::Certificate::from_blob(certificate).map_err(|e| e.to_string())?;
    let user = pki::ssh::verify_user(&certificate, &trust, from, now).map_err(|e| e.to_string())?;
    Ok(Good { logins: user.principals, expires_at: user.expires_at })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whom_root_believes_is_kept_beside_the_data_directory_and_never_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("data/deeper")).unwrap();

        for name in ["data", "data/deeper/.."] {
            assert_eq!(pins(&dir.join(name)).unwrap(), dir.join("data.authorities"), "{name}");
        }
        assert_eq!(pins(Path::new("/var/lib/none")).unwrap(), Path::new("/var/lib/none.authorities"));
    }
}
