//! From a path to its handler: a row for each verb, and what handlers take and give.
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

/// The verbs with their handlers; `verbs` fills it, once.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
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

    /// Adds a verb that answers one value.
    pub(crate) fn json<V, F, Fut>(&mut self, handle: F)
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

    /// Adds a verb that answers bytes as they are kept.
    pub(crate) fn raw<V, F, Fut>(&mut self, handle: F)
    where
        V: Call,
        F: Fn(Ctx, V) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Answer<Bytes>> + Send + 'static,
    {
        self.add::<V>(Box::new(move |ctx, fields| {
            Box::pin(async move { handle(ctx, query::parse::<V>(fields)?).await.map(Reply::Raw) })
        }));
    }

    /// Adds a verb that answers a stream of values.
    pub(crate) fn stream<V, F, Fut>(&mut self, handle: F)
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
