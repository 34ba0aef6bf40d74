//! Broker and store in one SQLite file.
