//! Defines which crate may depend on which, and compares that with what cargo reports.
//!
//! docs/ARCHITECTURE.md has the same table: each crate of the workspace with the crates that it may
//! use. Ingest and worker never use a driver, drivers never use each other, and a library that
//! belongs to one driver is not used anywhere else.

mod manifest;

use anyhow::Result;

use crate::finding::Finding;
use manifest::Dependency;

/// One crate of the workspace.
struct Layer {
    package: &'static str,
    /// The crates of the workspace that this crate may use.
    uses: &'static [&'static str],
    /// The crates that the tests, examples and benches of this crate may use in addition.
    tests_use: &'static [&'static str],
}

/// The crates that any test may use: real stores, real brokers, the conformance suite and the test
/// kit.
const IN_TESTS: &[&str] = &[
    "testkit",
    "conformance",
    "driver-rabbitmq",
    "driver-postgres",
    "driver-sqlite",
];

/// All crates that the binary consists of.
const ALL: &[&str] = &[
    "crash",
    "event",
    "signature",
    "driver",
    "driver-rabbitmq",
    "driver-postgres",
    "driver-sqlite",
    "ingest",
    "worker",
    "handlers",
    "operations",
    "config",
    "traffic",
    "spool",
    "sql",
    "forward",
];

const LAYERS: &[Layer] = &[
    // The crate `crash` contains the points at which tests end the process. Any crate whose state a
    // crash could lose may use it.
    Layer {
        package: "crash",
        uses: &[],
        tests_use: &[],
    },
    Layer {
        package: "event",
        uses: &[],
        tests_use: &[],
    },
    Layer {
        package: "signature",
        uses: &["event"],
        tests_use: &[],
    },
    Layer {
        package: "sql",
        uses: &[],
        tests_use: &[],
    },
    // The crate `forward` makes one call to a service. It does not know why or how often the call
    // is made, or what is recorded about it.
    Layer {
        package: "forward",
        uses: &["event", "signature"],
        tests_use: &["testkit"],
    },
    Layer {
        package: "driver",
        uses: &["event"],
        tests_use: &[],
    },
    Layer {
        package: "driver-rabbitmq",
        uses: &["event", "driver", "crash"],
        tests_use: &["testkit", "conformance"],
    },
    Layer {
        package: "driver-postgres",
        uses: &["event", "driver", "crash"],
        tests_use: &["testkit", "conformance"],
    },
    Layer {
        package: "driver-sqlite",
        uses: &["event", "driver", "crash"],
        tests_use: &["testkit", "conformance"],
    },
    Layer {
        package: "conformance",
        uses: &["event", "driver", "testkit"],
        tests_use: &[],
    },
    Layer {
        package: "ingest",
        uses: &["event", "signature", "driver", "crash"],
        tests_use: IN_TESTS,
    },
    Layer {
        package: "worker",
        uses: &["event", "driver", "crash"],
        tests_use: IN_TESTS,
    },
    Layer {
        package: "handlers",
        uses: &[
            "event",
            "sql",
            "forward",
            "worker",
            "driver",
            "driver-rabbitmq",
            "driver-postgres",
            "driver-sqlite",
        ],
        tests_use: IN_TESTS,
    },
    Layer {
        package: "operations",
        uses: &["event", "driver"],
        tests_use: IN_TESTS,
    },
    // The crate `simulation` runs ingest and worker over fakes of the seams (the traits that
    // drivers implement), so it uses no driver.
    Layer {
        package: "simulation",
        uses: &[
            "event",
            "signature",
            "driver",
            "ingest",
            "worker",
            "testkit",
        ],
        tests_use: &[],
    },
    // The crate `fuzz` fuzzes every parser of untrusted input. It uses no driver and needs no
    // server.
    Layer {
        package: "fuzz",
        uses: &[
            "event",
            "signature",
            "driver",
            "ingest",
            "config",
            "sql",
            "testkit",
        ],
        tests_use: &[],
    },
    Layer {
        package: "spool",
        uses: &["event", "driver", "crash"],
        tests_use: IN_TESTS,
    },
    Layer {
        package: "traffic",
        uses: &["event", "signature", "driver"],
        tests_use: &["testkit"],
    },
    // The crate `config` uses drivers only to check the URLs of their servers.
    Layer {
        package: "config",
        uses: &[
            "event",
            "signature",
            "driver",
            "driver-rabbitmq",
            "driver-postgres",
            "ingest",
            "worker",
        ],
        tests_use: &[],
    },
    Layer {
        package: "hookbox",
        uses: ALL,
        tests_use: IN_TESTS,
    },
    Layer {
        package: "testkit",
        uses: &["event", "driver"],
        tests_use: &[],
    },
    // The crate `chaos` breaks the binary from outside, so of the binary's crates it uses only
    // `crash`, which lists the crash points.
    Layer {
        package: "chaos",
        uses: &["testkit", "crash"],
        tests_use: &[],
    },
    // The crate `bench` measures the release binary from outside, so it uses none of the binary's
    // crates.
    Layer {
        package: "bench",
        uses: &["testkit"],
        tests_use: &[],
    },
    Layer {
        package: "xtask",
        uses: &["testkit"],
        tests_use: &[],
    },
    // The package `tests` contains only tests, and its library is the code that these tests share.
    Layer {
        package: "tests",
        uses: EVERYTHING,
        tests_use: EVERYTHING,
    },
];

/// The crates that the package `tests` may use, because its tests cover all of them.
const EVERYTHING: &[&str] = &[
    "event",
    "signature",
    "driver",
    "driver-rabbitmq",
    "driver-postgres",
    "driver-sqlite",
    "conformance",
    "ingest",
    "worker",
    "handlers",
    "operations",
    "config",
    "traffic",
    "spool",
    "hookbox",
    "testkit",
    "crash",
];

/// A library from outside the workspace that only some crates may use.
struct Outside {
    package: &'static str,
    /// The crates that may use the library.
    by: &'static [&'static str],
    /// The crates whose tests may use the library in addition.
    by_tests_of: &'static [&'static str],
    instead: &'static str,
}

const OUTSIDE: &[Outside] = &[
    Outside {
        package: "lapin",
        by: &["driver-rabbitmq", "bench"],
        by_tests_of: &["tests"],
        instead: "use RabbitMQ through `hookbox_driver::Broker`",
    },
    Outside {
        package: "sqlx-core",
        by: &["driver-postgres", "driver-sqlite"],
        by_tests_of: &[],
        instead: "depend on `sqlx`, or use the database through the store",
    },
    Outside {
        package: "axum",
        by: &["ingest"],
        by_tests_of: &["tests"],
        instead: "only the crate `ingest` receives webhooks over HTTP",
    },
    Outside {
        package: "sqlx",
        by: &[
            "driver-postgres",
            "driver-sqlite",
            "handlers",
            "chaos",
            "bench",
        ],
        by_tests_of: &["tests", "worker", "hookbox"],
        instead: "use the database through `hookbox_driver::Store` or `Ledger`",
    },
];

/// Crates without an async runtime, so that their callers decide about time and waiting.
const WITHOUT_RUNTIME: [&str; 4] = ["event", "signature", "sql", "driver"];

/// Compares the dependencies in the workspace with the table `LAYERS`.
///
/// # Errors
/// When cargo cannot be run.
pub fn findings() -> Result<Vec<Finding>> {
    let (packages, dependencies) = manifest::declared()?;
    let findings = check(&packages, &dependencies);
    Ok(findings
        .into_iter()
        .map(|(package, what)| manifest::finding(&package, &what))
        .collect())
}

/// Returns each crate that violates the table `LAYERS`, with what is wrong.
fn check(packages: &[String], dependencies: &[Dependency]) -> Vec<(String, String)> {
    let mut findings = Vec::new();
    for package in packages {
        if !LAYERS.iter().any(|layer| layer.package == package) {
            let what = "has no layer: add it to the table in crates/xtask/src/layers.rs";
            findings.push((package.clone(), what.to_owned()));
        }
    }
    for dependency in dependencies {
        let what = inside(dependency).or_else(|| outside(dependency));
        findings.extend(what.map(|what| (dependency.of.clone(), what)));
    }
    findings
}

fn inside(dependency: &Dependency) -> Option<String> {
    let Dependency { of, on, dev } = dependency;
    LAYERS.iter().find(|layer| layer.package == on)?;
    let layer = LAYERS.iter().find(|layer| layer.package == of)?;
    let on = on.as_str();
    // A crate may depend on itself, to enable a feature for its own tests.
    if *dev && of == on {
        return None;
    }
    if layer.uses.contains(&on) || (*dev && layer.tests_use.contains(&on)) {
        return None;
    }
    let may = if layer.uses.is_empty() {
        "nothing".to_owned()
    } else {
        layer.uses.join(", ")
    };
    Some(match (*dev, layer.tests_use.contains(&on)) {
        (false, true) => {
            format!("`{on}` is only for the tests of {of}: it belongs in [dev-dependencies]")
        }
        _ => format!("`{on}` is not for {of}, which may use {may} of this workspace"),
    })
}

fn outside(dependency: &Dependency) -> Option<String> {
    let Dependency { of, on, dev } = dependency;
    let of = of.as_str();
    let is_runtime = on == "tokio" || on.starts_with("tokio-");
    if is_runtime && WITHOUT_RUNTIME.contains(&of) {
        return Some(format!(
            "`{on}` is not for {of}, which may use no runtime such as tokio"
        ));
    }
    let rule = OUTSIDE.iter().find(|rule| rule.package == on)?;
    // The library of the package `tests` is test code, so it may use what tests may use.
    let in_tests = *dev || of == "tests";
    if rule.by.contains(&of) || (in_tests && rule.by_tests_of.contains(&of)) {
        return None;
    }
    Some(format!("`{on}` is not for {of}: {}", rule.instead))
}

#[cfg(test)]
mod tests;
