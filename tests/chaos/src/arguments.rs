//! The arguments of `cargo xtask chaos`.

use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::case::Layer;
use crate::pair::Pair;

/// The default duration of a soak, which is a long run of random faults.
const SOAK: Duration = Duration::from_secs(30 * 60);

/// Inflicts faults on real processes and servers, and checks that no event is lost or doubled.
///
/// Without arguments every case runs. A failure prints its seed and the one command that repeats
/// it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos")]
pub struct Arguments {
    /// Only this case: its number, its name, or a prefix of its name such as crash/worker.
    #[arg(long, value_name = "NAME")]
    pub case: Option<String>,
    /// The seed of all random choices [default: a new one each time]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Soaks (case 84) for this many minutes; with a case or a layer, repeats that case or layer
    /// for this many minutes, each time with a new seed
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=1_440))]
    pub minutes: Option<u64>,
    /// Only the cases of this layer
    #[arg(long, value_enum)]
    pub layer: Option<Layer>,
    /// Only this pair of broker and store [default: both]
    #[arg(long, value_enum)]
    pub pair: Option<PairName>,
    /// Runs what a change must pass: the simulation, one cell for each point of the crash-point
    /// matrix (selected by the seed), and the fast faults, some shortened; keeps no results
    #[arg(long)]
    pub ci: bool,
    /// Lists the cases, and runs nothing
    #[arg(long)]
    pub list: bool,
    /// Writes docs/FAULTS.md from the catalogue, prints the status of each case from the results of
    /// earlier runs in target/chaos/, and runs nothing
    #[arg(long)]
    pub report: bool,
    /// Applies each mutant (a patch that breaks the code), and checks that some test fails
    #[arg(long)]
    pub mutants: bool,
    /// With --mutants: checks only that each patch applies and that the broken code builds
    #[arg(long, requires = "mutants")]
    pub build: bool,
    /// Prints one JSON object for each result
    #[arg(long)]
    pub json: bool,
}

/// The value of `--pair`: which broker and store to use. `Rabbitmq` means RabbitMQ with PostgreSQL,
/// and `Sqlite` one SQLite file as both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PairName {
    Rabbitmq,
    Sqlite,
}

impl Arguments {
    /// Returns whether the arguments select this pair of broker and store.
    pub fn wants_pair(&self, pair: Pair) -> bool {
        match self.pair {
            None => true,
            Some(PairName::Rabbitmq) => pair == Pair::RabbitmqPostgres,
            Some(PairName::Sqlite) => pair == Pair::Sqlite,
        }
    }

    /// Returns whether the arguments select this layer (a way to run cases, such as real faults or
    /// the simulation).
    pub fn wants_layer(&self, layer: Layer) -> bool {
        match self.layer {
            // The layers of `--ci`. The tests and the canaries (tests that a known hazard of a
            // library still exists) are not among them, because CI has run both in an earlier step.
            // The cluster needs network namespaces, and the comparison with an older version needs
            // a second build. CI may have neither, so these two layers are left out too.
            None if self.ci => {
                matches!(layer, Layer::Simulation | Layer::Crashes | Layer::Faults)
            }
            None => true,
            Some(wanted) => wanted == layer,
        }
    }

    /// Returns for how long to soak, if a soak was requested.
    pub fn soak(&self) -> Option<Duration> {
        let named =
            self.layer == Some(Layer::Soak) || matches!(self.case.as_deref(), Some("84" | "soak"));
        let alone = self.minutes.is_some() && self.case.is_none() && self.layer.is_none();
        (named || alone).then(|| self.time().unwrap_or(SOAK))
    }

    /// Returns for how long to run, if `--minutes` is given.
    pub fn time(&self) -> Option<Duration> {
        self.minutes
            .map(|minutes| Duration::from_secs(minutes * 60))
    }

    /// Returns whether the arguments select the case with this number and name.
    pub fn wants_case(&self, number: Option<u8>, name: &str) -> bool {
        let Some(wanted) = &self.case else {
            return true;
        };
        let numbered = number.is_some_and(|number| wanted.parse() == Ok(number));
        numbered || name.starts_with(wanted.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser as _;

    use super::Arguments;
    use crate::catalog::sources;
    use crate::repository::path;

    /// Returns the arguments of every `cargo xtask chaos` command that the text quotes in
    /// backticks.
    fn commands(text: &str) -> impl Iterator<Item = &str> {
        let quoted = text.split('`');
        let arguments = quoted.filter_map(|it| it.strip_prefix("cargo xtask chaos "));
        arguments.filter(|it| !it.contains(['\n', '…']))
    }

    #[test]
    fn every_command_that_is_written_down_is_one() {
        let mut text = sources();
        let documents = fs::read_dir(path("docs")).unwrap();
        let documents = documents.map(|entry| entry.unwrap().path());
        for file in documents.filter(|file| file.extension().is_some_and(|it| it == "md")) {
            text += &fs::read_to_string(file).unwrap();
        }
        text += &fs::read_to_string(path("README.md")).unwrap();
        let mut tried = 0;
        for arguments in commands(&text) {
            let words = ["chaos"].into_iter().chain(arguments.split_whitespace());
            let parsed = Arguments::try_parse_from(words);
            assert!(parsed.is_ok(), "{arguments}: {}", parsed.unwrap_err());
            tried += 1;
        }
        assert!(
            tried > 5,
            "the documents must quote more than 5 commands of the fault suite, not only {tried}"
        );
    }
}
