//! The table of web sessions: by the hash of their tokens, so that what is in memory opens nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Timestamp, UserName};
use runtime::{Clock, Random, Scope};

use super::person::{Ground, Person, lock};
use super::token::{hash, token};
use super::{IdleLimits, MAX_PER_USER, MAX_SESSIONS, Ways};

/// How often sessions that are over are let go.
const SWEEP: Duration = Duration::from_secs(60);

/// Everyone who is signed in with a browser. Clones share: every face of one gate has the same.
#[derive(Clone)]
pub struct Sessions(Arc<Inner>);

struct Inner {
    ways: Arc<dyn Ways>,
    clock: Clock,
    random: Random,
    scope: Scope,
    people: Mutex<HashMap<String, Arc<Person>>>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sessions({})", self.count())
    }
}

impl Sessions {
    /// Nobody yet. What people start lives in `scope`; sessions that are over are let go every minute.
    #[must_use]
    pub fn new(ways: Arc<dyn Ways>, clock: Clock, random: Random, scope: &Scope) -> Self {
        let scope = scope.child("web sessions");
        let inner = Arc::new(Inner { ways, clock, random, scope: scope.clone(), people: Mutex::default() });
        let kept = Arc::downgrade(&inner);
        scope.spawn("web sessions", async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(inner) = kept.upgrade() else { return };
                Sessions(inner).sweep();
            }
        });
        Self(inner)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.0.people).len()
    }

    pub(crate) fn ways(&self) -> &Arc<dyn Ways> {
        &self.0.ways
    }

    /// How long browsers are left alone, as it is now.
    pub(crate) fn limits(&self) -> IdleLimits {
        self.0.ways.idle()
    }

    pub(crate) fn is_locked(&self, person: &Person) -> bool {
        person.idle.is_locked(self.now(), self.limits())
    }

    /// Resolves when a browser is locked.
    pub(crate) async fn until_locked(&self, person: &Person) {
        person.idle.falls(|| (self.now(), self.limits())).await;
    }

    fn is_alive(&self, person: &Person) -> bool {
        let now = self.now();
        person.expires > now && !person.idle.is_over(now, self.limits())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(crate) fn random(&self) -> &Random {
        &self.0.random
    }

    /// What a new session stands on.
    pub(crate) fn ground(&self) -> Ground<'_> {
        Ground {
            ways: self.0.ways.as_ref(),
            scope: self.0.scope.child("web session"),
            random: self.0.random.clone(),
            now: self.now(),
        }
    }

    /// Takes a person in; gives the token, which is nowhere else. `None` when there is no room.
    pub(crate) fn admit(&self, person: Arc<Person>) -> Option<String> {
        self.sweep();
        let mut people = lock(&self.0.people);
        let mut own: Vec<(Timestamp, String)> = people
            .iter()
            .filter(|(_, other)| other.user == person.user)
            .map(|(key, other)| (other.idle.seen(), key.clone()))
            .collect();
        if own.len() >= MAX_PER_USER {
            own.sort();
            if let Some(oldest) = own.first().and_then(|(_, key)| people.remove(key)) {
                oldest.scope.cancel();
            }
        }
        if people.len() >= MAX_SESSIONS {
            return None;
        }
        let token = token(&self.0.random);
        people.insert(hash(&token), person);
        Some(token)
    }

    /// Whose token it is, if the session lives.
    pub(crate) fn find(&self, token: &str) -> Option<Arc<Person>> {
        let mut people = lock(&self.0.people);
        let place = hash(token);
        let person = people.get(&place)?;
        if self.is_alive(person) {
            return Some(person.clone());
        }
        people.remove(&place).inspect(|person| self.let_go(person));
        None
    }

    /// A session is over by itself. Whose certificates have ended may sign in anew and come back to their shells, which
    /// their nodes keep for a while; nobody comes back to what was left alone for so long.
    fn let_go(&self, person: &Arc<Person>) {
        if person.expires > self.now() {
            person.sign_out(&self.0.scope);
        } else {
            person.scope.cancel();
        }
    }

    /// Ends a session and everything it started.
    pub(crate) fn end(&self, token: &str) {
        let person = lock(&self.0.people).remove(&hash(token));
        if let Some(person) = person {
            person.sign_out(&self.0.scope);
        }
    }

    /// The living sessions of one person, newest first.
    pub(crate) fn of(&self, user: &UserName) -> Vec<Arc<Person>> {
        let people = lock(&self.0.people);
        let mut own: Vec<_> =
            people.values().filter(|p| p.user == *user && self.is_alive(p)).cloned().collect();
        own.sort_by(|a, b| (b.since, &b.id).cmp(&(a.since, &a.id)));
        own
    }

    /// Ends those sessions of a person that `which` names, and everything they started. Says how many.
    pub(crate) fn end_of(&self, user: &UserName, which: impl Fn(&Person) -> bool) -> usize {
        let mut people = lock(&self.0.people);
        let before = people.len();
        people.retain(|_, person| {
            let goes = person.user == *user && which(person);
            if goes {
                person.sign_out(&self.0.scope);
            }
            !goes
        });
        before - people.len()
    }

    fn sweep(&self) {
        let now = self.now();
        lock(&self.0.people).retain(|_, person| {
            let alive = self.is_alive(person);
            if alive {
                self.is_locked(person);
                person.parts.sweep(now);
            } else {
                self.let_go(person);
            }
            alive
        });
    }
}
