//! Tests of failures that only RabbitMQ can cause. They run against the real server that
//! `HOOKBOX_TEST_AMQP_URL` names.
//!
//! The conformance suite tests the promises that every broker keeps. The cases here need means that
//! only RabbitMQ has, such as its alarms, policies and permissions. Each test has its own
//! environment, and checks at its end that all of its queues are deleted.
#![allow(clippy::unwrap_used)]

mod alarm;
mod alone;
mod api;
mod closing;
mod consuming;
mod declaring;
mod exchange;
mod exchange_outages;
mod exchange_refusals;
mod forged;
mod late;
mod opening;
mod outages;
mod overlay;
mod pipelined;
mod publishing;
mod renewal;
mod rights;
mod schema;
mod silent_queue;
mod unroutable;
mod watch;
mod world;
