//! Databases of their own for tests, and the dump of the migrated schema. Not for production.
