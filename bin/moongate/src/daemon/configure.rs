//! `moongate configure`: writes a commented file, or checks one and shows everything wrong with it.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};

use super::args::Configure;
use super::file;

/// Runs the command. Its output goes to `out`, what it has to say to standard error.
pub(crate) fn run(args: &Configure, out: &mut impl Write) -> anyhow::Result<()> {
    if let Some(path) = &args.test {
        return test(path);
    }
    let text = match config::compose::compose(&args.wish()) {
        Ok(text) => text,
        Err(bad) => bail!("{}", bad.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    };
    match args.output.as_str() {
        "stdout" | "-" => out.write_all(text.as_bytes()).context("cannot write to standard output")?,
        "file" => save(Path::new(file::DEFAULT), &text)?,
        path => save(Path::new(path), &text)?,
    }
    Ok(())
}

/// Shows every finding; fails if one is an error.
fn test(path: &Path) -> anyhow::Result<()> {
    let file = file::open(path)?;
    match config::load(&file.name, &file.text, &config::Flags::default()) {
        Ok(loaded) => {
            for note in &loaded.notes {
                eprintln!("{note}");
            }
            eprintln!("{}: good", file.name);
            Ok(())
        }
        Err(findings) => {
            for finding in &findings.0 {
                eprintln!("{finding}");
            }
            bail!("{}: {} to correct", file.name, findings.errors().count())
        }
    }
}

/// Writes a new file only its owner can read (it may hold a token); never over another.
fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = path.display();
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{shown} is there already: remove it first, or write elsewhere with -o")
        }
        opened => opened.with_context(|| format!("cannot write {shown}"))?,
    };
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {shown}"))?;
    eprintln!("wrote {shown}\nstart with: moongate start -c {shown}");
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_written_passes_its_own_test_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gate.yaml");
        let args = Configure { output: path.display().to_string(), ..Configure::default() };

        run(&args, &mut Vec::new()).unwrap();

        run(&Configure { test: Some(path.clone()), ..Configure::default() }, &mut Vec::new()).unwrap();
        assert!(run(&args, &mut Vec::new()).unwrap_err().to_string().contains("already"));
        std::fs::write(&path, "auth_servic: {}\n").unwrap();
        let error =
            run(&Configure { test: Some(path), ..Configure::default() }, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().ends_with("1 to correct"), "{error}");
    }
}
