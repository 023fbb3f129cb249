//! From a path to its handler: one row for each verb of `model::api`, built once.
//!
//! A request reaches its handler only with a [`Pass`] from the gate, and each row names the asker its verb
//! declares, so there is no way around the decision.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use model::api::{Call, Endpoint};

use crate::authority::Core;
use crate::gate::{Caller, Pass};
use crate::query::{self, Fields};
use crate::refusal::{Answer, Refusal};
use crate::{access, certs, cluster, events, invites, live, locks, nodes, recordings, roles, tokens, users};

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a handler works with.
pub(crate) struct Ctx {
    pub(crate) core: Arc<Core>,
    pub(crate) caller: Caller,
    pub(crate) pass: Pass,
    /// The body of an upload.
    pub(crate) upload: Bytes,
}

/// What a handler answers.
pub(crate) enum Reply {
    Json(Bytes),
    Raw(Bytes),
    Stream(Box<dyn Source>),
}

/// The items of a stream, one JSON line each. `next` must be cancel safe.
pub(crate) trait Source: Send {
    fn next(&mut self) -> BoxFuture<'_, Answer<Option<Bytes>>>;
}

type Handler = Box<dyn Fn(Ctx, Fields) -> BoxFuture<'static, Answer<Reply>> + Send + Sync>;

/// One verb with its handler.
pub(crate) struct Row {
    pub(crate) endpoint: Endpoint,
    handler: Handler,
}

impl Row {
    /// Runs the handler. Only the gate makes the pass inside `ctx`.
    pub(crate) fn run(&self, ctx: Ctx, fields: Fields) -> BoxFuture<'static, Answer<Reply>> {
        (self.handler)(ctx, fields)
    }
}

/// Every verb.
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Builds the table.
    pub(crate) fn build() -> Self {
        let mut table = Self { rows: Vec::new() };
        table.json(cluster::get_cluster);
        table.json(cluster::get_trust);
        table.json(cluster::get_config);
        table.json(cluster::report_proxy);
        table.json(cluster::get_status);
        table.stream(cluster::watch_policy);
        table.json(access::sign_in);
        table.json(access::who_am_i);
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
        table
    }

    /// The verbs in the table.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of a method and path, with the path's fields.
    pub(crate) fn find(&self, method: &str, path: &str) -> Option<(&Row, Vec<(String, String)>)> {
        self.rows
            .iter()
            .filter(|row| row.endpoint.method.as_str() == method)
            .find_map(|row| query::match_path(row.endpoint.path, path).map(|fields| (row, fields)))
    }

    fn json<V, F, Fut>(&mut self, handle: F)
    where
        V: Call,
        F: Fn(Ctx, V) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Answer<V::Response>> + Send + 'static,
    {
        self.add::<V>(Box::new(move |ctx, fields| {
            Box::pin(async move {
                let response = handle(ctx, query::parse::<V>(fields)?).await?;
                line(&response).map(Reply::Json)
            })
        }));
    }

    fn raw<V, F, Fut>(&mut self, handle: F)
    where
        V: Call,
        F: Fn(Ctx, V) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Answer<Bytes>> + Send + 'static,
    {
        self.add::<V>(Box::new(move |ctx, fields| {
            Box::pin(async move { handle(ctx, query::parse::<V>(fields)?).await.map(Reply::Raw) })
        }));
    }

    fn stream<V, F, Fut>(&mut self, handle: F)
    where
        V: Call,
        F: Fn(Ctx, V) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Answer<Box<dyn Source>>> + Send + 'static,
    {
        self.add::<V>(Box::new(move |ctx, fields| {
            Box::pin(async move { handle(ctx, query::parse::<V>(fields)?).await.map(Reply::Stream) })
        }));
    }

    fn add<V: Call>(&mut self, handler: Handler) {
        self.rows.push(Row { endpoint: V::endpoint(), handler });
    }
}

/// One value as one line of JSON.
pub(crate) fn line<T: serde::Serialize>(value: &T) -> Answer<Bytes> {
    let mut bytes = serde_json::to_vec(value).map_err(Refusal::internal)?;
    bytes.push(b'\n');
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_verb_of_the_api_has_one_handler() {
        let table = Table::build();
        let handled: Vec<_> = table.rows().iter().map(|r| r.endpoint.name).collect();
        let declared: BTreeSet<_> = model::api::endpoints().iter().map(|e| e.name).collect();

        assert_eq!(handled.iter().copied().collect::<BTreeSet<_>>(), declared);
        assert_eq!(handled.len(), declared.len());
    }
}
