//! Every verb of `model::api` with its handler: one row each, and a test that none is missing.

use crate::dispatch::Table;
use crate::{access, certs, cluster, devices, events, invites, live, locks, nodes, passkeys};
use crate::{recordings, roles, timeline, tokens, users};

/// The table of every verb.
pub(crate) fn table() -> Table {
    let mut table = Table::default();
    table.json(cluster::get_cluster);
    table.json(cluster::get_trust);
    table.json(cluster::get_config);
    table.json(cluster::report_proxy);
    table.json(cluster::get_status);
    table.stream(cluster::watch_policy);
    table.json(access::sign_in);
    table.json(access::who_am_i);
    table.json(access::unlock);
    table.json(passkeys::begin_sign_in);
    table.json(devices::begin);
    table.json(devices::add);
    table.json(devices::list);
    table.json(devices::rename);
    table.json(devices::remove);
    table.json(invites::get);
    table.json(invites::accept);
    table.json(live::list);
    table.json(live::track);
    table.json(live::end);
    table.json(certs::join);
    table.json(certs::renew);
    table.json(users::list);
    table.json(users::get);
    table.json(users::create);
    table.json(users::update);
    table.json(users::reset);
    table.json(users::delete);
    table.json(roles::list);
    table.json(roles::get);
    table.json(roles::put);
    table.json(roles::delete);
    table.json(tokens::list);
    table.json(tokens::create);
    table.json(tokens::delete);
    table.json(nodes::list);
    table.json(nodes::report);
    table.json(nodes::report_tunnels);
    table.json(nodes::delete);
    table.json(locks::list);
    table.json(locks::create);
    table.json(locks::delete);
    table.json(events::emit);
    table.json(events::search);
    table.stream(events::tail);
    table.json(events::export);
    table.json(recordings::put_segment);
    table.json(recordings::get_upload);
    table.json(recordings::list);
    table.json(recordings::get);
    table.raw(recordings::get_segment);
    table.json(timeline::get);
    table.json(timeline::picture);
    table.json(timeline::transcript);
    table.stream(timeline::export);
    table.json(timeline::search);
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_verb_of_the_api_has_one_handler() {
        let table = table();
        let handled: Vec<_> = table.rows().iter().map(|r| r.endpoint.name).collect();
        let declared: BTreeSet<_> = model::api::endpoints().iter().map(|e| e.name).collect();

        assert_eq!(handled.iter().copied().collect::<BTreeSet<_>>(), declared);
        assert_eq!(handled.len(), declared.len());
    }
}
