//! `{{internal.logins}}` and its like: values out of the user's traits, with literals around them.
//!
//! A trait that is missing gives no value; one with several gives several. What comes out is text, never again a
//! pattern or a template.

use model::identity::Traits;

use crate::expression::{MAX_PATTERN, expression};

/// `prefix{{source}}suffix`, with exactly one source.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    prefix: String,
    source: Source,
    suffix: String,
}

#[derive(Clone, Debug)]
enum Source {
    /// The values of a trait.
    Trait(String),
    /// What stands before the `@` of each value of a trait.
    EmailLocal(String),
    /// Each value that matches, rewritten.
    Replace { name: String, expression: regex_lite::Regex, with: String },
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "`{text}` is not a template (expected one {{{{internal.name}}}} or {{{{external.name}}}})"
            )
        };
        let (prefix, rest) = text.split_once("{{").ok_or_else(bad)?;
        let (inside, suffix) = rest.rsplit_once("}}").ok_or_else(bad)?;
        if [prefix, inside, suffix].iter().any(|part| part.contains("{{") || part.contains("}}")) {
            return Err(bad());
        }
        let source = Source::parse(inside.trim()).ok_or_else(bad)??;
        Ok(Self { prefix: prefix.to_owned(), source, suffix: suffix.to_owned() })
    }

    /// The values for one user.
    pub(crate) fn values(&self, traits: &Traits) -> Vec<String> {
        let (Source::Trait(name) | Source::EmailLocal(name) | Source::Replace { name, .. }) = &self.source;
        let Some(values) = traits.get(name) else { return Vec::new() };
        values
            .iter()
            .filter_map(|value| self.source.value(value))
            .map(|value| format!("{}{value}{}", self.prefix, self.suffix))
            .collect()
    }
}

impl Source {
    /// `None` for text that is no source; an inner error for an expression that does not compile.
    fn parse(text: &str) -> Option<Result<Self, String>> {
        if let Some(argument) = call(text, "email.local") {
            return variable(argument).map(|name| Ok(Source::EmailLocal(name)));
        }
        if let Some(arguments) = call(text, "regexp.replace") {
            let mut parts = arguments.splitn(2, ',');
            let name = variable(parts.next()?.trim())?;
            let (pattern, rest) = quoted(parts.next()?.trim())?;
            let (with, rest) = quoted(rest.trim().strip_prefix(',')?.trim())?;
            if !rest.trim().is_empty() || pattern.len() > MAX_PATTERN {
                return None;
            }
            return Some(expression(&pattern).map(|expression| Source::Replace { name, expression, with }));
        }
        variable(text).map(|name| Ok(Source::Trait(name)))
    }

    fn value(&self, value: &str) -> Option<String> {
        match self {
            Source::Trait(_) => Some(value.to_owned()),
            Source::EmailLocal(_) => {
                value.split_once('@').map(|(local, _)| local.to_owned()).filter(|l| !l.is_empty())
            }
            Source::Replace { expression, with, .. } => {
                expression.is_match(value).then(|| expression.replace(value, with.as_str()).into_owned())
            }
        }
    }
}

fn call<'a>(text: &'a str, function: &str) -> Option<&'a str> {
    text.strip_prefix(function)?.trim_start().strip_prefix('(')?.strip_suffix(')').map(str::trim)
}

/// `internal.name`, `external.name`, `external["any name"]`.
fn variable(text: &str) -> Option<String> {
    let rest = text.strip_prefix("internal").or_else(|| text.strip_prefix("external"))?;
    if let Some(name) = rest.strip_prefix('.') {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        return (!name.is_empty() && name.chars().all(word)).then(|| name.to_owned());
    }
    let (name, after) = quoted(rest.strip_prefix('[')?)?;
    (after == "]" && !name.is_empty()).then_some(name)
}

/// A double-quoted text without escapes, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (inside, rest) = text.strip_prefix('"')?.split_once('"')?;
    Some((inside.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(template: &str) -> Vec<String> {
        let traits: Traits = [
            ("logins".to_owned(), vec!["root".to_owned(), "*".to_owned()]),
            ("email".to_owned(), vec!["ann@example.com".to_owned(), "nobody".to_owned()]),
            ("with-dash".to_owned(), vec!["x".to_owned()]),
            ("team".to_owned(), vec!["a-web".to_owned(), "b".to_owned()]),
        ]
        .into();
        Template::parse(template).unwrap().values(&traits)
    }

    #[test]
    fn traits_fill_templates() {
        assert_eq!(values("{{internal.logins}}"), ["root", "*"]);
        assert_eq!(values("{{ external.logins }}"), ["root", "*"]);
        assert_eq!(values("dev-{{external[\"with-dash\"]}}-x"), ["dev-x-x"]);
        assert_eq!(values("{{email.local(external.email)}}"), ["ann"]);
        assert_eq!(values("{{regexp.replace(external.team, \"^a-(.*)$\", \"$1\")}}"), ["web"]);
        assert!(values("{{internal.missing}}").is_empty());
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for bad in [
            "{{internal.logins}}{{internal.logins}}",
            "{{{internal.logins}}}",
            "{{internal.}}",
            "{{traits.logins}}",
            "{{external[\"x\"}}",
            "{{email.local(x)}}",
            "{{regexp.replace(external.x, \"^($\", \"y\")}}",
            "{{regexp.replace(external.x)}}",
        ] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
