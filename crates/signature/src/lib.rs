//! Proves who sent the bytes: one file a scheme.
