//! Local accounts: who they are and whether they may have sessions now.
//!
//! Reads the name service, `/etc/shadow` (expiry only; files, not directories such as LDAP) and `/etc/nologin`.
//! A locked *password* does not lock an account: nobody signs in with passwords here. Any of it may take as long as a
//! server across a network does, so it is done by other processes (`finder`).

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use nix::unistd::{Gid, Uid, User};

/// Where the names of accounts are known, and how long it may take to hear.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The account of this name. May wait for others; it is called in a process that does nothing else.
    pub find: fn(&str) -> io::Result<Option<User>>,
    /// How long one look-up may take, and one path.
    pub patience: Duration,
    /// How long a process that looks accounts up is asked for more of them, or one that is an account for sockets. What a
    /// name service remembers in it is no older, and what it leaks is bounded.
    pub serves: Duration,
}

impl Names {
    /// The host's own name service. People who come within a few seconds cost one fork.
    pub const SYSTEM: Self = Self {
        find: |name| Ok(User::from_name(name)?),
        patience: Duration::from_secs(60),
        serves: Duration::from_secs(10),
    };
}

/// One account, resolved once and used for the life of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) login: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) groups: Vec<Gid>,
    pub(crate) home: CString,
    pub(crate) shell: CString,
}

/// Who this process is, and so whom it can become.
#[derive(Clone, Debug)]
pub(crate) enum Powers {
    /// Root: anyone.
    Anyone,
    /// Only this account.
    Only(String),
}

impl Powers {
    /// What this process can do.
    pub(crate) fn now() -> Self {
        let uid = Uid::effective();
        if uid.is_root() {
            return Powers::Anyone;
        }
        let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        Powers::Only(name)
    }
}

/// Looks a login up and says why not in words fit for the person.
pub(crate) fn lookup(login: &str, powers: &Powers, names: &Names, today: u64) -> Result<Account, String> {
    if let Powers::Only(me) = powers
        && me != login
    {
        return Err(format!(
            "this service does not run as root: sessions are possible only as `{me}`, not as `{login}`"
        ));
    }
    let unknown = || format!("no account `{login}` on this host");
    let name = CString::new(login).map_err(|_| unknown())?;
    let user = (names.find)(login).map_err(|e| format!("looking up `{login}`: {e}"))?.ok_or_else(unknown)?;
    // Some name services know a name in several spellings; a certificate names one.
    if user.name != login {
        return Err(unknown());
    }
    if !user.uid.is_root()
        && let Some(notice) = closed_for_all()
    {
        return Err(notice);
    }
    if let Ok(shadow) = std::fs::read_to_string("/etc/shadow")
        && expired(&shadow, login, today)
    {
        return Err(format!("account `{login}` has expired"));
    }
    let shell = if user.shell.as_os_str().is_empty() { Path::new("/bin/sh") } else { user.shell.as_path() };
    if let Err(error) = rustix::fs::access(shell, rustix::fs::Access::EXEC_OK) {
        return Err(format!("shell {} of account `{login}` cannot be run: {error}", shell.display()));
    }
    let groups = match powers {
        Powers::Anyone => {
            nix::unistd::getgrouplist(&name, user.gid).map_err(|e| format!("groups of `{login}`: {e}"))?
        }
        Powers::Only(_) => Vec::new(),
    };
    let c_string = |bytes: &[u8]| CString::new(bytes).map_err(|_| unknown());
    Ok(Account {
        login: login.to_owned(),
        uid: user.uid,
        gid: user.gid,
        groups,
        shell: c_string(shell.as_os_str().as_bytes())?,
        home: c_string(&user.dir.into_os_string().into_vec())?,
    })
}

/// The notice of `/etc/nologin` (or systemd's `/run/nologin`), when only root may come in.
fn closed_for_all() -> Option<String> {
    for path in ["/etc/nologin", "/run/nologin"] {
        match std::fs::read(path) {
            Ok(notice) => {
                let notice: String = String::from_utf8_lossy(&notice).chars().take(1024).collect();
                let notice = notice.trim();
                return Some(if notice.is_empty() {
                    "this host is closed for logins".to_owned()
                } else {
                    notice.to_owned()
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return Some("this host is closed for logins".to_owned()),
        }
    }
    None
}

/// True when the account's expiry (shadow(5), eighth field, days since 1970) has passed.
fn expired(shadow: &str, login: &str, today: u64) -> bool {
    shadow
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&login))
        .and_then(|fields| fields.get(7)?.parse::<u64>().ok())
        .is_some_and(|day| today >= day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_expires_on_its_day() {
        let shadow = "root:*:19000:0:99999:7:::\nann:!:19000:0:99999:7::20000:\nbob:x:1:2:3:4::junk:\n";

        assert!(!expired(shadow, "ann", 19_999));
        assert!(expired(shadow, "ann", 20_000));
        assert!(!expired(shadow, "root", 30_000));
        assert!(!expired(shadow, "bob", 30_000));
        assert!(!expired(shadow, "an", 30_000));
    }

    #[test]
    fn unknown_logins_are_refused_with_words() {
        let refused = lookup("no-such-account-here", &Powers::Anyone, &Names::SYSTEM, 0);

        assert!(refused.is_err_and(|words| words.contains("no account")));
    }

    #[test]
    fn without_root_only_ones_own_account_is_possible() {
        let refused = lookup("root", &Powers::Only("ann".into()), &Names::SYSTEM, 0);

        assert!(refused.is_err_and(|words| words.contains("only as `ann`")));
    }
}
