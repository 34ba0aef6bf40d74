//! The known dependencies between files that close a cycle and have to be removed. They are ignored
//! when cycles are searched, so another cycle through one of them is found only after its removal.

/// Pairs of a file and another file that it needs.
pub(super) const KNOWN: &[(&str, &str)] = &[];
