//! What plain text means: truths (YAML 1.1's words too), numbers, lengths of time.

/// `yes`, `no`, `on`, `off`, `true`, `false`, `1`, `0`, quoted or not, in any of YAML's capitalisations.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" => Some(true),
        "0" => Some(false),
        _ => word_of_truth(text),
    }
}

/// The words YAML 1.1 reads as truths, without the single letters.
pub(crate) fn word_of_truth(text: &str) -> Option<bool> {
    let capital = text.chars().next().is_some_and(char::is_uppercase);
    let rest = text.get(1..).unwrap_or_default();
    let uniform = rest.chars().all(char::is_lowercase) || (capital && rest.chars().all(char::is_uppercase));
    if !uniform {
        return None;
    }
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" => Some(true),
        "no" | "off" | "false" => Some(false),
        _ => None,
    }
}

/// A whole number, with `_` between digits.
pub(crate) fn whole(text: &str) -> Option<i64> {
    text.replace('_', "").parse().ok()
}

/// A number in YAML's core schema that JSON can carry too.
pub(crate) fn number(text: &str) -> Option<serde_json::Number> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().filter(|_| digits.len() == text.len()).map(Into::into);
    }
    if let Some(octal) = digits.strip_prefix("0o") {
        return u64::from_str_radix(octal, 8).ok().filter(|_| digits.len() == text.len()).map(Into::into);
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<i64>().map(Into::into).or_else(|_| text.parse::<u64>().map(Into::into)).ok();
    }
    let shaped = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !shaped || !digits.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse::<f64>().ok().and_then(serde_json::Number::from_f64)
}

/// Words for "no limit".
pub(crate) fn never(text: &str) -> bool {
    text.eq_ignore_ascii_case("never") || text == "0"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truths_have_many_words() {
        for yes in ["yes", "Yes", "YES", "on", "true", "1"] {
            assert_eq!(truth(yes), Some(true), "{yes}");
        }
        for no in ["no", "off", "False", "0"] {
            assert_eq!(truth(no), Some(false), "{no}");
        }
        for neither in ["", "y", "yEs", "ja", "2", "true|false"] {
            assert_eq!(truth(neither), None, "{neither}");
        }
    }

    #[test]
    fn numbers_are_those_json_can_carry() {
        for (text, expected) in [
            ("5", "5"),
            ("-5", "-5"),
            ("+5", "5"),
            ("0x1f", "31"),
            ("1.5", "1.5"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(number(text).unwrap().to_string(), expected);
        }
        for bad in ["", "-", ".", "1h", "1.2.3.4", "10:30", "nan", ".inf", "0x", "abc", "1e999"] {
            assert!(number(bad).is_none(), "{bad}");
        }
    }
}
