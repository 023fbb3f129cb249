//! The valid word that comes nearest to a wrong one: few edits, counted with swaps of neighbours.

/// The candidate within about a third of the word's length in edits; the first of equals.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let wanted: Vec<char> = word.to_ascii_lowercase().chars().take(64).collect();
    let allowed = (wanted.len() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|c| (distance(&wanted, &c.to_ascii_lowercase().chars().take(64).collect::<Vec<_>>()), c))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, c)| c.to_owned())
}

/// Optimal string alignment distance, three rows at a time. `-` and `_` count as the same.
fn distance(a: &[char], b: &[char]) -> usize {
    let same = |x: &char, y: &char| x == y || (matches!(x, '-' | '_') && matches!(y, '-' | '_'));
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut last: Option<&char> = None;
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut left: Option<&char> = None;
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], i: usize| row.get(i).copied().unwrap_or(usize::MAX / 2);
            let mut best =
                (at(&above, j) + usize::from(!same(x, y))).min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            if j > 0 && last.is_some_and(|l| same(l, y)) && left.is_some_and(|l| same(x, l)) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
            left = Some(y);
        }
        last = Some(x);
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 4] = ["web_listen_addr", "listen_addr", "public_addr", "enabled"];

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        assert_eq!(nearest("enabeld", KEYS).as_deref(), Some("enabled"));
        assert_eq!(nearest("listen-addr", KEYS).as_deref(), Some("listen_addr"));
        assert_eq!(nearest("web_listen_address", KEYS).as_deref(), Some("web_listen_addr"));
        assert_eq!(nearest("Public_Addr", KEYS).as_deref(), Some("public_addr"));
    }

    #[test]
    fn a_word_from_elsewhere_finds_nothing() {
        assert_eq!(nearest("kubernetes", KEYS), None);
        assert_eq!(nearest("x", KEYS), None);
    }
}
