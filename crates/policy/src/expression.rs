//! Regular expressions in roles: bounded in length and size, and matching the whole text or nothing.

/// The longest pattern accepted, in bytes.
pub(crate) const MAX_PATTERN: usize = 1024;

/// Compiles an expression that must match the whole text, whatever alternatives it has inside.
pub(crate) fn expression(text: &str) -> Result<regex_lite::Regex, String> {
    let inner = text.strip_prefix('^').and_then(|t| t.strip_suffix('$')).unwrap_or(text);
    // Compiled alone first: an unbalanced parenthesis must not pair up with ours.
    regex_lite::Regex::new(inner)
        .and_then(|_| {
            regex_lite::RegexBuilder::new(&format!(r"\A(?:{inner})\z")).size_limit(256 * 1024).build()
        })
        .map_err(|error| format!("`{text}` is not a regular expression: {error}"))
}
