//! Benchmarks: builds for release and runs a measuring program; its page goes into docs.

use std::process::Command;

use anyhow::{Result, bail};

use crate::shell::{cargo, output, root, run, target_dir};
use crate::{packages, ui};

/// `bench gate [--quick] [measure]`; only a whole run writes the page.
pub(crate) fn run_bench(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        println!("gate    a gate against plain OpenSSH: latency, rates, throughput, echo, memory");
        println!("web     the browser app against stock ssh: echo, throughput, first load");
        return Ok(());
    };
    if name == "web" {
        return web();
    }
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
        // What the other benchmarks wrote stays.
        let kept = std::fs::read_to_string(root().join(PAGE)).unwrap_or_default();
        let kept = OTHERS
            .iter()
            .filter_map(|title| kept.find(title))
            .min()
            .and_then(|at| kept.get(at..))
            .unwrap_or_default();
        let page = String::from_utf8_lossy(&page);
        std::fs::write(root().join(PAGE), [page.trim_end(), "\n", kept].concat())?;
        println!("wrote {PAGE}");
    } else {
        println!("{}", String::from_utf8_lossy(&page));
    }
    Ok(())
}

const PAGE: &str = "docs/performance.md";
/// Sections that `gate` does not write; they stand behind its own.
const OTHERS: [&str; 2] = ["\n## The player\n", BROWSER];
/// Where the section about the browser begins; it runs to the end.
const BROWSER: &str = "\n## The browser\n";

/// The browser app against stock ssh; writes its section of the page.
fn web() -> Result<()> {
    packages::ensure(packages::CLIENTS)?;
    packages::ensure(packages::BROWSER)?;
    ui::built()?;
    run(cargo().args(["build", "--release", "--locked", "--package", "moongate"]))?;
    let section = target_dir().join("browser-bench.md");
    run(ui::runner()
        .arg("run")
        .env("MOONGATE_BENCH", &section)
        .env("MOONGATE_BIN", target_dir().join("release/moongate")))?;
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap_or_default();
    let before = page.split(BROWSER).next().unwrap_or_default();
    std::fs::write(
        root().join(PAGE),
        [before.trim_end(), "\n\n", &std::fs::read_to_string(section)?].concat(),
    )?;
    println!("wrote {PAGE}");
    Ok(())
}
