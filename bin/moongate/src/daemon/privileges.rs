//! The split before anything else runs: the privileged half is started, then root is given up. And how that half
//! reads certificates, which it does for itself.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use ::node::privilege::{self, Plan};
use ::node::spawner::claim::Good;
use ::node::spawner::{self, Launched, Orders};
use anyhow::Context;

/// Starts the privileged half, which keeps root. Must be called while the process has one thread.
pub(crate) fn split(data_dir: &Path, config: &config::Ssh) -> anyhow::Result<Launched> {
    let executable = std::env::current_exe().context("cannot find this program's own file")?;
    let orders = Orders { pins: Some(pins(data_dir)?), own_env: config.permit_user_env };
    spawner::launch(&executable, &orders).context("cannot start the privileged half")
}

/// Becomes the account that keeps the first of `dirs`, which gets all of them: also where there is no half that needs
/// root. Must be called while the process has one thread and before files in them are opened.
pub(crate) fn give_up_root(dirs: &[&Path]) -> anyhow::Result<()> {
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
    Ok(())
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
