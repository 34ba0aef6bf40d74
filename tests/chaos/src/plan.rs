//! The plan of a world before it is made: its config.

use crate::pair::Pair;

/// After how many attempts a score is a dead letter.
pub const ATTEMPTS: u64 = 3;

/// The plan of a world.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What services log.
    pub filter: &'static str,
    /// Lines under `[ingest]`.
    pub ingest: String,
    /// Further such lines of the second ingest.
    pub second_ingest: &'static str,
    /// Lines at the top.
    pub top: String,
    /// Lines under `[broker]`.
    pub broker: String,
    /// Where the second ingest finds its broker: a file of its own, or that of all.
    pub second_broker: &'static str,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            // Everything that could leak is searched.
            filter: "debug",
            ingest: String::new(),
            second_ingest: "",
            top: String::new(),
            broker: String::new(),
            second_broker: "broker",
        }
    }
}

impl Plan {
    /// The config of an ingest, from 1; workers use that of the first.
    pub fn config(&self, pair: Pair, environment: &str, number: usize, port: u16) -> String {
        let (broker, more) = match number {
            1 => ("broker", ""),
            _ => (self.second_broker, self.second_ingest),
        };
        let url = |name| match pair {
            Pair::RabbitmqPostgres => format!("{{ file = \"{name}\" }}"),
            Pair::Sqlite => "\"sqlite:hookbox.db\"".to_owned(),
        };
        format!(
            "environment = \"{environment}\"\n{}\n[store]\nurl = {}\n[broker]\nurl = {}\n{}\n\
             [ingest]\nlisten = \"127.0.0.1:{port}\"\n{}\n{more}\n\
             [log]\nfilter = \"{}\"\n\
             [[source]]\nname = \"begini\"\npreset = \"begini\"\n\
             secrets = [{{ id = \"test\", file = \"key\" }}]\n\
             [[route]]\nname = \"scores\"\ntopics = [\"begini.*_score.complete\"]\n\
             handler = {{ kind = \"begini\" }}\n\
             retry = {{ attempts = {ATTEMPTS}, first = \"50 ms\", max = \"50 ms\" }}\n\
             [[route]]\nname = \"applications\"\ntopics = [\"begini.application.*\"]\n\
             handler = {{ kind = \"begini\" }}\n",
            self.top,
            url("store"),
            url(broker),
            self.broker,
            self.ingest,
            self.filter,
        )
    }
}
