//! `moongate status`: inside a session, what session it is. Elsewhere it says so and fails.

use std::io::Write;

use anyhow::bail;

/// What a session's environment says, in the order shown.
const LINES: [(&str, &str); 5] = [
    ("User ID", "SSH_MOONGATE_USER"),
    ("Logged in as", "USER"),
    ("Session ID", "SSH_SESSION_ID"),
    ("Host UUID", "SSH_MOONGATE_HOST_UUID"),
    ("Cluster", "SSH_MOONGATE_CLUSTER_NAME"),
];

/// Shows the session to `out`; `lookup` reads the environment.
pub(crate) fn run(lookup: impl Fn(&str) -> Option<String>, out: &mut impl Write) -> anyhow::Result<()> {
    if lookup("SSH_SESSION_ID").is_none() {
        bail!("nothing here tells of a session through a gate (sessions without notice are not told)");
    }
    for (label, name) in LINES {
        if let Some(value) = lookup(name) {
            writeln!(out, "{label:<13}: {value}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_session_tells_its_id_and_elsewhere_there_is_none() {
        let inside = |name: &str| match name {
            "SSH_SESSION_ID" => Some("abc".to_owned()),
            "SSH_MOONGATE_USER" => Some("ann".to_owned()),
            _ => None,
        };
        let mut out = Vec::new();

        run(inside, &mut out).unwrap();

        assert_eq!(String::from_utf8(out).unwrap(), "User ID      : ann\nSession ID   : abc\n");
        assert!(run(|_| None, &mut Vec::new()).is_err());
    }
}
