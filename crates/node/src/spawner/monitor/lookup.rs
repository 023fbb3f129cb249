//! Accounts on their way: begun when a sign-in holds, told when their process has ended, given up when it takes too long.
//!
//! Nothing here waits. What the sign-in was good for is kept until the account is known, and judged then.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal as Sig, kill};
use nix::unistd::Pid;

use super::super::account::Account;
use super::super::claim::{Claim, Good};
use super::super::finder::{self, About, Wanted};
use super::super::lookups::BUSY;
use super::super::message::{Answer, Exit};
use super::{Held, Monitor, Reply, now, refused, told_log};
use crate::Error;

/// What a person is told whose sign-in does not open the account.
const NOT_PROVEN: &str = "the privileged half of this service did not accept the sign-in";

impl Monitor {
    /// Begins to look up the account of a sign-in that holds.
    pub(super) fn lookup(&mut self, claim: &Claim) -> Result<Reply, Error> {
        let login = claim.proof.login.as_str();
        let good = self.authorities.judge(claim, now()).map_err(|why| not_proven(login, why))?;
        if !self.lookups.room() {
            return Ok(refused(told_log(login, BUSY.to_owned()).to_string()));
        }
        let wanted = Wanted { login, powers: &self.powers, names: &self.names, today: today() };
        Ok(match finder::start(&wanted) {
            Ok((child, slip)) => {
                let about = About { login: login.to_owned(), good, slip };
                let lookup = self.hold(Held::Lookup);
                self.lookups.begin(lookup, child, Instant::now() + self.names.patience, about);
                Answer::Looking { lookup }.into()
            }
            Err(error) => refused(format!("no process to look `{login}` up with: {error}")),
        })
    }

    /// Until when the loop may sleep.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.lookups.next_due().map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// Gives up what has taken too long, and says which account it was.
    pub(super) fn give_up_overdue(&mut self) -> Result<(), Error> {
        while let Some((lookup, child, about)) = self.lookups.overdue(Instant::now()) {
            end(child);
            self.held.remove(&lookup);
            let reason = format!(
                "this host's name service (LDAP, SSSD) did not answer in {} s who `{}` is: its administrator should \
                 see whether it works",
                self.names.patience.as_secs(),
                about.login
            );
            let reason = told_log(&about.login, reason).to_string();
            self.say(&Answer::Denied { lookup, reason }, &[])?;
        }
        Ok(())
    }

    /// Nobody waits for it any more.
    pub(super) fn give_up(&mut self, lookup: u32) {
        self.lookups.give_up(lookup).into_iter().for_each(end);
    }

    /// Tells what a child has found that ended like this, if it is one that looked an account up.
    pub(super) fn looked_up(&mut self, child: Pid, exit: Exit) -> Result<(), Error> {
        let Some((lookup, about)) = self.lookups.ended(child) else { return Ok(()) };
        let About { login, good, slip } = about;
        self.held.remove(&lookup);
        let answer = match slip.read(exit, &login).and_then(|account| may_open(account, &good)) {
            Ok(account) => {
                let (uid, gid) = (account.uid.as_raw(), account.gid.as_raw());
                let (home, shell) = (account.home.as_bytes().to_vec(), account.shell.as_bytes().to_vec());
                self.held.insert(lookup, Held::Account { account, good_until: good.expires_at });
                Answer::Found { account: lookup, uid, gid, home, shell }
            }
            Err(reason) => Answer::Denied { lookup, reason },
        };
        self.say(&answer, &[])
    }

    /// Ends every look-up under way.
    pub(super) fn end_lookups(&self) {
        self.lookups.children().for_each(end);
    }
}

/// Root's by another name is for those alone whose certificate names root.
fn may_open(account: Account, good: &Good) -> Result<Account, String> {
    if account.uid.is_root() && !good.logins.iter().any(|login| login == "root") {
        let why = "it is root's by another name, and the certificate does not name root";
        return Err(not_proven(&account.login, why.to_owned()).to_string());
    }
    Ok(account)
}

/// Words for the log; the person is told no more than a stranger would be.
fn not_proven(login: &str, why: String) -> Error {
    told_log(login, why);
    Error::Refused(NOT_PROVEN.to_owned())
}

/// Its number is its own until it is collected.
fn end(child: Pid) {
    let _ = kill(child, Sig::SIGKILL);
}

/// Days since 1970, for account expiry.
fn today() -> u64 {
    u64::try_from(now().millis()).unwrap_or_default() / 86_400_000
}
