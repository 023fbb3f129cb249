//! Benchmarks: runs measuring programs against a release build; what they print becomes a section of a page in docs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, output, root, run, target_dir};
use crate::{packages, ui};

/// `bench gate [measure]`, `bench web|player [--program FILE]`, `bench search [HOURS]`.
pub(crate) fn run_bench(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        println!(
            "gate    a gate against plain OpenSSH: latency, rates, throughput, echo, memory; only a whole run is kept"
        );
        println!(
            "web     the browser app against stock ssh: echo, throughput, first load, filter, idle terminals"
        );
        println!("player  opening of and seeking in a recording of ten hours and one of 500 MiB");
        println!("search  what was on the screen in 1,000 hours of recordings");
        println!(
            "\nweb and player take `--program FILE`: a gate that is built already, with the browser app in it."
        );
        return Ok(());
    };
    match name.as_str() {
        "gate" => gate(rest),
        "web" => browser("web", "The browser", given(rest)?),
        "player" => browser("player", "The player", given(rest)?),
        "search" => search(rest),
        _ => bail!("no such benchmark: {name}"),
    }
}

const PAGE: &str = "docs/performance.md";

fn page() -> String {
    std::fs::read_to_string(root().join(PAGE)).unwrap_or_default()
}

/// Replaces the page's section of this title, or adds it, and prints it.
fn keep(title: &str, text: &str) -> Result<()> {
    std::fs::write(root().join(PAGE), with_section(&page(), title, text))?;
    println!("{}\n\nwrote the section \"{title}\" of {PAGE}", text.trim());
    Ok(())
}

fn with_section(page: &str, title: &str, text: &str) -> String {
    let head = format!("\n## {title}\n");
    let (before, after) = match page.split_once(&head) {
        Some((before, rest)) => {
            (before, rest.find("\n## ").and_then(|at| rest.get(at..)).unwrap_or_default())
        }
        None => (page, ""),
    };
    let text = text.trim();
    format!("{}\n{head}\n{text}\n{after}", before.trim_end())
}

/// A gate against plain OpenSSH.
fn gate(rest: &[String]) -> Result<()> {
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
    let found = output(
        Command::new(release.join("gate-bench")).args(rest).env("MOONGATE_BIN", release.join("moongate")),
    )?;
    let found = String::from_utf8_lossy(&found);
    if !rest.is_empty() {
        println!("{found}");
        return Ok(());
    }
    // What the other benchmarks wrote stays.
    let page = page();
    let others = page.find("\n## ").and_then(|at| page.get(at..)).unwrap_or_default();
    std::fs::write(root().join(PAGE), [found.trim_end(), "\n", others].concat())?;
    println!("wrote {PAGE}");
    Ok(())
}

/// The program that was asked for, if one was.
fn given(arguments: &[String]) -> Result<Option<PathBuf>> {
    match arguments {
        [] => Ok(None),
        [option, path] if option == "--program" => Ok(Some(std::path::absolute(path)?)),
        _ => bail!("usage: cargo xtask bench web|player [--program FILE]"),
    }
}

/// A measuring spec in a real browser: `ui/e2e/bench/<spec>.spec.ts`.
fn browser(spec: &str, title: &str, program: Option<PathBuf>) -> Result<()> {
    packages::ensure(packages::CLIENTS)?;
    packages::ensure(packages::BROWSER)?;
    ui::packages()?;
    let build = program.as_deref().map_or("a release build", described);
    let program = match &program {
        Some(program) => program.clone(),
        None => {
            ui::built()?;
            run(cargo().args(["build", "--release", "--locked", "--package", "moongate"]))?;
            target_dir().join("release/moongate")
        }
    };
    run(cargo().args(["build", "--locked", "--package", "session", "--example", "reel"]))?;
    let section = target_dir().join(format!("bench-{spec}.md"));
    std::fs::write(&section, "")?;
    run(ui::runner()
        .args(["run", &format!("bench/{spec}.spec.ts")])
        .env("MOONGATE_BENCH", &section)
        .env("MOONGATE_BENCH_BUILD", build)
        .env("MOONGATE_REEL", target_dir().join("debug/examples/reel"))
        .env("MOONGATE_BIN", program))?;
    let found = std::fs::read_to_string(&section).context("what was measured")?;
    keep(title, &format!("Measured with `cargo xtask bench {spec}` on {}", found.trim()))
}

/// What kind of build a given program is, as far as its place tells.
fn described(program: &Path) -> &'static str {
    let within = |folder: &str| program.components().any(|part| part.as_os_str() == folder);
    if within("release") {
        "a release build"
    } else if within("debug") {
        "a **debug** build: read the ratios, not the times"
    } else {
        "a build from elsewhere"
    }
}

/// Searches in many hours of screens.
fn search(arguments: &[String]) -> Result<()> {
    let hours = arguments.first().map_or("1000", String::as_str);
    let found = output(cargo().args([
        "run",
        "--release",
        "--locked",
        "--quiet",
        "--package",
        "store",
        "--example",
        "shelf",
        "--",
        hours,
    ]))?;
    keep(
        "Searches",
        &format!("Measured with `cargo xtask bench search`. {}", String::from_utf8_lossy(&found)),
    )
}

#[cfg(test)]
mod tests {
    use super::with_section;

    #[test]
    fn a_section_takes_the_place_of_its_older_self_and_leaves_the_others() {
        let page = "# Top\n\nrows\n\n## One\n\nold\n\n## Two\n\nkept\n";

        assert_eq!(with_section(page, "One", "new\n"), "# Top\n\nrows\n\n## One\n\nnew\n\n## Two\n\nkept\n");
        assert_eq!(with_section(page, "Two", "new"), "# Top\n\nrows\n\n## One\n\nold\n\n## Two\n\nnew\n");
        assert_eq!(with_section("# Top\n", "One", "new"), "# Top\n\n## One\n\nnew\n");
    }
}
