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

/// The longest name of a variable in an account's own file.
const MAX_NAME: usize = 128;

/// A name a shell can use.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Names an account's own file may set where the host permits such files: not who the session is for, not facts about
/// the connection, and nothing that makes the loader, the C library or a shell run other code before the shell itself
/// has had a say. `PATH` is theirs to choose.
#[must_use]
pub fn account_may_set(name: &str) -> bool {
    let of_others = ["LD_", "SSH_", "MOONGATE_", "BASH", "GLIBC_", "MALLOC_"];
    let single = matches!(
        name,
        "HOME"
            | "USER"
            | "LOGNAME"
            | "SHELL"
            | "ENV"
            | "IFS"
            | "SHELLOPTS"
            | "PS4"
            | "PROMPT_COMMAND"
            | "ZDOTDIR"
            | "FPATH"
            | "GCONV_PATH"
            | "GETCONF_DIR"
            | "HOSTALIASES"
            | "LOCALDOMAIN"
            | "LOCPATH"
            | "NLSPATH"
            | "RES_OPTIONS"
            | "RESOLV_HOST_CONF"
            | "TZDIR"
    );
    !single && !of_others.iter().any(|prefix| name.starts_with(prefix))
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

    #[test]
    fn an_accounts_file_sets_names_that_leave_loader_and_shell_alone() {
        for good in ["PATH", "EDITOR", "CUDA_VISIBLE_DEVICES", "PYTHONPATH", "LANG", "_x", "BAS"] {
            assert!(is_name(good) && account_may_set(good), "{good}");
        }
        for bad in [
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "GLIBC_TUNABLES",
            "BASH_ENV",
            "ENV",
            "IFS",
            "HOME",
            "SSH_CLIENT",
        ] {
            assert!(!account_may_set(bad), "{bad}");
        }
        for bad in ["", "2A", "A B", "A-B", "\u{e9}", "BASH_FUNC_x%%"] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_name(&"A".repeat(MAX_NAME)) && !is_name(&"A".repeat(MAX_NAME + 1)));
    }
}
