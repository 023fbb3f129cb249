//! What is wrong with a file, where, what was expected and what comes nearest. All of it at once, sorted by place.

use std::fmt;

/// A place in a text. Lines and columns count from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Nothing starts.
    Error,
    /// Accepted, and without effect so far.
    NotYet,
    /// Accepted, and perhaps not what was meant.
    Warning,
}

/// The most characters of a key or of what was written that are shown.
const SHOWN: usize = 400;

/// A text out of a file as it may be shown in a terminal: nothing it would obey, no blank but a space, and no novel.
pub(crate) fn visible(text: &str) -> String {
    let is_plain = |c: char| c == ' ' || !(c.is_control() || c.is_whitespace());
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(|c| if is_plain(c) { vec![c] } else { c.escape_default().collect() })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// One thing to say about one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, or `command line`.
    pub file: String,
    /// Where in it; `None` when it concerns no one place.
    pub at: Option<At>,
    /// How much it matters.
    pub weight: Weight,
    /// The key as a path (`proxy_service.https_keypairs[0].key_file`), empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What was expected.
    pub expected: Option<String>,
    /// The valid key that comes nearest.
    pub nearest: Option<String>,
}

impl Finding {
    pub(crate) fn error(file: &str, at: Option<At>, key: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            at,
            weight: Weight::Error,
            key: key.to_owned(),
            message: message.into(),
            expected: None,
            nearest: None,
        }
    }

    pub(crate) fn weighing(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }

    pub(crate) fn expected(mut self, what: impl Into<String>) -> Self {
        self.expected = Some(what.into());
        self
    }

    pub(crate) fn nearest(mut self, key: Option<String>) -> Self {
        self.nearest = key;
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.weight == Weight::NotYet {
            write!(f, "not in effect yet: {}", visible(&self.key))?;
            return match self.at {
                Some(at) => write!(f, " (line {})", at.line),
                None => write!(f, " ({})", self.file),
            };
        }
        f.write_str(&self.file)?;
        if let Some(at) = self.at {
            write!(f, ":{}:{}", at.line, at.column)?;
        }
        f.write_str(": ")?;
        if self.weight == Weight::Warning {
            f.write_str("warning: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", visible(&self.key))?;
        }
        f.write_str(&visible(&self.message))?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean `{nearest}`?")?;
        }
        Ok(())
    }
}

/// Everything that was found, sorted by place. At least one is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Those that keep the daemon from starting.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|f| f.weight == Weight::Error)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.errors().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}
