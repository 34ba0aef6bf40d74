//! Tests every promise of the driver traits (`Broker`, `Store` and `Ledger`) on every driver, and
//! workers on pairs of drivers.

#![allow(clippy::unwrap_used, reason = "tests")]

#[macro_use]
mod whole;

mod claimed_event;
mod effects;
mod embedded;
mod id_decides;
mod partitions;
mod probe;
mod promises;
mod proved;
mod servers;
mod sessions;
mod small_file;
mod typed_rows;
mod user_sql;

use embedded::Embedded;
use hookbox_conformance::{broker_suite, store_suite};
use servers::{InPostgres, InRabbit};

store_suite!(postgres, InPostgres);
store_suite!(sqlite_store, Embedded);
broker_suite!(rabbitmq, InRabbit);
broker_suite!(sqlite_broker, Embedded);
