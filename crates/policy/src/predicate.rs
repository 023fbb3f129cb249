//! The `where` of a rule: a small boolean language.
//!
//! ```text
//! contains(session.participants, user.metadata.name) && !equals(resource.metadata.labels["env"], "prod")
//! ```
//! Three-valued: what is not known is neither true nor false, so that the same condition grants nothing and denies
//! when its facts are missing. Bounds: [`MAX`] bytes, [`DEPTH`] levels.

use std::collections::BTreeSet;

use model::Identity;

use crate::ask::{Fact, Object};

/// The longest condition, in bytes.
const MAX: usize = 1024;
/// How deep parentheses and negations may nest.
const DEPTH: usize = 32;

/// A parsed condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Predicate {
    And(Box<Predicate>, Box<Predicate>),
    Or(Box<Predicate>, Box<Predicate>),
    Not(Box<Predicate>),
    Contains(Value, Value),
    Equals(Value, Value),
}

/// Something to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    UserName,
    UserRoles,
    UserTrait(String),
    ResourceName,
    ResourceLabel(String),
    Participants,
}

impl Predicate {
    /// Reads a condition.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX {
            return Err(format!("a `where` is longer than {MAX} bytes"));
        }
        let mut parser = Parser { rest: text };
        let parsed = parser.either(0).map_err(|problem| format!("`where: {text}`: {problem}"))?;
        parser.skip();
        if parser.rest.is_empty() {
            Ok(parsed)
        } else {
            Err(format!("`where: {text}`: expected the end before `{}`", parser.rest))
        }
    }

    /// What it looks at in the resource.
    pub(crate) fn facts(&self) -> BTreeSet<Fact> {
        match self {
            Predicate::Not(inner) => inner.facts(),
            Predicate::And(a, b) | Predicate::Or(a, b) => &a.facts() | &b.facts(),
            Predicate::Contains(a, b) | Predicate::Equals(a, b) => {
                a.fact().into_iter().chain(b.fact()).collect()
            }
        }
    }

    /// Whether it holds; `None` when that cannot be known.
    pub(crate) fn holds(&self, who: &Identity, object: Option<&Object>) -> Option<bool> {
        match self {
            Predicate::Not(inner) => inner.holds(who, object).map(|h| !h),
            Predicate::And(a, b) => match (a.holds(who, object), b.holds(who, object)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                (None, _) | (_, None) => None,
            },
            Predicate::Or(a, b) => match (a.holds(who, object), b.holds(who, object)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                (None, _) | (_, None) => None,
            },
            Predicate::Contains(list, item) => {
                let (list, item) = (list.texts(who, object)?, item.texts(who, object)?);
                Some(!item.is_empty() && item.iter().all(|i| list.contains(i)))
            }
            Predicate::Equals(a, b) => Some(a.texts(who, object)? == b.texts(who, object)?),
        }
    }
}

impl Value {
    fn fact(&self) -> Option<Fact> {
        match self {
            Value::Text(_) | Value::UserName | Value::UserRoles | Value::UserTrait(_) => None,
            Value::ResourceName => Some(Fact::Name),
            Value::ResourceLabel(_) => Some(Fact::Labels),
            Value::Participants => Some(Fact::Participants),
        }
    }

    /// The texts it stands for; `None` when they are not known.
    fn texts(&self, who: &Identity, object: Option<&Object>) -> Option<Vec<String>> {
        let model::Subject::User { name, roles, traits, .. } = &who.subject else { return None };
        match self {
            Value::Text(text) => Some(vec![text.clone()]),
            Value::UserName => Some(vec![name.to_string()]),
            Value::UserRoles => Some(roles.iter().map(ToString::to_string).collect()),
            Value::UserTrait(key) => Some(traits.get(key).cloned().unwrap_or_default()),
            Value::ResourceName => object?.name.clone().map(|n| vec![n]),
            Value::ResourceLabel(key) => {
                let labels = object?.labels.as_ref()?;
                Some(labels.get(key).cloned().into_iter().collect())
            }
            Value::Participants => {
                Some(object?.participants.as_ref()?.iter().map(ToString::to_string).collect())
            }
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, word: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn want(&mut self, word: &str) -> Result<(), String> {
        if self.take(word) { Ok(()) } else { Err(format!("expected `{word}` before `{}`", self.rest)) }
    }

    fn either(&mut self, depth: usize) -> Result<Predicate, String> {
        let mut left = self.both(depth)?;
        while self.take("||") {
            left = Predicate::Or(Box::new(left), Box::new(self.both(depth)?));
        }
        Ok(left)
    }

    fn both(&mut self, depth: usize) -> Result<Predicate, String> {
        let mut left = self.one(depth)?;
        while self.take("&&") {
            left = Predicate::And(Box::new(left), Box::new(self.one(depth)?));
        }
        Ok(left)
    }

    fn one(&mut self, depth: usize) -> Result<Predicate, String> {
        if depth == DEPTH {
            return Err(format!("nested deeper than {DEPTH} levels"));
        }
        if self.take("!") {
            return Ok(Predicate::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.either(depth + 1)?;
            self.want(")")?;
            return Ok(inner);
        }
        let make = if self.take("contains") {
            Predicate::Contains
        } else if self.take("equals") {
            Predicate::Equals
        } else {
            return Err(format!("expected contains(…), equals(…), `!` or `(` before `{}`", self.rest));
        };
        self.want("(")?;
        let first = self.value()?;
        self.want(",")?;
        let second = self.value()?;
        self.want(")")?;
        Ok(make(first, second))
    }

    fn value(&mut self) -> Result<Value, String> {
        self.skip();
        if self.rest.starts_with(['"', '\'']) {
            return self.quoted().map(Value::Text);
        }
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let word = word.to_owned();
        self.rest = rest;
        match word.as_str() {
            "user.metadata.name" => Ok(Value::UserName),
            "user.spec.roles" => Ok(Value::UserRoles),
            "user.spec.traits" => self.key().map(Value::UserTrait),
            "resource.metadata.name" => Ok(Value::ResourceName),
            "resource.metadata.labels" => self.key().map(Value::ResourceLabel),
            "session.participants" | "ssh_session.participants" | "session_tracker.participants" => {
                Ok(Value::Participants)
            }
            _ => Err(format!("`{word}` is not a value that can be looked at")),
        }
    }

    fn key(&mut self) -> Result<String, String> {
        self.want("[")?;
        self.skip();
        let key = self.quoted()?;
        self.want("]")?;
        Ok(key)
    }

    fn quoted(&mut self) -> Result<String, String> {
        let bad = || "expected a quoted text".to_owned();
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or_else(bad)?;
        let inside = self.rest.strip_prefix(quote).ok_or_else(bad)?;
        let (text, rest) = inside.split_once(quote).ok_or_else(bad)?;
        let text = text.to_owned();
        self.rest = rest;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets::tests::user;

    fn holds(text: &str, object: Option<&Object>) -> Option<bool> {
        Predicate::parse(text).unwrap().holds(&user("ann", &["dev"]), object)
    }

    #[test]
    fn conditions_mean_what_they_say() {
        let mine = Object::session(vec!["bob".parse().unwrap(), "ann".parse().unwrap()]);
        let theirs = Object::session(vec!["bob".parse().unwrap()]);
        let participant = "contains(session.participants, user.metadata.name)";

        assert_eq!(holds(participant, Some(&mine)), Some(true));
        assert_eq!(holds(participant, Some(&theirs)), Some(false));
        assert_eq!(holds(&format!("!{participant}"), Some(&theirs)), Some(true));
        assert_eq!(holds("equals(user.metadata.name, \"ann\") && equals('a', 'a')", None), Some(true));
        assert_eq!(holds("(equals('a','b') || equals('a','a'))", None), Some(true));
        assert_eq!(holds("contains(user.spec.roles, 'dev')", None), Some(true));
        assert_eq!(holds("contains(user.spec.traits['logins'], 'root')", None), Some(true));
    }

    #[test]
    fn what_is_not_known_is_neither_true_nor_false() {
        let participant = "contains(session.participants, user.metadata.name)";

        for unknown in [None, Some(&Object::named("x"))] {
            assert_eq!(holds(participant, unknown), None);
            assert_eq!(holds(&format!("!{participant}"), unknown), None);
            assert_eq!(holds(&format!("{participant} && equals('a','b')"), unknown), Some(false));
            assert_eq!(holds(&format!("{participant} || equals('a','a')"), unknown), Some(true));
            assert_eq!(holds(&format!("{participant} || equals('a','b')"), unknown), None);
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for bad in [
            "",
            "true",
            "contains(session.participants)",
            "contains(session.participants, user.metadata.name",
            "contains(session.participants, user.metadata.name) extra",
            "equals(user.password, 'x')",
            "regexp.match('a', 'b')",
            "equals('a', 'b) && !",
            &"(".repeat(1000),
            &"!".repeat(1000),
            &"x".repeat(2000),
        ] {
            assert!(Predicate::parse(bad).is_err(), "{bad}");
        }
    }
}
