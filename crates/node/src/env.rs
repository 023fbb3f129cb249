//! Which variables a person's client may set in a session, and what every session starts with.
//!
//! Pure. The list is checked twice: by the half that hears the client, and by the half that starts the program.

/// Names a client may set with an `env` request.
#[must_use]
pub fn client_may_set(name: &str) -> bool {
    let locale = name.strip_prefix("LC_").is_some_and(|rest| {
        !rest.is_empty() && rest.len() <= 32 && rest.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    });
    locale || matches!(name, "LANG" | "LANGUAGE" | "TERM" | "COLORTERM" | "TZ")
}

/// Names the unprivileged half may set beside those: facts about the connection.
#[must_use]
pub fn service_may_set(name: &str) -> bool {
    client_may_set(name)
        || matches!(
            name,
            "SSH_CLIENT"
                | "SSH_CONNECTION"
                | "SSH_TTY"
                | "SSH_AUTH_SOCK"
                | "SSH_SESSION_ID"
                | "SSH_SESSION_WEBPROXY_ADDR"
                | "SSH_ORIGINAL_COMMAND"
        )
        || name
            .strip_prefix("SSH_MOONGATE_")
            .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
}

/// Where programs are looked for.
#[must_use]
pub fn search_path(uid: u32) -> &'static str {
    if uid == 0 {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    } else {
        "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_cannot_change_what_runs_pass() {
        for good in ["LANG", "LC_ALL", "LC_CTYPE", "TERM", "COLORTERM", "TZ"] {
            assert!(client_may_set(good) && service_may_set(good), "{good}");
        }
        for bad in
            ["LD_PRELOAD", "PATH", "BASH_ENV", "LC_", "LC_a=b", "lang", "HOME", "SSH_AUTH_SOCK", "IFS", ""]
        {
            assert!(!client_may_set(bad), "{bad}");
        }
        for bad in ["LD_PRELOAD", "PATH", "HOME", "SSH_MOONGATE_x", "SSH_ASKPASS"] {
            assert!(!service_may_set(bad), "{bad}");
        }
        for good in ["SSH_AUTH_SOCK", "SSH_MOONGATE_USER", "SSH_SESSION_ID", "SSH_SESSION_WEBPROXY_ADDR"] {
            assert!(service_may_set(good), "{good}");
        }
    }
}
