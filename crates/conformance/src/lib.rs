//! Every promise of the seams as a named test case.
