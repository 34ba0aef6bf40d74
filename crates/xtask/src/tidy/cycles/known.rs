//! The known dependencies between files that close a cycle and have to be removed. They are ignored
//! when cycles are searched, so another cycle through one of them is found only after its removal.

/// Pairs of a file and another file that it needs.
pub(super) const KNOWN: &[(&str, &str)] = &[
    (
        "crates/hookbox/src/command/dev.rs",
        "crates/hookbox/src/cli.rs",
    ),
    (
        "crates/hookbox/src/command/healthcheck.rs",
        "crates/hookbox/src/command.rs",
    ),
    (
        "crates/hookbox/src/command/send.rs",
        "crates/hookbox/src/command/healthcheck.rs",
    ),
    (
        "crates/hookbox/src/exit.rs",
        "crates/hookbox/src/telemetry.rs",
    ),
    (
        "crates/hookbox/src/monitor.rs",
        "crates/hookbox/src/monitor/server.rs",
    ),
    (
        "crates/hookbox/src/monitor/watch.rs",
        "crates/hookbox/src/monitor.rs",
    ),
    (
        "crates/hookbox/src/telemetry.rs",
        "crates/hookbox/src/cli.rs",
    ),
    ("crates/spool/src/accounts.rs", "crates/spool/src/lib.rs"),
    ("crates/spool/src/close.rs", "crates/spool/src/lib.rs"),
    ("crates/spool/src/forward.rs", "crates/spool/src/lib.rs"),
];
