//! A fault case of the catalogue: its number and name, and what shows that it holds.

use anyhow::Result;
use clap::ValueEnum;

use crate::checker::Figures;
use crate::fault::Fault;
use crate::pair::Pair;
use crate::scenario::RunContext;

/// A case.
#[derive(Clone, Copy)]
pub struct Case {
    /// The number, from 1; the order of the catalogue.
    pub number: u8,
    /// The name for `--case`.
    pub name: &'static str,
    /// What is done, and what must result.
    pub what: &'static str,
    /// What shows it. All of it must hold.
    pub proofs: &'static [Proof],
}

/// What shows that a case holds.
#[derive(Clone, Copy)]
pub enum Proof {
    /// Load, these faults, healing, and the checker.
    Faults {
        pairs: &'static [Pair],
        /// Whether it runs in CI, too.
        fast: bool,
        faults: &'static [Fault],
    },
    /// A course of its own, and the checker.
    Scenario {
        pairs: &'static [Pair],
        fast: bool,
        run: fn(&RunContext<'_>) -> Result<Figures>,
    },
    /// Cells of the crash-point matrix, by how the names of their points begin.
    Crashes(&'static [&'static str]),
    /// Tests of a package, by filters. They run with every `cargo xtask test`.
    Tests {
        package: &'static str,
        filters: &'static [&'static str],
    },
    /// A test that a hazard of a library or a server is still there.
    Canary {
        package: &'static str,
        filters: &'static [&'static str],
    },
    /// The seeded simulation.
    Simulation,
    /// A three-node cluster in network namespaces.
    Cluster,
    /// An older hookbox beside this one: `cargo xtask skew`.
    Versions,
    /// The soak.
    Soak,
}

/// The layers, as `--layer` and the report name them.
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
    /// The layers that run by default, in order: the ones that fail soonest come first. The soak
    /// takes as long as requested, and so it only runs on request.
    pub const CASES: [Layer; 7] = [
        Layer::Simulation,
        Layer::Crashes,
        Layer::Faults,
        Layer::Cluster,
        Layer::Canaries,
        Layer::Versions,
        Layer::Tests,
    ];

    /// Its name.
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
    /// A text of what one layer runs of it on a pair, which changes when that changes.
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
    /// Which layer runs it.
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

    /// The package and the filters of tests.
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

    /// The names of its results, where they differ from its own name.
    pub fn contents(&self) -> String {
        match self {
            Proof::Faults { faults, .. } => format!("{faults:?}"),
            Proof::Tests { .. } | Proof::Canary { .. } => self.label(),
            // A course has its name, points have results of their own, and the rest has one.
            Proof::Scenario { .. }
            | Proof::Crashes(_)
            | Proof::Simulation
            | Proof::Cluster
            | Proof::Versions
            | Proof::Soak => String::new(),
        }
    }

    /// As the report names it.
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
