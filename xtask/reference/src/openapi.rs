//! The OpenAPI document of the API, read off `model::api::endpoints()`.

use anyhow::{Result, bail};
use model::api::{Asker, Endpoint, ErrorBody, Method, Shape, endpoints};
use serde_json::{Map, Value, json};

/// The document as text, with a final newline.
pub(crate) fn page() -> Result<String> {
    let mut schemas = Map::new();
    let error = named(schemars::schema_for!(ErrorBody).to_value(), &mut schemas)?;
    schemas.insert("ErrorBody".to_owned(), error);
    let mut paths = Map::new();
    for endpoint in endpoints() {
        let operation = operation(&endpoint, &mut schemas)?;
        let entry = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        if let Some(methods) = entry.as_object_mut() {
            methods.insert(endpoint.method.as_str().to_lowercase(), operation);
        }
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Moongate",
            "version": model::VERSION,
            "description": "Served by the authority over mutual TLS, and to people through the proxy.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas},
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&document)?))
}

/// Moves `$defs` to the shared schemas and points references there.
fn named(mut schema: Value, schemas: &mut Map<String, Value>) -> Result<Value> {
    let definitions = schema.as_object_mut().and_then(|s| {
        s.remove("$schema");
        s.remove("$defs")
    });
    if let Some(Value::Object(definitions)) = definitions {
        for (name, mut definition) in definitions {
            repoint(&mut definition);
            if schemas.get(&name).is_some_and(|known| *known != definition) {
                bail!("two types are called {name}: rename one");
            }
            schemas.insert(name, definition);
        }
    }
    repoint(&mut schema);
    Ok(schema)
}

fn repoint(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get_mut("$ref") {
                *target = target.replace("#/$defs/", "#/components/schemas/");
            }
            map.values_mut().for_each(repoint);
        }
        Value::Array(list) => list.iter_mut().for_each(repoint),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn operation(endpoint: &Endpoint, schemas: &mut Map<String, Value>) -> Result<Value> {
    let mut request = named((endpoint.request)().to_value(), schemas)?;
    let response = named((endpoint.response)().to_value(), schemas)?;
    let parameters = parameters(endpoint, &mut request);
    let mut operation = json!({
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "x-asker": asker(endpoint.asker),
        "parameters": parameters,
        "responses": {
            "200": {"description": endpoint.summary, "content": answer(endpoint.shape, response)},
            "default": {
                "description": "What failed, why, and what to do.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
            },
        },
    });
    if let (Some(body), Some(map)) = (body(endpoint, request), operation.as_object_mut()) {
        map.insert("requestBody".to_owned(), body);
    }
    Ok(operation)
}

/// Takes path fields, and for bodiless requests every field, out of the request's schema.
fn parameters(endpoint: &Endpoint, request: &mut Value) -> Vec<Value> {
    let in_path: Vec<&str> = endpoint.path.split('/').filter_map(placeholder).collect();
    let bodiless = endpoint.method == Method::Get || endpoint.shape == Shape::Upload;
    let required = strings(request.get("required"));
    let Some(fields) = request.get_mut("properties").and_then(Value::as_object_mut) else {
        return Vec::new();
    };
    let taken: Vec<String> =
        fields.keys().filter(|f| bodiless || in_path.contains(&f.as_str())).cloned().collect();
    let mut parameters = Vec::new();
    for name in &taken {
        let schema = fields.remove(name).unwrap_or_default();
        let place = if in_path.contains(&name.as_str()) { "path" } else { "query" };
        let needed = place == "path" || required.contains(name);
        parameters.push(json!({"name": name, "in": place, "required": needed, "schema": schema}));
    }
    if let Some(list) = request.get_mut("required").and_then(Value::as_array_mut) {
        list.retain(|r| !taken.iter().any(|t| r.as_str() == Some(t)));
    }
    parameters
}

fn placeholder(part: &str) -> Option<&str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

fn strings(value: Option<&Value>) -> Vec<String> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

fn body(endpoint: &Endpoint, request: Value) -> Option<Value> {
    if endpoint.shape == Shape::Upload {
        return Some(json!({"required": true, "content": {"application/octet-stream": {}}}));
    }
    if endpoint.method == Method::Get || endpoint.method == Method::Delete {
        return None;
    }
    Some(json!({"required": true, "content": {"application/json": {"schema": request}}}))
}

fn answer(shape: Shape, schema: Value) -> Value {
    match shape {
        Shape::Json | Shape::Upload => json!({"application/json": {"schema": schema}}),
        Shape::Download => json!({"application/octet-stream": {}}),
        Shape::Stream => json!({"application/x-ndjson": {"schema": schema}}),
    }
}

fn asker(asker: Asker) -> String {
    match asker {
        Asker::Anyone => "anyone".to_owned(),
        Asker::Granted(kind, verb) => format!("granted {verb:?} on {kind:?}").to_lowercase(),
        Asker::Host => "a host of this cluster".to_owned(),
        Asker::Proxy => "a proxy of this cluster".to_owned(),
    }
}
