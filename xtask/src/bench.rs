//! Benchmarks: builds for release and runs a measuring program; its page goes into docs.

use std::process::Command;

use anyhow::{Result, bail};

use crate::packages;
use crate::shell::{cargo, output, root, run, target_dir};

/// `bench gate [--quick] [measure]`; only a whole run writes the page.
pub(crate) fn run_bench(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        println!("gate    a gate against plain OpenSSH: latency, rates, throughput, echo, memory");
        return Ok(());
    };
    if name != "gate" {
        bail!("no such benchmark: {name}");
    }
    packages::ensure(packages::CLIENTS)?;
    run(cargo().args([
        "build",
        "--release",
        "--locked",
        "--package",
        "moongate",
        "--package",
        "e2e",
        "--bins",
    ]))?;
    let release = target_dir().join("release");
    let page = output(
        Command::new(release.join("gate-bench")).args(rest).env("MOONGATE_BIN", release.join("moongate")),
    )?;
    if rest.is_empty() {
        std::fs::write(root().join("docs/performance.md"), &page)?;
        println!("wrote docs/performance.md");
    } else {
        println!("{}", String::from_utf8_lossy(&page));
    }
    Ok(())
}
