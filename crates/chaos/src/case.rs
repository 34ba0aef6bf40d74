//! A fault case of the catalogue: its number and name, and what shows that it holds.

use anyhow::Result;

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
    /// The soak.
    Soak,
}

/// The layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    Simulation,
    Crashes,
    Faults,
    Cluster,
    Tests,
}

impl Layer {
    /// All, in the order in which they run: what says no soonest comes first.
    pub const ALL: [Layer; 5] = [
        Layer::Simulation,
        Layer::Crashes,
        Layer::Faults,
        Layer::Cluster,
        Layer::Tests,
    ];
}

impl Proof {
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
            Proof::Soak => "soak".to_owned(),
        }
    }
}
