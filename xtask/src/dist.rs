//! What people install: the release executable with its names, as a tarball and, where dpkg is there, a Debian package.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::{cargo, output, root, run, target_dir, which};

const NAMES: &[&str] = &["msh", "mctl"];
const PAPERS: &[&str] = &["LICENSE", "README.md", "CHANGELOG.md"];
/// Where the configuration is stands in the environment, so that `/etc/default/moongate` can say otherwise; a file that is
/// not there is an error all the same.
const UNIT: &str = "[Unit]
Description=Moongate
After=network-online.target
Wants=network-online.target

[Service]
Environment=MOONGATE_CONFIG_FILE=/etc/moongate.yaml
EnvironmentFile=-/etc/default/moongate
ExecStart=/usr/bin/moongate start
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=78
LimitNOFILE=524288
KillMode=process

[Install]
WantedBy=multi-user.target
";

/// Makes the account that the service becomes once its privileged half is apart.
const AFTER_INSTALL: &str = "#!/bin/sh
set -e
if ! getent passwd moongate > /dev/null; then
    useradd --system --user-group --home-dir /var/lib/moongate --no-create-home --shell /usr/sbin/nologin moongate
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
";

/// Nothing goes on running that is no longer there; an upgrade ends nobody's session.
const BEFORE_REMOVE: &str = "#!/bin/sh
set -e
if [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then
    systemctl stop moongate.service || true
fi
";

/// Builds everything into `target/dist`.
pub(crate) fn run_dist(_arguments: &[String]) -> Result<()> {
    crate::ui::where_possible()?;
    run(cargo().args(["build", "--release", "--locked", "--package", "moongate"]))?;
    let version = version()?;
    let arch = std::env::consts::ARCH;
    let out = target_dir().join("dist");
    std::fs::remove_dir_all(&out).ok();
    let name = format!("moongate-{version}-linux-{arch}");
    lay_out(&out.join(&name), "")?;
    readable(&out.join(&name))?;
    let mut tar = Command::new("tar");
    tar.current_dir(&out).args(["--owner=root:0", "--group=root:0"]);
    run(tar.args(["-czf", &format!("{name}.tar.gz"), &name]))?;
    std::fs::remove_dir_all(out.join(&name))?;
    if which("dpkg-deb").is_some() {
        deb(&out, &version)?;
    }
    let sums = output(Command::new("sh").current_dir(&out).args(["-c", "sha256sum moongate*"]))?;
    std::fs::write(out.join("SHA256SUMS"), &sums)?;
    print!("{}", String::from_utf8_lossy(&sums));
    println!("in {}", out.display());
    Ok(())
}

fn version() -> Result<String> {
    let text = std::fs::read_to_string(root().join("Cargo.toml"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("version = ")).context("no version")?;
    Ok(line.trim_matches('"').to_owned())
}

/// The executable, its names, and the papers, below `dir`.
fn lay_out(dir: &Path, bin: &str) -> Result<()> {
    let bin = dir.join(bin);
    std::fs::create_dir_all(&bin)?;
    std::fs::copy(target_dir().join("release/moongate"), bin.join("moongate"))?;
    for name in NAMES {
        std::os::unix::fs::symlink("moongate", bin.join(name))?;
    }
    let papers = if bin == dir { dir.to_path_buf() } else { dir.join("usr/share/doc/moongate") };
    std::fs::create_dir_all(&papers)?;
    for paper in PAPERS {
        std::fs::copy(root().join(paper), papers.join(paper))?;
    }
    Ok(())
}

/// Whoever unpacks it as root gets what everybody may run and nobody else may change, whoever built it with which umask.
fn readable(dir: &Path) -> Result<()> {
    run(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(dir))
}

fn deb(out: &Path, version: &str) -> Result<()> {
    let arch = String::from_utf8(output(Command::new("dpkg").arg("--print-architecture"))?)?;
    let arch = arch.trim();
    // What it was linked against is what it needs.
    let libc = output(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "libc6"]))?;
    let libc = String::from_utf8(libc)?;
    let libc = libc.split('-').next().unwrap_or_default();
    let tree = out.join("deb");
    lay_out(&tree, "usr/bin")?;
    let unit = tree.join("usr/lib/systemd/system");
    std::fs::create_dir_all(&unit)?;
    std::fs::write(unit.join("moongate.service"), UNIT)?;
    std::fs::create_dir_all(tree.join("DEBIAN"))?;
    let control = format!(
        "Package: moongate\nVersion: {version}\nArchitecture: {arch}\nMaintainer: The Moongate authors <maintainers@localhost>\n\
         Depends: libc6 (>= {libc}), libgcc-s1, passwd\nRecommends: openssh-client\nSection: net\nPriority: optional\n\
         Description: one door in the wall around a private cluster\n Short-lived certificates, nodes that dial out, one public port, sealed recordings.\n"
    );
    std::fs::write(tree.join("DEBIAN/control"), control)?;
    for (name, script) in [("postinst", AFTER_INSTALL), ("prerm", BEFORE_REMOVE)] {
        let path = tree.join("DEBIAN").join(name);
        std::fs::write(&path, script)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    readable(&tree)?;
    let file = format!("moongate_{version}_{arch}.deb");
    run(Command::new("dpkg-deb").current_dir(out).args(["--root-owner-group", "--build", "deb", &file]))?;
    Ok(std::fs::remove_dir_all(tree)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_variables_win_over_the_packaged_ones() {
        let lines: Vec<&str> = UNIT.lines().collect();

        for expected in [
            "Environment=MOONGATE_CONFIG_FILE=/etc/moongate.yaml",
            "EnvironmentFile=-/etc/default/moongate",
            // A flag would win over both.
            "ExecStart=/usr/bin/moongate start",
        ] {
            assert!(lines.contains(&expected), "{expected}");
        }
    }
}
