//! The ranges of sequence numbers that an ingest has reported, as a store keeps them: one row for
//! each range without a gap.

/// A range of sequence numbers that accept reports of one ingest cover without a gap. `T` is a
/// moment, in the form in which the store keeps moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedRange<T> {
    /// The first sequence number of the range.
    pub first: u64,
    /// The last sequence number of the range.
    pub last: u64,
    /// Whether one of the reports was the ingest's closing report.
    pub closing: bool,
    /// When the first report of the range was stored. The age of a gap below the range is counted
    /// from then on, because a gap shows only when a higher number is reported.
    pub reported_at: T,
}

impl<T: Copy + Ord> ReportedRange<T> {
    /// Merges this range with all stored ranges that overlap it or touch it. The result replaces
    /// them in the store. Returns `None` if nothing has to be stored. This is so when one stored
    /// range contains this range, and also has the closing report if this range has it.
    ///
    /// `stored` must have exactly the stored ranges of the same ingest that overlap or touch this
    /// range, in any order: those whose `last + 1` is at least `self.first`, and whose `first` is
    /// at most `self.last + 1`.
    pub fn merged_with(self, stored: &[ReportedRange<T>]) -> Option<ReportedRange<T>> {
        let mut merged = self;
        for one in stored {
            let covers = one.first <= self.first && one.last >= self.last;
            if covers && (one.closing || !self.closing) {
                return None;
            }
            merged.first = merged.first.min(one.first);
            merged.last = merged.last.max(one.last);
            merged.closing |= one.closing;
            merged.reported_at = merged.reported_at.min(one.reported_at);
        }
        Some(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case<'c> = (
        &'c str,
        ReportedRange<u8>,
        &'c [ReportedRange<u8>],
        Option<ReportedRange<u8>>,
    );

    fn range(first: u64, last: u64, closing: bool, reported_at: u8) -> ReportedRange<u8> {
        ReportedRange {
            first,
            last,
            closing,
            reported_at,
        }
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let table: [Case<'_>; 7] = [
            (
                "the ingest has no stored range yet",
                range(5, 9, false, 3),
                &[],
                Some(range(5, 9, false, 3)),
            ),
            (
                "the stored range ends just below the reported one",
                range(5, 9, false, 3),
                &[range(1, 4, false, 1)],
                Some(range(1, 9, false, 1)),
            ),
            (
                "the stored ranges end just below and begin just above the reported one",
                range(5, 9, false, 3),
                &[range(10, 12, true, 1), range(1, 4, false, 2)],
                Some(range(1, 12, true, 1)),
            ),
            (
                "the stored range overlaps the reported one",
                range(5, 9, false, 3),
                &[range(7, 20, false, 4)],
                Some(range(5, 20, false, 3)),
            ),
            (
                "the stored range contains the reported one",
                range(5, 9, false, 3),
                &[range(1, 9, false, 1)],
                None,
            ),
            (
                "the same closing report is stored already",
                range(5, 9, true, 3),
                &[range(5, 9, true, 1)],
                None,
            ),
            (
                "the stored range contains the number of a new closing report",
                range(9, 9, true, 3),
                &[range(1, 9, false, 1)],
                Some(range(1, 9, true, 1)),
            ),
        ];
        for (case, reported, stored, expected) in table {
            assert_eq!(reported.merged_with(stored), expected, "{case}");
        }
    }
}
