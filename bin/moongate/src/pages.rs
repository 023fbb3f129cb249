//! Lists that come in pages: asked for until there are as many rows as were wanted, or no more.
//!
//! The authority bounds a page twice, by its rows and by how far it looks for them: one may be short, or empty, and
//! not be the last.

use model::api::Page;

/// Rows, and whether there may be more than were wanted.
pub(crate) struct Rows<T> {
    pub(crate) items: Vec<T>,
    cut: bool,
}

/// Asks `page` for at most so many rows after a place, again and again, until there are `limit`.
///
/// # Errors
/// A page's.
pub(crate) async fn gather<T, E>(
    limit: u32,
    mut page: impl AsyncFnMut(u32, String) -> Result<Page<T>, E>,
) -> Result<Rows<T>, E> {
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
    let (mut items, mut start) = (Vec::new(), String::new());
    loop {
        let lacking = u32::try_from(wanted.saturating_sub(items.len())).unwrap_or(u32::MAX);
        let found = page(lacking, start.clone()).await?;
        items.extend(found.items);
        let goes_on = !found.next.is_empty();
        // A place that was come from leads nowhere.
        if !goes_on || found.next == start || items.len() >= wanted {
            return Ok(Rows { items, cut: goes_on });
        }
        start = found.next;
    }
}

impl<T> Rows<T> {
    /// Says on standard error that the list goes on, where it does.
    pub(crate) fn tell_rest(&self) {
        if self.cut {
            eprintln!("There is more: raise --limit or narrow the list.");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A list of 0 to 9 of which a page looks at three, and of which `hidden` are not for us to see.
    async fn gathered(limit: u32, hidden: std::ops::Range<u32>) -> (Vec<u32>, bool) {
        let rows = gather(limit, async |wanted: u32, start: String| {
            assert!(wanted > 0 && wanted <= limit.max(1));
            let from: u32 = start.parse().unwrap_or(0);
            let to = (from + wanted.min(3)).min(10);
            let items = (from..to).filter(|n| !hidden.contains(n)).collect();
            let next = if to < 10 { to.to_string() } else { String::new() };
            Ok::<_, Infallible>(Page { items, next })
        });
        let rows = rows.await.unwrap_or_else(|never| match never {});
        (rows.items, rows.cut)
    }

    #[tokio::test]
    async fn a_list_ends_where_it_ends_and_says_where_it_was_cut() {
        for (limit, hidden, rows, cut) in [
            (2, 0..0, 0..2, true),
            (5, 0..0, 0..5, true),
            (10, 0..0, 0..10, false),
            (5_000, 0..0, 0..10, false),
            (1, 0..9, 9..10, false),
            (50, 0..10, 0..0, false),
            (0, 0..0, 0..1, true),
        ] {
            let (found, was_cut) = gathered(limit, hidden.clone()).await;
            assert_eq!((found, was_cut), (rows.collect(), cut), "{limit} {hidden:?}");
        }
    }

    #[tokio::test]
    async fn an_authority_that_does_not_go_on_is_not_asked_for_ever() {
        let mut asked = 0;
        let stuck = gather(9, async |_, _| {
            asked += 1;
            Ok::<_, Infallible>(Page::<u32> { items: Vec::new(), next: "same".into() })
        });

        assert!(stuck.await.is_ok_and(|rows| rows.cut));
        assert_eq!(asked, 2);
    }
}
