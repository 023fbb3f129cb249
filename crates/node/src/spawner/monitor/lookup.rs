//! Accounts on their way: begun when a sign-in holds, told when a process has found them, given up when it takes too long.
//!
//! Nothing here waits. What the sign-in was good for is kept until the account is known, and judged then.

use std::io;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::super::account::Account;
use super::super::claim::{Claim, Good};
use super::super::finder::{self, About, BUSY, Finder};
use super::super::jobs::Worker;
use super::super::message::Answer;
use super::{Held, Monitor, Reply, end, now, refused, told_log};
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
        Ok(match self.ask(login) {
            Ok(worker) => {
                let about = About { login: login.to_owned(), good };
                let lookup = self.hold(Held::Begun);
                self.lookups.begin(lookup, worker, Instant::now() + self.names.patience, about);
                Answer::Begun { handle: lookup }.into()
            }
            Err(error) => refused(format!("no process to look `{login}` up with: {error}")),
        })
    }

    /// Somebody who looks it up: one who has nothing to do, or a new one.
    fn ask(&mut self, login: &str) -> io::Result<Worker<Finder>> {
        while let Some(worker) = self.lookups.idle(|_| true) {
            // One that has just ended is of no use any more.
            if worker.way.ask(login, today()).is_ok() {
                return Ok(worker);
            }
        }
        let (child, way) = finder::start(&self.powers, &self.names)?;
        way.ask(login, today())?;
        Ok(Worker { child, until: Instant::now() + self.names.serves, way })
    }

    /// Until when the loop may sleep.
    pub(super) fn patience(&self) -> Option<Duration> {
        let due = [self.lookups.next_due(), self.reaches.next_due(), self.turns.next_due()];
        due.into_iter().flatten().min().map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// Gives up what has taken too long, and says which account it was. Lets processes go that have served their time.
    pub(super) fn give_up_overdue(&mut self) -> Result<(), Error> {
        self.lookups.retire(Instant::now());
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
            self.say(&Answer::Denied { handle: lookup, reason }, &[])?;
        }
        Ok(())
    }

    /// Nobody waits for it any more.
    pub(super) fn give_up(&mut self, lookup: u32) {
        if let Some((child, _)) = self.lookups.give_up(lookup) {
            end(child);
        }
    }

    /// Tells what was found for those that are answered.
    pub(super) fn hear(&mut self, answered: &[u32]) -> Result<(), Error> {
        for lookup in answered {
            let heard = self.lookups.open().find(|(open, ..)| open == lookup);
            match heard.map(|(_, worker, about)| worker.way.hear(&about.login)) {
                None | Some(Ok(None)) => {}
                Some(Ok(Some(found))) => {
                    if let Some(about) = self.lookups.answered(*lookup, Instant::now()) {
                        self.found(*lookup, about, found)?;
                    }
                }
                Some(Err(_)) => {
                    if let Some((child, about)) = self.lookups.give_up(*lookup) {
                        end(child);
                        let failed = no_answer(&about.login);
                        self.found(*lookup, about, Err(failed))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells that a child, if it was one that looked an account up, has ended over it.
    pub(super) fn broke_off(&mut self, child: Pid) -> Result<(), Error> {
        let Some((lookup, about)) = self.lookups.ended(child) else { return Ok(()) };
        let failed = no_answer(&about.login);
        self.found(lookup, about, Err(failed))
    }

    fn found(&mut self, lookup: u32, about: About, found: Result<Account, String>) -> Result<(), Error> {
        self.held.remove(&lookup);
        let answer = match found.and_then(|account| may_open(account, &about.good)) {
            Ok(account) => {
                let (uid, gid) = (account.uid.as_raw(), account.gid.as_raw());
                let (home, shell) = (account.home.as_bytes().to_vec(), account.shell.as_bytes().to_vec());
                self.held.insert(lookup, Held::Account { account, good_until: about.good.expires_at });
                Answer::Found { account: lookup, uid, gid, home, shell }
            }
            Err(reason) => Answer::Denied { handle: lookup, reason },
        };
        self.say(&answer, &[])
    }

    /// Ends every look-up under way.
    pub(super) fn end_lookups(&self) {
        self.lookups.open().for_each(|(_, worker, _)| end(worker.child));
    }
}

fn no_answer(login: &str) -> String {
    format!("looking up `{login}` failed on this host: its name service ended without an answer")
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

/// Days since 1970, for account expiry.
fn today() -> u64 {
    u64::try_from(now().millis()).unwrap_or_default() / 86_400_000
}
