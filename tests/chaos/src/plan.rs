//! The settings of a case that become the config files of its processes.

use crate::pair::Pair;
use crate::user_route::UserRoutes;

/// The number of attempts after which an event of the route `scores` is a dead letter.
pub const ATTEMPTS: u64 = 3;

/// The settings that differ between cases.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The log filter of the services.
    pub filter: &'static str,
    /// Lines of the config under `[ingest]`.
    pub ingest: String,
    /// Further lines under `[ingest]` for the second ingest.
    pub second_ingest: &'static str,
    /// Lines at the top of the config.
    pub top: String,
    /// Lines of the config under `[broker]`.
    pub broker: String,
    /// The name of the file that contains the broker URL of the second ingest.
    pub second_broker: &'static str,
    /// The routes with handlers that a user configures, in addition to the routes for Begini's
    /// events.
    pub user_routes: UserRoutes,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            // The services log at level `debug`, because the checker searches the logs for secrets.
            filter: "debug",
            ingest: String::new(),
            second_ingest: "",
            top: String::new(),
            broker: String::new(),
            second_broker: "broker",
            user_routes: UserRoutes::NONE,
        }
    }
}

impl Plan {
    /// Returns the text of the config file for the ingest with this number, which begins at 1,
    /// without the user routes. Workers use the config of ingest 1.
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
