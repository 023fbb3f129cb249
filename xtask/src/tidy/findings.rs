//! What the rules of tidy found: errors fail, warnings are said.

/// What the rules found.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Findings {
    pub(super) fn error(&mut self, rule: &str, text: impl AsRef<str>) {
        self.errors.push(format!("{rule}: {}", text.as_ref()));
    }

    pub(super) fn warn(&mut self, rule: &str, text: impl AsRef<str>) {
        self.warnings.push(format!("{rule}: {}", text.as_ref()));
    }
}
