//! Values of roles: literals, `*`, globs, `^regular expressions$`; and selectors over labels.
//!
//! Matching takes time linear in the text for globs (two positions, one step back) and is linear by construction
//! for expressions. A value that came out of a trait is always a literal: nobody's trait is a wildcard.

use model::Labels;
use model::identity::Traits;
use model::resource::LabelSelector;

use crate::expression::{MAX_PATTERN, expression};
use crate::template::Template;

/// One value of a list in a role.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    /// `*`
    Any,
    /// The text itself.
    Literal(String),
    /// With `*` somewhere in it.
    Glob(Vec<u8>),
    /// `^…$`
    Expression(regex_lite::Regex),
    /// With `{{…}}` in it.
    Template(Template),
}

impl Pattern {
    /// Reads one value.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_PATTERN {
            return Err(format!("a value is longer than {MAX_PATTERN} bytes"));
        }
        if text == "*" {
            Ok(Pattern::Any)
        } else if text.contains("{{") || text.contains("}}") {
            Template::parse(text).map(Pattern::Template)
        } else if text.starts_with('^') && text.ends_with('$') {
            expression(text).map(Pattern::Expression)
        } else if text.contains('*') {
            Ok(Pattern::Glob(text.as_bytes().to_vec()))
        } else {
            Ok(Pattern::Literal(text.to_owned()))
        }
    }

    /// True when `text` is meant. Case counts.
    pub(crate) fn matches(&self, text: &str, traits: &Traits) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Literal(literal) => literal == text,
            Pattern::Glob(glob) => glob_matches(glob, text.as_bytes()),
            Pattern::Expression(expression) => expression.is_match(text),
            Pattern::Template(template) => template.values(traits).iter().any(|v| v == text),
        }
    }

    /// The values that can be named: literals and what templates give.
    pub(crate) fn literals(&self, traits: &Traits) -> Vec<String> {
        match self {
            Pattern::Literal(literal) => vec![literal.clone()],
            Pattern::Template(template) => template.values(traits),
            Pattern::Any | Pattern::Glob(_) | Pattern::Expression(_) => Vec::new(),
        }
    }
}

/// `*` stands for any run of bytes. At a mismatch only the last star takes one byte more.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0usize, 0usize);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                back = Some((g, t));
                g += 1;
            }
            Some(byte) if Some(byte) == text.get(t) => {
                g += 1;
                t += 1;
            }
            Some(_) | None => {
                let Some((star, taken)) = back else { return false };
                back = Some((star, taken + 1));
                (g, t) = (star + 1, taken + 1);
            }
        }
    }
    glob.get(g..).unwrap_or_default().iter().all(|b| *b == b'*')
}

/// A selector over labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    everything: bool,
    keys: Vec<(String, Vec<Pattern>)>,
}

impl Selector {
    /// Reads a selector; every problem is reported.
    pub(crate) fn parse(selector: &LabelSelector) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut keys = Vec::new();
        let mut everything = false;
        for (key, values) in selector {
            if key == "*" {
                if values.as_slice() == ["*"] && selector.len() == 1 {
                    everything = true;
                } else {
                    problems.push("the key `*` is allowed alone and with the value `*` only".to_owned());
                }
                continue;
            }
            let mut patterns = Vec::new();
            for value in values.as_slice() {
                match Pattern::parse(value) {
                    Ok(pattern) => patterns.push(pattern),
                    Err(problem) => problems.push(problem),
                }
            }
            keys.push((key.clone(), patterns));
        }
        if problems.is_empty() { Ok(Self { everything, keys }) } else { Err(problems) }
    }

    /// Every key must be there with one of its values. A selector without keys matches nothing.
    pub(crate) fn matches(&self, labels: &Labels, traits: &Traits) -> bool {
        if self.everything {
            return true;
        }
        !self.keys.is_empty()
            && self.keys.iter().all(|(key, patterns)| {
                labels.get(key).is_some_and(|value| patterns.iter().any(|p| p.matches(value, traits)))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(text, &Traits::new())
    }

    #[test]
    fn patterns_mean_what_they_look_like() {
        for (pattern, yes, no) in [
            ("*", "anything", None),
            ("prod", "prod", Some("production")),
            ("prod-*", "prod-eu", Some("preprod-eu")),
            ("*-eu", "prod-eu", Some("prod-eu-1")),
            ("a*b*c", "aXbYbZc", Some("acb")),
            ("^prod-[0-9]+$", "prod-42", Some("prod-x")),
            ("^a|b$", "b", Some("ab")),
            ("^a|b$", "a", Some("axx")),
            ("^(a|b)c$", "bc", Some("xbc")),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            if let Some(no) = no {
                assert!(!matches(pattern, no), "{pattern} {no}");
            }
        }
        assert!(!matches("^a$", "a\n"));
        assert!(!matches("Prod", "prod"));
    }

    #[test]
    fn a_hostile_glob_takes_no_time() {
        let glob = "*a".repeat(500);
        assert!(!matches(&glob, &"a".repeat(499)));
        assert!(!matches(&glob, &"ab".repeat(100_000)));
    }

    #[test]
    fn broken_values_are_refused() {
        for bad in ["^($", "^)($", "{{", "}}", "{{x}}", "{{internal}}", "{{internal.logins", "^[$"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        assert!(Pattern::parse(&"x".repeat(2000)).is_err());
    }
}
