//! Packs the files of the browser app, when it has been built, so that they become part of the program. Packed, as most who
//! run the program serve no page.
//!
//! Looks at `MOONGATE_UI_DIST`, else at `ui/dist/app` of the repository. Without either the list is empty and the front
//! page says so. `ui/dist` is always there, so that a first build of the app is noticed like every later one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How hard to try: it is done once for each build.
const LEVEL: i32 = 19;
/// More files than any build of the app has: a wrong folder, not an app.
const MAX_FILES: usize = 2000;

#[expect(clippy::disallowed_methods, reason = "cargo talks to build scripts through the environment")]
fn variable(name: &str) -> Option<PathBuf> {
    println!("cargo::rerun-if-env-changed={name}");
    std::env::var(name).ok().filter(|v| !v.is_empty()).map(PathBuf::from)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let here = variable("CARGO_MANIFEST_DIR").ok_or("cargo did not say where the crate is")?;
    let out = variable("OUT_DIR").ok_or("cargo did not say where output goes")?;
    let built = here.join("../../ui/dist");
    if built.exists() {
        println!("cargo::rerun-if-changed={}", built.display());
    }
    let dist = variable("MOONGATE_UI_DIST").unwrap_or_else(|| built.join("app"));
    let mut list = String::from("&[\n");
    if let Ok(dist) = dist.canonicalize() {
        println!("cargo::rerun-if-changed={}", dist.display());
        let mut files = Vec::new();
        collect(&dist, &mut files)?;
        files.sort();
        for (n, file) in files.iter().enumerate() {
            let name = file.strip_prefix(&dist)?.to_string_lossy().replace('\\', "/");
            let bytes = std::fs::read(file)?;
            let packed = out.join(format!("app.{n}.zst"));
            std::fs::write(&packed, zstd::bulk::compress(&bytes, LEVEL)?)?;
            let (size, packed) = (bytes.len(), packed.display().to_string());
            writeln!(list, "    ({name:?}, {size}, include_bytes!({packed:?})),")?;
        }
    }
    list.push(']');
    std::fs::write(out.join("app.rs"), list)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn std::error::Error>> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
        if files.len() > MAX_FILES {
            return Err(format!("more than {MAX_FILES} files in {}", folder.display()).into());
        }
    }
    Ok(())
}
