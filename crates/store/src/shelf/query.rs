//! What is looked for, and how text is cut into threes for the index.
//!
//! The index knows runs of three characters. In Chinese, Japanese and Korean two characters make a word, so each of
//! those is followed by a mark that no text has: two of them make a run of three. Whatever the index suggests is
//! looked at again in the line itself.

/// Follows each character of a script in which two characters make a word.
const MARK: char = '\u{1}';
/// The most words.
const MAX_WORDS: usize = 16;
/// The most runs that the index is asked for: more would not make it find less.
const MAX_RUNS: usize = 24;
/// The longest query, in bytes.
const MAX_TEXT: usize = 512;

/// Why a query cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    /// There is nothing to look for that the index knows.
    #[error("one word needs three characters, or two of Chinese, Japanese or Korean")]
    Short,
    /// Too much at once.
    #[error("at most 16 words and 512 bytes can be looked for at once")]
    Long,
}

/// Words that must all be in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    words: Vec<String>,
    runs: Vec<String>,
}

impl Query {
    /// Reads words and `"phrases in quotes"`.
    ///
    /// # Errors
    /// See [`BadQuery`].
    pub fn parse(text: &str) -> Result<Self, BadQuery> {
        if text.len() > MAX_TEXT {
            return Err(BadQuery::Long);
        }
        let mut words = Vec::new();
        for (n, part) in text.split('"').enumerate() {
            if n % 2 == 1 {
                words.push(folded(part));
            } else {
                words.extend(part.split_whitespace().map(folded));
            }
        }
        words.retain(|word| !word.is_empty());
        if words.len() > MAX_WORDS {
            return Err(BadQuery::Long);
        }
        let mut runs: Vec<String> = words.iter().flat_map(|word| runs(word)).collect();
        runs.sort();
        runs.dedup();
        if runs.is_empty() {
            return Err(BadQuery::Short);
        }
        let step = runs.len().div_ceil(MAX_RUNS);
        let runs = runs.into_iter().step_by(step).collect();
        Ok(Self { words, runs })
    }

    /// Whether a line has all of the words.
    #[must_use]
    pub fn is_in(&self, line: &str) -> bool {
        let line = folded(line);
        self.words.iter().all(|word| line.contains(word.as_str()))
    }

    /// As FTS5 wants it: every run, quoted, all of them.
    pub(super) fn expression(&self) -> String {
        let quoted: Vec<String> =
            self.runs.iter().map(|run| format!("\"{}\"", run.replace('"', "\"\""))).collect();
        quoted.join(" AND ")
    }
}

/// A page's text as it goes into the index.
pub(super) fn indexed<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for line in lines {
        out.push_str(&marked(&folded(line)));
        out.push('\n');
    }
    out
}

fn folded(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).flat_map(char::to_lowercase).collect()
}

fn marked(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 3);
    for c in text.chars() {
        out.push(c);
        if is_dense(c) {
            out.push(MARK);
        }
    }
    out
}

/// Scripts in which two characters make a word.
fn is_dense(c: char) -> bool {
    matches!(u32::from(c),
        0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xac00..=0xd7af | 0xf900..=0xfaff | 0x20000..=0x3ffff)
}

fn runs(word: &str) -> Vec<String> {
    let chars: Vec<char> = marked(word).chars().collect();
    chars.windows(3).map(|run| run.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_phrases_are_told_apart() {
        let query = Query::parse("Denied \"rm -rf\"  x").unwrap();

        assert_eq!(query.words, ["denied", "rm -rf", "x"]);
        assert!(query.is_in("sudo RM -rf / x: permission denied"));
        assert!(!query.is_in("rm  -rf x denied"));
        assert!(query.expression().contains("\"-rf\" AND "));
    }

    #[test]
    fn two_characters_of_chinese_are_enough() {
        assert_eq!(Query::parse("错误").unwrap().runs, ["\u{1}误\u{1}", "错\u{1}误"]);
        for short in ["", "ab", "错", "a b c", "\"\"", "é1"] {
            assert_eq!(Query::parse(short), Err(BadQuery::Short), "{short}");
        }
        assert_eq!(Query::parse(&"x".repeat(600)), Err(BadQuery::Long));
        assert_eq!(Query::parse(&"abc ".repeat(17)), Err(BadQuery::Long));
    }

    #[test]
    fn a_long_query_asks_for_few_runs() {
        let text: String = (b'a'..=b'z').chain(b'0'..=b'9').map(char::from).collect();

        assert!(Query::parse(&text).unwrap().runs.len() <= MAX_RUNS);
    }
}
