//! A fault case of the catalogue: its number, its name, its promise, and what shows that the
//! promise holds.

use anyhow::Result;
use clap::ValueEnum;

use crate::checker::Figures;
use crate::fault::Fault;
use crate::pair::Pair;
use crate::scenario::RunContext;

/// A fault, what hookbox promises under this fault, and what shows that the promise holds.
#[derive(Clone, Copy)]
pub struct Case {
    /// The number of the case. Numbers begin at 1 and follow the order of the catalogue.
    pub number: u8,
    /// The name that `--case` accepts.
    pub name: &'static str,
    /// The fault, and what hookbox promises under it.
    pub what: &'static str,
    /// The proofs that the promise holds. Every one of them must pass.
    pub proofs: &'static [Proof],
}

/// A way to show that the promise of a case holds, such as real faults or tests.
#[derive(Clone, Copy)]
pub enum Proof {
    /// Runs a load, inflicts these faults, heals them, and runs the checker.
    Faults {
        pairs: &'static [Pair],
        /// Whether `cargo xtask chaos --ci`, which a change must pass, runs the case too.
        fast: bool,
        faults: &'static [Fault],
    },
    /// A function with a load and faults of its own, for a case that the ordinary sequence in
    /// `scenario.rs` cannot run. The function also runs the checker.
    Scenario {
        pairs: &'static [Pair],
        fast: bool,
        /// Whether the case may run at the same time as the crash-point matrix. Such a case must
        /// inflict no fault on the servers, because the crash-point matrix uses them too.
        is_parallel: bool,
        run: fn(&RunContext<'_>) -> Result<Figures>,
    },
    /// The crash points whose names begin with one of these prefixes: at each of them a process
    /// ends itself, and then the checker runs.
    Crashes(&'static [&'static str]),
    /// The tests of this package whose names contain one of these filters. They are ordinary tests,
    /// which `cargo xtask test` runs too.
    Tests {
        package: &'static str,
        filters: &'static [&'static str],
    },
    /// A test that a hazard of a library or a server still exists. When the test fails, hookbox may
    /// no longer need its workaround.
    Canary {
        package: &'static str,
        filters: &'static [&'static str],
    },
    /// Runs of the simulation, each with another seed.
    Simulation,
    /// Faults of a RabbitMQ cluster of three nodes, each in a separate network namespace.
    Cluster,
    /// Runs an older hookbox beside this one, by `cargo xtask skew`.
    Versions,
    /// Random faults under load, for as long as `--minutes` requests.
    Soak,
}

/// The ways to run a case. `--layer` and the report use these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Layer {
    Simulation,
    Crashes,
    Faults,
    Cluster,
    Canaries,
    Versions,
    Tests,
    Soak,
}

impl Layer {
    /// The layers that run by default, beginning with the layers that find a failure soonest. The
    /// soak is not among them, because it takes as long as requested and so runs only on request.
    pub const CASES: [Layer; 7] = [
        Layer::Simulation,
        Layer::Crashes,
        Layer::Faults,
        Layer::Cluster,
        Layer::Canaries,
        Layer::Versions,
        Layer::Tests,
    ];

    /// Returns the name of the layer.
    pub fn as_str(self) -> &'static str {
        match self {
            Layer::Simulation => "simulation",
            Layer::Crashes => "crashes",
            Layer::Faults => "faults",
            Layer::Cluster => "cluster",
            Layer::Canaries => "canaries",
            Layer::Versions => "versions",
            Layer::Tests => "tests",
            Layer::Soak => "soak",
        }
    }
}

impl Case {
    /// Returns whether the case may run at the same time as the crash-point matrix.
    pub fn is_parallel(&self) -> bool {
        let mut proofs = self.proofs.iter();
        proofs.any(|proof| {
            matches!(
                proof,
                Proof::Scenario {
                    is_parallel: true,
                    ..
                }
            )
        })
    }

    /// Describes what one layer runs for the case on a pair of broker and store. A stored result
    /// counts only while this text is the same as at the time of the result.
    pub fn contents(&self, layer: Layer, pair: Option<Pair>) -> String {
        let of_it = |proof: &&Proof| {
            let here = match proof {
                Proof::Faults { pairs, .. } | Proof::Scenario { pairs, .. } => {
                    pair.is_some_and(|pair| pairs.contains(&pair))
                }
                Proof::Crashes(_)
                | Proof::Tests { .. }
                | Proof::Canary { .. }
                | Proof::Simulation
                | Proof::Cluster
                | Proof::Versions
                | Proof::Soak => true,
            };
            proof.layer() == layer && here
        };
        let contents = self.proofs.iter().filter(of_it).map(Proof::contents);
        contents.collect::<Vec<_>>().join("; ")
    }
}

impl Proof {
    /// Returns the layer that runs this proof.
    pub fn layer(&self) -> Layer {
        match self {
            Proof::Faults { .. } | Proof::Scenario { .. } => Layer::Faults,
            Proof::Crashes(_) => Layer::Crashes,
            Proof::Tests { .. } => Layer::Tests,
            Proof::Canary { .. } => Layer::Canaries,
            Proof::Simulation => Layer::Simulation,
            Proof::Cluster => Layer::Cluster,
            Proof::Versions => Layer::Versions,
            Proof::Soak => Layer::Soak,
        }
    }

    /// Returns the package and the filters of a proof that consists of tests, and `None` for any
    /// other proof.
    pub fn tests(&self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Proof::Tests { package, filters } | Proof::Canary { package, filters } => {
                Some((package, filters))
            }
            Proof::Faults { .. }
            | Proof::Scenario { .. }
            | Proof::Crashes(_)
            | Proof::Simulation
            | Proof::Cluster
            | Proof::Versions
            | Proof::Soak => None,
        }
    }

    /// Describes what the proof runs, such as its faults or its tests. The text is empty for a kind
    /// of proof that runs the same thing for every case.
    pub fn contents(&self) -> String {
        match self {
            Proof::Faults { faults, .. } => format!("{faults:?}"),
            Proof::Tests { .. } | Proof::Canary { .. } => self.label(),
            // A scenario needs no description, because its case identifies it. Crash points need
            // none, because each has a result of its own. The other proofs run the same thing for
            // every case.
            Proof::Scenario { .. }
            | Proof::Crashes(_)
            | Proof::Simulation
            | Proof::Cluster
            | Proof::Versions
            | Proof::Soak => String::new(),
        }
    }

    /// Returns the text by which the report names this proof.
    pub fn label(&self) -> String {
        match self {
            Proof::Faults { pairs, .. } | Proof::Scenario { pairs, .. } => {
                let pairs: Vec<&str> = pairs.iter().map(|pair| pair.as_str()).collect();
                format!("real faults on {}", pairs.join(" and "))
            }
            Proof::Crashes(points) => {
                let any = |begin: &&str| if begin.ends_with('.') { "*" } else { "" };
                let points: Vec<String> =
                    points.iter().map(|it| format!("{it}{}", any(it))).collect();
                format!("crash points {}", points.join(", "))
            }
            Proof::Tests { package, filters } | Proof::Canary { package, filters } => {
                format!("`{package}`: {}", filters.join(", "))
            }
            Proof::Simulation => "simulation".to_owned(),
            Proof::Cluster => "cluster".to_owned(),
            Proof::Versions => "`cargo xtask skew`".to_owned(),
            Proof::Soak => "soak".to_owned(),
        }
    }
}
