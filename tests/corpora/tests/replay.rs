//! Every committed corpus file through its entry point: what once crashed stays mended.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};

fn corpora() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpora")
}

#[test]
fn every_corpus_file_is_survived() -> Result<()> {
    for (target, entry) in corpora::TARGETS {
        let folder = corpora().join(target);
        for file in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = file?.path();
            let data = std::fs::read(&path)?;

            let survived = std::panic::catch_unwind(|| entry(&data)).is_ok();

            assert!(survived, "{target} does not survive {}", path.display());
        }
    }
    Ok(())
}

#[test]
fn truncated_and_flipped_seeds_are_survived() -> Result<()> {
    for (target, entry) in corpora::TARGETS {
        for file in std::fs::read_dir(corpora().join(target))? {
            let data = std::fs::read(file?.path())?;
            for at in (0..data.len().min(512)).step_by(1 + data.len() / 256) {
                let mut flipped = data.clone();
                if let Some(byte) = flipped.get_mut(at) {
                    *byte ^= 0x81;
                }
                entry(&flipped);
                entry(data.get(..at).unwrap_or_default());
            }
        }
    }
    Ok(())
}

#[test]
fn every_corpus_folder_has_its_target() -> Result<()> {
    let known: BTreeSet<&str> = corpora::TARGETS.iter().map(|(name, _)| *name).collect();

    for folder in std::fs::read_dir(corpora())? {
        let name = folder?.file_name().to_string_lossy().into_owned();

        assert!(known.contains(name.as_str()) || name == "README.md", "{name} feeds no target");
    }
    Ok(())
}
