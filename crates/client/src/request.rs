//! Verbs as HTTP requests: path fields into the path, the rest into query or body.
//!
//! Strings travel plain in a query, everything else as JSON. Knows nothing of connections.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use model::api::{Call, Method, Shape};
use serde_json::{Map, Value};

use crate::error::CallError;

/// The body of every request.
pub(crate) type Body = Full<Bytes>;

/// Writes `verb` as a request; `upload` is the body of an [`Shape::Upload`].
pub(crate) fn write<V: Call>(verb: &V, upload: Option<Bytes>) -> Result<Request<Body>, CallError> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(verb) else {
        return Err(CallError::Request(format!("{} is not an object", V::NAME)));
    };
    let mut path = fill(V::PATH, &mut fields)?;
    let (kind, body) = match (V::SHAPE, V::METHOD) {
        (Shape::Upload, _) => ("application/octet-stream", upload.unwrap_or_default()),
        (Shape::Json | Shape::Download | Shape::Stream, Method::Get) => {
            append_query(&mut path, &fields);
            ("", Bytes::new())
        }
        (Shape::Json | Shape::Download | Shape::Stream, Method::Post | Method::Put | Method::Delete) => {
            let body =
                serde_json::to_vec(&Value::Object(fields)).map_err(|e| CallError::Request(e.to_string()))?;
            ("application/json", Bytes::from(body))
        }
    };
    // An absolute URI gives HTTP/2 its :scheme and :authority.
    let mut request = Request::builder()
        .method(V::METHOD.as_str())
        .uri(format!("https://{}{path}", crate::tls::AUTH_NAME))
        .header(http::header::USER_AGENT, concat!("moongate/", env!("CARGO_PKG_VERSION")));
    if !kind.is_empty() {
        request = request.header(http::header::CONTENT_TYPE, kind);
    }
    request.body(Full::new(body)).map_err(|e| CallError::Request(e.to_string()))
}

/// Replaces each `{field}` of `path`, taking the field out of `fields`.
fn fill(path: &str, fields: &mut Map<String, Value>) -> Result<String, CallError> {
    let mut out = String::with_capacity(path.len() + 32);
    for part in path.split('/').skip(1) {
        out.push('/');
        let Some(name) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) else {
            out.push_str(part);
            continue;
        };
        let value = fields.remove(name).map(|v| plain(&v)).unwrap_or_default();
        if value.is_empty() {
            return Err(CallError::Request(format!("`{name}` may not be empty")));
        }
        escape(&value, &mut out);
    }
    Ok(out)
}

fn append_query(path: &mut String, fields: &Map<String, Value>) {
    let mut separator = '?';
    for (name, value) in fields {
        let value = plain(value);
        if value.is_empty() {
            continue;
        }
        path.push(separator);
        separator = '&';
        escape(name, path);
        path.push('=');
        escape(&value, path);
    }
}

/// A string as itself, nothing as nothing, anything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use model::api::access::EndSession;
    use model::api::audit::SearchEvents;
    use model::api::tokens::DeleteToken;

    use super::*;

    #[test]
    fn fields_of_a_get_go_into_the_query() {
        let verb = SearchEvents { user: "ann b".into(), limit: Some(5), ..Default::default() };

        let request = write(&verb, None).unwrap();

        assert_eq!(request.uri().path(), "/v1/events");
        let query = request.uri().query().unwrap();
        assert!(query.contains("user=ann%20b") && query.contains("limit=5"), "{query}");
    }

    #[test]
    fn path_fields_are_escaped_and_may_not_be_empty() {
        let odd = write(&DeleteToken { id: "a/../b?c".into() }, None).unwrap();
        assert_eq!(odd.uri().path(), "/v1/tokens/a%2F..%2Fb%3Fc");
        assert!(write(&DeleteToken { id: String::new() }, None).is_err());
    }

    #[test]
    fn the_rest_of_a_post_goes_into_the_body() {
        let id = model::SessionId::from_random([1; 16]);
        let request = write(&EndSession { id, reason: "enough".into() }, None).unwrap();
        assert!(request.uri().path().ends_with("/end"));
        assert_eq!(request.headers()["content-type"], "application/json");
    }
}
