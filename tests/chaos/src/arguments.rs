//! The arguments of `cargo xtask chaos`.

use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::case::Layer;
use crate::pair::Pair;

/// How long a soak takes by default: as long as what is promised of it.
const SOAK: Duration = Duration::from_secs(30 * 60);

/// Faults by number and name, against real servers.
///
/// Without arguments every case runs. A failure prints its seed and the one command that repeats
/// it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos")]
pub struct Arguments {
    /// Only this case: its number, its name, or how its name begins (crash/worker. say)
    #[arg(long, value_name = "NAME")]
    pub case: Option<String>,
    /// The seed of all random choices [default: a new one each time]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Soaks (case 84) for this many minutes; with a case or a layer, repeats that for this many
    /// minutes, each time with the next seed
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=1_440))]
    pub minutes: Option<u64>,
    /// Only this layer
    #[arg(long, value_enum)]
    pub layer: Option<Layer>,
    /// Only this pair [default: both]
    #[arg(long, value_enum)]
    pub pair: Option<PairName>,
    /// What a change must pass: the simulation, the whole crash-point matrix, the fast faults;
    /// keeps no results
    #[arg(long)]
    pub ci: bool,
    /// Lists the cases, and runs nothing
    #[arg(long)]
    pub list: bool,
    /// Writes docs/FAULTS.md from the catalogue, prints the status of each case from the results of
    /// earlier runs in target/chaos/, and runs nothing
    #[arg(long)]
    pub report: bool,
    /// Breaks the code in known ways, one after the other, and checks that each is caught
    #[arg(long)]
    pub mutants: bool,
    /// One JSON object for each outcome
    #[arg(long)]
    pub json: bool,
}

/// A pair, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PairName {
    Rabbitmq,
    Sqlite,
}

impl Arguments {
    /// Whether a pair is wanted.
    pub fn wants_pair(&self, pair: Pair) -> bool {
        match self.pair {
            None => true,
            Some(PairName::Rabbitmq) => pair == Pair::RabbitmqPostgres,
            Some(PairName::Sqlite) => pair == Pair::Sqlite,
        }
    }

    /// Whether a layer is wanted.
    pub fn wants_layer(&self, layer: Layer) -> bool {
        match self.layer {
            // The tests of a change have run before; the cluster and an older version need more
            // than CI may have.
            None if self.ci => {
                matches!(layer, Layer::Simulation | Layer::Crashes | Layer::Faults)
            }
            None => true,
            Some(wanted) => wanted == layer,
        }
    }

    /// For how long to soak, if a soak was requested.
    pub fn soak(&self) -> Option<Duration> {
        let named =
            self.layer == Some(Layer::Soak) || matches!(self.case.as_deref(), Some("84" | "soak"));
        let alone = self.minutes.is_some() && self.case.is_none() && self.layer.is_none();
        (named || alone).then(|| self.time().unwrap_or(SOAK))
    }

    /// For how long to run.
    pub fn time(&self) -> Option<Duration> {
        self.minutes
            .map(|minutes| Duration::from_secs(minutes * 60))
    }

    /// Whether a case is meant.
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

    /// The arguments of every command in backticks, as documents and comments have them.
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
        assert!(tried > 5, "only {tried} were found");
    }
}
