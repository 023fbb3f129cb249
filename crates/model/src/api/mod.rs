//! The API as data: every verb is a type that names its method, path, who may ask, and what goes in and out.
//!
//! `auth` implements each verb, `client` calls it, the OpenAPI document and the authorization coverage test are
//! read off [`endpoints`]. A verb lives with its noun. Bodies are JSON; streams say so in [`Shape`].

pub mod access;
pub mod audit;
pub mod certs;
pub mod cluster;
pub mod locks;
pub mod nodes;
pub mod passkeys;
pub mod recordings;
pub mod roles;
pub mod timeline;
pub mod tokens;
pub mod trust;
pub mod users;
mod verb;

pub use verb::{Asker, Call, Done, Endpoint, ErrorBody, Fault, Method, Page, Shape};

/// Every verb there is, sorted by noun.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    [
        cluster::endpoints(),
        access::endpoints(),
        passkeys::endpoints(),
        certs::endpoints(),
        users::endpoints(),
        roles::endpoints(),
        tokens::endpoints(),
        nodes::endpoints(),
        locks::endpoints(),
        audit::endpoints(),
        recordings::endpoints(),
        timeline::endpoints(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_routes_are_unique() {
        let all = endpoints();
        let names: BTreeSet<_> = all.iter().map(|e| e.name).collect();
        let routes: BTreeSet<_> = all.iter().map(|e| (e.method, e.path)).collect();

        assert_eq!(names.len(), all.len());
        assert_eq!(routes.len(), all.len());
    }

    #[test]
    fn every_path_part_is_a_field_of_its_request() {
        for e in endpoints() {
            let schema = (e.request)();
            let fields = schema.get("properties").and_then(|p| p.as_object());
            for part in
                e.path.split('/').filter_map(|p| p.strip_prefix('{').and_then(|p| p.strip_suffix('}')))
            {
                assert!(fields.is_some_and(|f| f.contains_key(part)), "{}: {part}", e.name);
            }
        }
    }
}
