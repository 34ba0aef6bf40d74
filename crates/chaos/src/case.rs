//! A fault case of the catalogue: its number and name, and what shows that it holds.

use anyhow::Result;
use clap::ValueEnum;

use crate::checker::Figures;
use crate::fault::Fault;
use crate::pair::Pair;
use crate::scenario::Given;

/// A case.
#[derive(Clone, Copy)]
pub struct Case {
    /// The number, from 1; the order of the catalogue.
    pub number: u8,
    /// As `--case` knows it.
    pub name: &'static str,
    /// What is done, and what must come of it.
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
        /// In CI, too.
        fast: bool,
        faults: &'static [Fault],
    },
    /// A course of its own, and the checker.
    Scenario {
        pairs: &'static [Pair],
        fast: bool,
        run: fn(&Given<'_>) -> Result<Figures>,
    },
    /// Cells of the crash-point matrix, by how the names of their points begin.
    Crashes(&'static [&'static str]),
    /// Tests of a package, by filters. They run with every `cargo xtask test`.
    Tests {
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
    Versions,
    Tests,
    Soak,
}

impl Layer {
    /// What runs where nothing else is said, in the order in which it runs: what says no soonest
    /// comes first. The soak takes as long as is asked, and so it is asked for.
    pub const CASES: [Layer; 6] = [
        Layer::Simulation,
        Layer::Crashes,
        Layer::Faults,
        Layer::Cluster,
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
            Layer::Versions => "versions",
            Layer::Tests => "tests",
            Layer::Soak => "soak",
        }
    }
}

impl Proof {
    /// Which layer runs it.
    pub fn layer(&self) -> Layer {
        match self {
            Proof::Faults { .. } | Proof::Scenario { .. } => Layer::Faults,
            Proof::Crashes(_) => Layer::Crashes,
            Proof::Tests { .. } => Layer::Tests,
            Proof::Simulation => Layer::Simulation,
            Proof::Cluster => Layer::Cluster,
            Proof::Versions => Layer::Versions,
            Proof::Soak => Layer::Soak,
        }
    }

    /// As the report names it.
    pub fn label(&self) -> String {
        match self {
            Proof::Faults { .. } | Proof::Scenario { .. } => "real faults".to_owned(),
            Proof::Crashes(points) => format!("crash points {}", points.join(", ")),
            Proof::Tests { package, filters } => {
                format!("`{package}`: {}", filters.join(", "))
            }
            Proof::Simulation => "simulation".to_owned(),
            Proof::Cluster => "cluster".to_owned(),
            Proof::Versions => "`cargo xtask skew`".to_owned(),
            Proof::Soak => "soak".to_owned(),
        }
    }
}
