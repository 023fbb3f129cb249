//! What every handler works with: the store, the keys, the log, the rules, time and chance. Built once, immutable.

use std::net::IpAddr;
use std::sync::Arc;

use audit::event::{Event, Stamp};
use model::api::audit::AuditEvent;
use model::{RequestId, Timestamp};
use runtime::{Clock, Health, Random};
use store::{Blobs, Shelf};

use crate::db::Db;
use crate::error::Error;
use crate::grown::Grown;
use crate::host::OwnHosts;
use crate::keys::KeyCell;
use crate::limits::Limiter;
use crate::looks::{Exports, Looks, Watches};
use crate::password::Hasher;
use crate::refusal::{Answer, Refusal};
use crate::rules::RuleFeed;
use crate::settings::Settings;
use crate::sink::Log;
use crate::static_tokens::StaticTokens;
use crate::tunnels::Tunnels;
use crate::vault::Vault;

/// The authority's inside. Shared by every handler and job.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) own_hosts: OwnHosts,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) health: Health,
    pub(crate) db: Db,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) shelf: Arc<dyn Shelf>,
    pub(crate) grown: Grown,
    pub(crate) vault: Vault,
    pub(crate) keys: Arc<KeyCell>,
    pub(crate) rules: RuleFeed,
    pub(crate) log: Log,
    pub(crate) hasher: Hasher,
    pub(crate) tunnels: Tunnels,
    pub(crate) looks: Looks,
    pub(crate) watches: Watches,
    pub(crate) exports: Exports,
    pub(crate) static_tokens: StaticTokens,
    pub(crate) limits: Limits,
}

/// Rate limits by address.
pub(crate) struct Limits {
    /// Sign-ins and invites: each costs a password hash.
    pub(crate) sign_in: Limiter,
    /// Failed joins.
    pub(crate) join: Limiter,
    /// Everything else anyone may ask.
    pub(crate) anyone: Limiter,
}

impl Limits {
    pub(crate) fn new() -> Self {
        Self { sign_in: Limiter::new(20, 20), join: Limiter::new(30, 30), anyone: Limiter::new(3_000, 3_000) }
    }
}

impl Core {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Reads the rules anew, after a write that may have changed them.
    pub(crate) async fn refresh_rules(&self) -> Result<(), Error> {
        self.rules.refresh(&self.db, &self.keys.now(), &self.settings).await
    }

    /// Gives an event its envelope.
    pub(crate) fn stamped<E: Event>(&self, event: &E) -> AuditEvent {
        let stamp = Stamp {
            time: self.now(),
            uid: RequestId::from_random(self.random.bytes()),
            cluster: &self.settings.cluster_name,
            index: 0,
        };
        audit::event::seal(event, &stamp)
    }

    /// Writes one event, durably, before the caller goes on.
    pub(crate) async fn note<E: Event>(&self, event: &E) -> Answer<()> {
        self.log.write(vec![self.stamped(event)]).await.map(|_| ())
    }

    /// Takes one from a limit, or refuses.
    pub(crate) fn spend(&self, limiter: &Limiter, from: Option<IpAddr>) -> Answer<()> {
        enough(limiter.take(known(from), self.now()))
    }

    /// Refuses when nothing is left of a limit; takes nothing.
    pub(crate) fn has_left(&self, limiter: &Limiter, from: Option<IpAddr>) -> Answer<()> {
        enough(limiter.has(known(from), self.now()))
    }
}

/// Those who come without an address share one.
fn known(from: Option<IpAddr>) -> IpAddr {
    from.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}

fn enough(is_enough: bool) -> Answer<()> {
    match is_enough {
        true => Ok(()),
        false => Err(Refusal::too_many("too many tries from this address: wait a minute")),
    }
}
