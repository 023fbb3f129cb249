//! The part file of an upload: beside its target, found again by whoever uploads the same file again.
//!
//! The name holds a hash of the file's name, size and age and of the person, so that what is resumed is what was begun.
//! In a directory everybody may write to, names are random instead: one that can be foretold could be there already,
//! made by somebody else.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

/// The longest name of a file, in bytes: what Linux's file systems take.
pub(crate) const MAX_NAME: usize = 255;
/// How much of the name is repeated in the part file's.
const SHOWN: usize = 180;
/// Everybody may write to the directory.
const WORLD_WRITABLE: u32 = 0o002;

/// A name that is one, for a file.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// A path in a directory.
pub(crate) fn join(directory: &[u8], name: &str) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
    path
}

/// Whether a part file in a directory of this mode may be found again.
pub(crate) fn may_resume(directory_mode: u32) -> bool {
    directory_mode & WORLD_WRITABLE == 0
}

/// The part file's name. `mark` tells uploads of one name apart.
pub(crate) fn part_name(name: &str, mark: &str) -> String {
    let hash = HEXLOWER.encode(digest(&SHA256, mark.as_bytes()).as_ref());
    let short = hash.get(..12).unwrap_or_default();
    let mut end = name.len().min(SHOWN);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!(".{}.{short}.part", name.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_names() {
        for (name, good) in [
            ("a", true),
            ("权重.bin", true),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("a\0", false),
        ] {
            assert_eq!(is_name(name), good, "{name:?}");
        }
        assert!(!is_name(&"x".repeat(256)));
    }

    #[test]
    fn a_part_file_has_a_name_of_its_own_that_fits() {
        let long = "权".repeat(85);

        assert!(part_name(&long, "m").len() <= MAX_NAME);
        assert_eq!(part_name("a", "m"), part_name("a", "m"));
        assert_ne!(part_name("a", "m"), part_name("a", "n"));
        assert!(part_name("a.bin", "m").starts_with(".a.bin."));
    }
}
