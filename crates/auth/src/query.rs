//! Reads a request's fields: path and query as text that becomes what the verb's type asks for, body as JSON.
//!
//! Text parses strictly: a number field takes digits, a structured field takes JSON. A field given twice is
//! refused, and so are odd paths (escaped slashes stay inside their field; a malformed escape is an error).

use model::api::{Call, Method, Shape};
use serde::de::value::MapDeserializer;
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde_json::{Map, Value};

use crate::refusal::{Answer, Refusal};

/// The fields of one request.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) text: Vec<(String, String)>,
    pub(crate) body: bytes::Bytes,
}

/// Matches a path against a pattern with `{field}` parts; gives the fields, unescaped.
pub(crate) fn match_path(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(fields),
            (Some(want), Some(got)) => match want.strip_prefix('{').and_then(|w| w.strip_suffix('}')) {
                Some(name) => fields.push((name.to_owned(), unescape(got).filter(|v| !v.is_empty())?)),
                None if want == got => {}
                None => return None,
            },
            (None, Some(_)) | (Some(_), None) => return None,
        }
    }
}

/// Reads a query string.
pub(crate) fn read_query(query: &str) -> Answer<Vec<(String, String)>> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for part in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let decoded = unescape(&name.replace('+', " ")).zip(unescape(&value.replace('+', " ")));
        let (name, value) = decoded.ok_or_else(|| Refusal::bad("the query has a malformed escape"))?;
        if fields.iter().any(|(known, _)| *known == name) {
            return Err(Refusal::bad(format!("`{}` is given twice", shown(&name))));
        }
        fields.push((name, value));
    }
    Ok(fields)
}

fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_default).collect()
}

fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let value = data_encoding::HEXLOWER_PERMISSIVE.decode(&digits).ok()?;
            out.extend(value);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Makes the verb out of its fields.
pub(crate) fn parse<V: Call>(fields: Fields) -> Answer<V> {
    let bad = |e: String| Refusal::bad(format!("{}: {}", V::NAME, e.chars().take(300).collect::<String>()));
    match (V::SHAPE, V::METHOD) {
        (Shape::Json | Shape::Download | Shape::Stream, Method::Get) | (Shape::Upload, _) => {
            from_text(fields.text).map_err(|e| bad(e.to_string()))
        }
        (Shape::Json | Shape::Download | Shape::Stream, Method::Post | Method::Put | Method::Delete) => {
            let mut object = match fields.body.is_empty() {
                true => Map::new(),
                false => serde_json::from_slice(&fields.body).map_err(|e| bad(e.to_string()))?,
            };
            for (name, value) in fields.text {
                let clash = object.insert(name.clone(), Value::String(value.clone()));
                if clash.is_some_and(|old| old != Value::String(value)) {
                    return Err(bad(format!("`{name}` differs between path and body")));
                }
            }
            serde_json::from_value(Value::Object(object)).map_err(|e| bad(e.to_string()))
        }
    }
}

fn from_text<T: DeserializeOwned>(fields: Vec<(String, String)>) -> Result<T, de::value::Error> {
    T::deserialize(MapDeserializer::new(fields.into_iter().map(|(name, value)| (name, Text(value)))))
}

/// A value given as text; the asking type decides how it is read.
struct Text(String);

impl<'de> IntoDeserializer<'de, de::value::Error> for Text {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty),+ $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            let value = self.0.parse::<$type>().map_err(|_| {
                de::Error::custom(format!("`{}` is not a {}", shown(&self.0), stringify!($type)))
            })?;
            visitor.$visit(value)
        })+
    };
}

macro_rules! as_json {
    ($($method:ident($($arg:ident: $type:ty),*)),+ $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            let value: Value = serde_json::from_str(&self.0).map_err(de::Error::custom)?;
            value.$method($($arg,)* visitor).map_err(de::Error::custom)
        })+
    };
}

impl<'de> Deserializer<'de> for Text {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    parsed! {
        deserialize_bool visit_bool bool,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
    }

    as_json! {
        deserialize_seq(),
        deserialize_map(),
        deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
    }

    serde::forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use model::api::access::EndSession;
    use model::api::audit::SearchEvents;
    use model::api::recordings::PutSegment;

    use super::*;

    #[test]
    fn text_becomes_what_the_type_asks_for() {
        let text = read_query("limit=5&ascending=true&user=ann%20b&from=2026-01-01T00%3A00%3A00Z").unwrap();

        let search: SearchEvents = parse(Fields { text, ..Fields::default() }).unwrap();

        assert_eq!((search.limit, search.ascending, search.user.as_str()), (Some(5), true, "ann b"));
        assert!(search.from.is_some());
        for bad in ["limit=x", "limit=-1", "from=yesterday"] {
            let text = read_query(bad).unwrap();
            assert!(parse::<SearchEvents>(Fields { text, ..Fields::default() }).is_err(), "{bad}");
        }
        for bad in ["a=1&a=2", "a=%zz", "a=%f", "a=%ff"] {
            assert!(read_query(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_match_whole() {
        let pattern = "/v1/recordings/{id}/segments/{n}";
        let id = "abababab-abab-4bab-abab-abababababab";

        let text = match_path(pattern, &format!("/v1/recordings/{id}/segments/7")).unwrap();
        let put: PutSegment = parse(Fields { text, ..Fields::default() }).unwrap();

        assert_eq!((put.id.as_str(), put.n), (id, 7));
        for odd in
            ["/v1/recordings//segments/7", "/v1/recordings/x/segments/7/", "//v1/recordings/x/segments/7"]
        {
            assert!(match_path(pattern, odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn a_field_that_says_two_things_is_refused() {
        let id = "abababab-abab-4bab-abab-abababababab";
        let text = vec![("id".to_owned(), id.to_owned())];
        let body = |text: &str| bytes::Bytes::from(text.to_owned());

        let good = Fields { text: text.clone(), body: body(r#"{"reason":"x"}"#) };
        assert_eq!(parse::<EndSession>(good).unwrap().reason, "x");
        let clash = Fields { text, body: body(r#"{"id":"00000000-0000-4000-8000-000000000000"}"#) };
        assert!(parse::<EndSession>(clash).is_err());
    }
}
