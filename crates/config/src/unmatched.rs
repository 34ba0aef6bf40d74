//! Finds routes that no event can reach, and sources whose events no route selects. Such a config
//! is valid, but most often a name in it is misspelt.

use hookbox_event::{Topic, TopicPattern};

use super::config::Config;
use super::place::Places;
use super::route::{RouteConfig, UNROUTED};
use super::source::SourceConfig;

impl Config {
    /// Returns a warning for each pattern of a route that matches no topic of a source, and for
    /// each source whose topics no route selects, each with its place. A config without routes gets
    /// no warning.
    pub fn unmatched_topics(&self) -> Vec<String> {
        let Ok(mut places) = Places::new(&self.path, &self.text) else {
            return Vec::new();
        };
        // The routes and sources of a valid config are in the order of its file. The route
        // `unrouted`, which the file does not have, is the last one, and has no topics.
        for (index, route) in self.routes.iter().enumerate() {
            self.check_route(&format!("/route/{index}"), route, &mut places);
        }
        if self.routes.iter().any(|route| !route.topics.is_empty()) {
            for (index, source) in self.sources.iter().enumerate() {
                self.check_source(&format!("/source/{index}"), source, &mut places);
            }
        }
        places.warnings()
    }

    fn check_route(&self, at: &str, route: &RouteConfig, places: &mut Places) {
        for (index, pattern) in route.topics.iter().enumerate() {
            if !self.sources.iter().any(|it| may_match(pattern, it)) {
                let topics: Vec<String> = self.sources.iter().map(topics).collect();
                let topics = topics.join(", ");
                places.warn(
                    &format!("{at}/topics/{index}"),
                    format!(
                        "no source of this config has a topic that matches this pattern; the \
                         topics of the sources are {topics}"
                    ),
                );
            }
        }
    }

    fn check_source(&self, at: &str, source: &SourceConfig, places: &mut Places) {
        let mut patterns = self.routes.iter().flat_map(|route| &route.topics);
        if patterns.any(|pattern| may_match(pattern, source)) {
            return;
        }
        let topics = topics(source);
        places.warn(
            at,
            format!(
                "no route selects the topics of this source ({topics}), so all its events go to \
                 the route {UNROUTED:?}, which only stores them"
            ),
        );
    }
}

/// Returns whether a pattern may match a topic of a source.
fn may_match(pattern: &TopicPattern, source: &SourceConfig) -> bool {
    match untyped(source) {
        Some(topic) => pattern.matches(&topic),
        // A topic has at least two parts, so a pattern of one part matches none, except for `#`.
        None => {
            let text = pattern.as_str();
            (text == "#" || text.contains('.')) && pattern.may_match_of(&source.name)
        }
    }
}

/// Returns the one topic of a source whose requests name no event type; `None` for other sources.
fn untyped(source: &SourceConfig) -> Option<Topic> {
    let is_untyped = source.topic.is_none();
    is_untyped.then(|| Topic::of(&source.name, None))
}

/// Describes the topics that a source may have.
fn topics(source: &SourceConfig) -> String {
    let name = &source.name;
    untyped(source).map_or_else(|| format!("{name}.…"), |topic| topic.to_string())
}
