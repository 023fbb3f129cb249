//! The Debian packages that tests and the demo drive, installed only when their program is missing.
//!
//! Uses `apt-get` as root and nothing else; without root it names what to install and carries on, and the step
//! that needs the program says so.

use std::process::Command;

use anyhow::{Result, bail};

use crate::shell::{run, which};

/// A program and the package that brings it.
pub(crate) struct Need {
    program: &'static str,
    package: &'static str,
}

/// What building needs.
pub(crate) const BUILD: &[Need] =
    &[Need { program: "cc", package: "gcc" }, Need { program: "make", package: "make" }];

/// What a newcomer's tour calls.
pub(crate) const TOUR: &[Need] =
    &[Need { program: "ssh", package: "openssh-client" }, Need { program: "curl", package: "curl" }];

/// What the end-to-end tests and benchmarks drive.
pub(crate) const CLIENTS: &[Need] = &[
    Need { program: "ssh", package: "openssh-client" },
    Need { program: "sftp", package: "openssh-client" },
    Need { program: "sshd", package: "openssh-server" },
    Need { program: "nginx", package: "nginx-light" },
    Need { program: "rsync", package: "rsync" },
    Need { program: "git", package: "git" },
    Need { program: "curl", package: "curl" },
    Need { program: "jq", package: "jq" },
    Need { program: "faketime", package: "faketime" },
    Need { program: "ansible", package: "ansible-core" },
];

/// What drives the browser app.
pub(crate) const BROWSER: &[Need] = &[
    Need { program: "chromium", package: "chromium" },
    Need { program: "nginx", package: "nginx-light" },
    Need { program: "openssl", package: "openssl" },
];

/// Installs the packages of whatever is missing.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let mut missing: Vec<&str> =
        needs.iter().filter(|n| which(n.program).is_none()).map(|n| n.package).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root() || which("apt-get").is_none() {
        bail!("missing programs; run: sudo apt-get install {list}");
    }
    eprintln!("installing {list}");
    let install = |packages: &[&str]| {
        run(Command::new("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"))
    };
    if install(&missing).is_ok() {
        return Ok(());
    }
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    install(&missing)
}

/// Whether this process may install packages.
pub(crate) fn is_root() -> bool {
    let out = Command::new("id").arg("-u").output();
    out.is_ok_and(|o| o.stdout.trim_ascii() == b"0")
}
