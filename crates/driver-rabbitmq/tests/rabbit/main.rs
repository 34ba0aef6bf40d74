//! Tests of failures that only RabbitMQ can cause, against a real server: `HOOKBOX_TEST_AMQP_URL`.
//!
//! The conformance suite tests the promises that every broker keeps; these are the cases that need
//! the broker's own means. Each test has its own environment, and proves at its end that none of
//! its queues is left.
#![allow(clippy::unwrap_used)]

mod alarm;
mod alone;
mod api;
mod closing;
mod consuming;
mod declaring;
mod forged;
mod opening;
mod outages;
mod overlay;
mod pipelined;
mod proxy;
mod publishing;
mod rights;
mod schema;
mod unroutable;
mod watch;
mod world;
