//! Rust source cut into words, for who reads imports and nothing else.
//!
//! Comments, strings, characters and lifetimes are dropped, and so is what `#[cfg(test)]` stands before. Macros are
//! not expanded: a path that only a macro writes is not seen.

/// A name, a `::`, or one mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    Name(&'a str),
    Path,
    Mark(char),
}

/// The words of a file, without its tests.
pub(super) fn product(text: &str) -> Vec<Word<'_>> {
    without_tests(&words(text))
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = if let Some(skipped) = silent(rest) {
            skipped
        } else if first.is_alphabetic() || first == '_' {
            let end = name_end(rest);
            found.push(Word::Name(rest.get(..end).unwrap_or_default()));
            end
        } else if rest.starts_with("::") {
            found.push(Word::Path);
            2
        } else {
            if !first.is_whitespace() {
                found.push(Word::Mark(first));
            }
            first.len_utf8()
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    found
}

fn name_end(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// How many bytes at the front say nothing: a comment, a string, a character, a lifetime.
fn silent(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(text.find("*/").map_or(text.len(), |end| end + 2));
    }
    string(text).or_else(|| character(text))
}

/// `"…"`, `b"…"`, `r"…"`, `r#"…"#`, `br#"…"#`.
fn string(text: &str) -> Option<usize> {
    let body = text.strip_prefix('b').unwrap_or(text);
    if let Some(raw) = body.strip_prefix('r') {
        let quoted = raw.trim_start_matches('#');
        let close = format!("\"{}", "#".repeat(raw.len() - quoted.len()));
        let inside = quoted.strip_prefix('"')?;
        let end = inside.find(&close).map_or(inside.len(), |at| at + close.len());
        return Some(text.len() - inside.len() + end);
    }
    let inside = body.strip_prefix('"')?;
    Some(text.len() - inside.len() + closed(inside, '"'))
}

/// `'a'`, `b'\''`, or the `'name` of a lifetime.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('b').unwrap_or(text).strip_prefix('\'')?;
    let before = text.len() - inside.len();
    let mut letters = inside.chars();
    let first = letters.next()?;
    if first == '\\' || letters.next() == Some('\'') {
        return Some(before + closed(inside, '\''));
    }
    Some(before + name_end(inside))
}

/// The length up to and with the closing mark; a backslash hides the letter behind it.
fn closed(text: &str, mark: char) -> usize {
    let mut hidden = false;
    for (at, letter) in text.char_indices() {
        if letter == mark && !hidden {
            return at + 1;
        }
        hidden = letter == '\\' && !hidden;
    }
    text.len()
}

const TEST_ONLY: [Word<'_>; 7] = [
    Word::Mark('#'),
    Word::Mark('['),
    Word::Name("cfg"),
    Word::Mark('('),
    Word::Name("test"),
    Word::Mark(')'),
    Word::Mark(']'),
];

fn without_tests<'a>(words: &[Word<'a>]) -> Vec<Word<'a>> {
    let mut kept = Vec::new();
    let mut rest = words;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(item) = rest.strip_prefix(&TEST_ONLY) {
            rest = item.get(item_end(item)..).unwrap_or_default();
        } else {
            kept.push(*first);
            rest = tail;
        }
    }
    kept
}

/// Where an item ends: behind its `;`, or behind the brace that closes it.
fn item_end(words: &[Word<'_>]) -> usize {
    let mut depth = 0_usize;
    for (at, word) in words.iter().enumerate() {
        match word {
            Word::Mark('{') => depth += 1,
            Word::Mark('}') if depth <= 1 => return at + 1,
            Word::Mark('}') => depth -= 1,
            Word::Mark(';' | ',') if depth == 0 => return at + 1,
            Word::Mark(_) | Word::Name(_) | Word::Path => {}
        }
    }
    words.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&str> {
        let name = |w| match w {
            Word::Name(name) => Some(name),
            Word::Path | Word::Mark(_) => None,
        };
        product(text).into_iter().filter_map(name).collect()
    }

    #[test]
    fn comments_strings_and_lifetimes_say_nothing() {
        let text = "/* crate::no */ fn f<'no>(a: &'no str) { \"no\\\"no\"; r#\"no\"#; b'n'; '\\''; yes }";

        assert_eq!(names(text), ["fn", "f", "a", "str", "yes"]);
    }

    #[test]
    fn what_stands_behind_cfg_test_is_left_out_and_no_more() {
        let text = "#[cfg(test)]\nfn no() { {} }\n#[cfg(test)] mod no;\n#[cfg(not(test))] fn yes() {}";

        assert_eq!(names(text), ["cfg", "not", "test", "fn", "yes"]);
    }
}
