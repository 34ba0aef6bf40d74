//! HTTP in, broker out.
