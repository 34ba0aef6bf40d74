//! Broker in, one transaction, settle; the Handler trait.
