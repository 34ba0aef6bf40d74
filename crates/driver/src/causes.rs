//! Walks the chain of an error's causes.

use std::error::Error;

/// Returns the error itself, then its cause, then the cause of that cause, and so on.
pub fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, FaultKind};

    #[test]
    fn the_error_comes_first_and_its_deepest_cause_last() {
        let inner = Fault::plain(FaultKind::Internal, "read a row");
        let outer = Fault::new(FaultKind::Unavailable, "claim a batch", inner);
        let texts: Vec<String> = causes(&outer).map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                outer.to_string(),
                "failed to read a row (internal)".to_owned()
            ]
        );
    }
}
