//! The store over PostgreSQL.
