//! The routes of a case whose events go through a handler that the user has configured: `sql`,
//! `forward` and `publish`.

use crate::pair::Pair;

/// The key with which `forward` signs its requests. No log may contain it.
pub const SIGNING_KEY: &str = "whsec_Y2hhb3Mtc2lnbmluZy1rZXktdGhhdC1uby1sb2ctaGFz";

/// A route with a handler that the user has configured. It selects all topics, so that each event
/// goes through it in addition to the other routes of the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserRoute {
    Sql,
    Forward,
    Publish,
}

/// The user routes of a case.
#[derive(Debug, Clone, Copy)]
pub struct UserRoutes {
    pub all: &'static [UserRoute],
    /// The time limit of a call of `forward`. The calls of a killed worker are repeated when their
    /// leases end, 16 s after this limit.
    pub call_limit: &'static str,
    /// The most calls that all workers together may have in flight at a target. The calls of a
    /// killed worker count until their leases end.
    pub concurrency: u32,
    /// Whether calls of the case may get no answer, because a fault lasts longer than their time
    /// limit or loses the answer. Such a call counts as a failed attempt, because the target may
    /// have received the event.
    pub may_time_out: bool,
}

/// The addresses of the targets, as the config names them.
pub struct TargetAddresses<'a> {
    /// The URL to which `forward` posts.
    pub url: &'a str,
    /// The exchange to which `publish` publishes.
    pub exchange: &'a str,
}

impl UserRoute {
    /// Returns the name of the route. Its handler has the same name.
    pub fn as_str(self) -> &'static str {
        match self {
            UserRoute::Sql => "sql",
            UserRoute::Forward => "forward",
            UserRoute::Publish => "publish",
        }
    }

    /// Returns whether the handler makes external calls.
    pub fn is_external(self) -> bool {
        match self {
            UserRoute::Sql => false,
            UserRoute::Forward | UserRoute::Publish => true,
        }
    }

    fn config(self, routes: &UserRoutes, targets: &TargetAddresses<'_>) -> String {
        let (name, concurrency) = (self.as_str(), routes.concurrency);
        let settings = match self {
            UserRoute::Sql => "statements = { text = \"insert into chaos_sql (event, uid) \
                values (:event_number, :uid)\" }\n\
                parameters = { uid = { pointer = \"/uid\", type = \"text\" } }\n"
                .to_owned(),
            UserRoute::Forward => format!(
                "url = \"{}\"\nprivate_host = \"127.0.0.1\"\n\
                 secrets = [{{ id = \"test\", file = \"forward.key\" }}]\n\
                 limits = {{ total = \"{}\" }}\nconcurrency = {concurrency}\n",
                targets.url, routes.call_limit
            ),
            UserRoute::Publish => format!(
                "exchange = \"{}\"\nconcurrency = {concurrency}\n",
                targets.exchange
            ),
        };
        // 20 attempts are allowed, because each of several faults in a row may cost an event a
        // failed attempt.
        format!(
            "[[route]]\nname = \"{name}\"\ntopics = [\"begini.#\"]\n\
             retry = {{ attempts = 20, first = \"200 ms\", max = \"2 s\" }}\n\
             [route.handler]\nkind = \"{name}\"\n{settings}"
        )
    }
}

impl UserRoutes {
    /// No user routes. The other fields are the defaults of a case.
    pub const NONE: UserRoutes = UserRoutes {
        all: &[],
        call_limit: "6 s",
        concurrency: 64,
        may_time_out: false,
    };

    /// Returns all user routes that are possible on this pair of broker and store.
    pub fn on(pair: Pair) -> Self {
        let all: &[UserRoute] = match pair {
            Pair::RabbitmqPostgres => &[UserRoute::Sql, UserRoute::Forward, UserRoute::Publish],
            Pair::Sqlite => &[UserRoute::Sql, UserRoute::Forward],
        };
        Self { all, ..Self::NONE }
    }

    /// Returns whether the case has this route.
    pub fn has(&self, route: UserRoute) -> bool {
        self.all.contains(&route)
    }

    /// Returns the sections of the config for these routes.
    pub fn config(&self, targets: &TargetAddresses<'_>) -> String {
        let sections = self.all.iter();
        let sections = sections.map(|route| route.config(self, targets));
        sections.collect()
    }
}
