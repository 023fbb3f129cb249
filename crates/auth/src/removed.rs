//! Hosts that were removed while their certificates are good: told to whoever follows the rules, until they end.

use std::time::Duration;

use model::api::cluster::RemovedHost;
use model::{NodeId, Timestamp};
use store::Txn;

use crate::authority::Core;
use crate::db::{encode, key};
use crate::error::Error;
use crate::host::Host;
use crate::refusal::Answer;
use crate::rules::REMOVED;

const SECOND: Duration = Duration::from_secs(1);

/// Notes with `txn` that `host` goes.
pub(crate) fn note(txn: Txn, host: &Host) -> Result<Txn, Error> {
    let removed = RemovedHost { id: host.id.clone(), until: host.expires };
    Ok(txn.put_until(key(REMOVED, &host.id)?, encode(&removed)?, Some(host.expires)))
}

/// When a certificate of the host `id` ends that is to end at `wanted`: after those that became void with its removal, or it
/// would be taken for one of them.
pub(crate) async fn outlived(core: &Core, id: &NodeId, wanted: Timestamp) -> Answer<Timestamp> {
    let removed = core.db.get::<RemovedHost>(&key(REMOVED, id)?).await?;
    // A certificate knows whole seconds only.
    let said = Timestamp::from_secs(wanted.secs());
    let void = removed.map(|doc| doc.value.until).filter(|until| *until >= said);
    Ok(void.map_or(wanted, |until| until + SECOND))
}
