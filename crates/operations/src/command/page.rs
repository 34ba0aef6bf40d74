//! Pages of a list: cuts the rows that were read to the length of a page, and finds out whether
//! more rows follow.

/// Returns how many rows to read for a page of `limit` rows: one more than the page shows. If that
/// row exists, another page follows, so the rows need not be counted.
pub(super) fn wanted(limit: u32) -> u32 {
    limit.saturating_add(1)
}

/// Cuts the rows to the length of one page. Returns the last row of the page if another page
/// follows, and `None` otherwise.
pub(super) fn cut<T>(rows: &mut Vec<T>, limit: u32) -> Option<&T> {
    let limit = limit as usize;
    let more = rows.len() > limit;
    rows.truncate(limit);
    rows.last().filter(|_| more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_with_its_last_row_where_another_follows() {
        let mut rows = vec![1, 2, 3];
        assert_eq!(cut(&mut rows, 2), Some(&2));
        assert_eq!(rows, [1, 2]);
        assert_eq!(cut(&mut rows, 2), None);
        assert_eq!(cut(&mut Vec::<u8>::new(), 2), None);
        assert_eq!(wanted(u32::MAX), u32::MAX);
    }
}
