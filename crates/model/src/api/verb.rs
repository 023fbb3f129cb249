//! What a verb of the API is: method, path, who may ask, how bodies travel, what comes back.

use schemars::Schema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::resource::{Kind, Verb};

/// HTTP methods in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes or asks.
    Post,
    /// Writes whole, idempotent.
    Put,
    /// Removes.
    Delete,
}

impl Method {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }
}

/// Who may ask. Every verb has one; there is no default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Anyone, before they are known: rate-limited, bounded, constant cost.
    Anyone,
    /// Whoever policy grants this verb on this kind. For [`Kind::Own`] that is every user, about themself.
    Granted(Kind, Verb),
    /// A live host certificate of this cluster; the handler checks that it speaks only for itself.
    Host,
    /// A proxy's host certificate: it vouches for the person behind it where the verb says so.
    Proxy,
}

/// How the bodies travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// JSON in (query string for GET), JSON out.
    Json,
    /// Bytes in (`application/octet-stream`), JSON out.
    Upload,
    /// JSON in, bytes out.
    Download,
    /// JSON in, one JSON value a line out, until either side closes; an empty line is a heartbeat.
    Stream,
}

/// One verb, described.
#[derive(Clone)]
pub struct Endpoint {
    /// The type's name; the operation id in OpenAPI.
    pub name: &'static str,
    /// HTTP method.
    pub method: Method,
    /// Path with `{field}` parts taken from the request's fields of the same name.
    pub path: &'static str,
    /// Who may ask.
    pub asker: Asker,
    /// How bodies travel.
    pub shape: Shape,
    /// One sentence.
    pub summary: &'static str,
    /// The request's JSON schema.
    pub request: fn() -> Schema,
    /// The response's (or each streamed item's) JSON schema.
    pub response: fn() -> Schema,
}

/// A verb of the API.
pub trait Call: Serialize + DeserializeOwned + Send + Sync + schemars::JsonSchema + 'static {
    /// What comes back: the JSON body, or each line of a stream.
    type Response: Serialize + DeserializeOwned + Send + schemars::JsonSchema + 'static;
    /// The type's name.
    const NAME: &'static str;
    /// HTTP method.
    const METHOD: Method;
    /// Path with `{field}` parts.
    const PATH: &'static str;
    /// Who may ask.
    const ASKER: Asker;
    /// How bodies travel.
    const SHAPE: Shape;
    /// One sentence.
    const SUMMARY: &'static str;

    /// The verb as data.
    #[must_use]
    fn endpoint() -> Endpoint {
        Endpoint {
            name: Self::NAME,
            method: Self::METHOD,
            path: Self::PATH,
            asker: Self::ASKER,
            shape: Self::SHAPE,
            summary: Self::SUMMARY,
            request: || schemars::schema_for!(Self),
            response: || schemars::schema_for!(Self::Response),
        }
    }
}

/// Declares verbs: `verb!(Type, METHOD "path", asker, shape => Response, "summary");`.
macro_rules! verb {
    ($type:ident, $method:ident $path:literal, $asker:expr, $shape:ident => $response:ty, $summary:literal) => {
        impl $crate::api::Call for $type {
            type Response = $response;
            const NAME: &'static str = stringify!($type);
            const METHOD: $crate::api::Method = $crate::api::Method::$method;
            const PATH: &'static str = $path;
            const ASKER: $crate::api::Asker = $asker;
            const SHAPE: $crate::api::Shape = $crate::api::Shape::$shape;
            const SUMMARY: &'static str = $summary;
        }
    };
}
pub(crate) use verb;

/// An empty answer.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub struct Done {}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Pass as `start` to get the next page; empty at the end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub next: String,
}

/// What an error says on the wire. Forbidden and unknown are both `not_found`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The request makes no sense: 400.
    BadRequest,
    /// Credentials are missing or wrong: 401.
    Unauthenticated,
    /// No such thing, or not for you: 404.
    NotFound,
    /// It exists already, or changed under you: 409.
    Conflict,
    /// Too many tries: 429.
    TooMany,
    /// Too large: 413.
    TooLarge,
    /// Our fault: 500.
    Internal,
    /// Not now, try again: 503.
    Unavailable,
}

impl Fault {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Fault::BadRequest => 400,
            Fault::Unauthenticated => 401,
            Fault::NotFound => 404,
            Fault::Conflict => 409,
            Fault::TooLarge => 413,
            Fault::TooMany => 429,
            Fault::Internal => 500,
            Fault::Unavailable => 503,
        }
    }
}

/// The body of every answer that is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct ErrorBody {
    /// Whose fault.
    pub fault: Fault,
    /// What failed, why, and what to do.
    pub message: String,
    /// Until when it will go on failing, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<crate::Timestamp>,
}
