//! The names that a store has seen. From these, a command suggests a name to an operator who has
//! mistyped one.

use std::collections::BTreeSet;

use hookbox_event::{RouteName, SourceName, Topic};

/// Names of sources, topics and routes that a store has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The names of sources.
    pub sources: BTreeSet<String>,
    /// The names of topics.
    pub topics: BTreeSet<String>,
    /// The names of routes.
    pub routes: BTreeSet<String>,
}

/// A name that an operator wrote, with its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// The name of a source.
    Source(&'a SourceName),
    /// The name of a topic.
    Topic(&'a Topic),
    /// The name of a route.
    Route(&'a RouteName),
}

impl<'a> Name<'a> {
    /// Returns the name as the operator wrote it.
    pub fn as_str(self) -> &'a str {
        match self {
            Name::Source(name) => name.as_str(),
            Name::Topic(name) => name.as_str(),
            Name::Route(name) => name.as_str(),
        }
    }

    /// Returns the kind of the name: "source", "topic" or "route".
    pub fn kind(self) -> &'static str {
        match self {
            Name::Source(_) => "source",
            Name::Topic(_) => "topic",
            Name::Route(_) => "route",
        }
    }

    /// Returns those of `names` that have the kind of this name: sources, topics or routes.
    pub fn among(self, names: &Names) -> &BTreeSet<String> {
        match self {
            Name::Source(_) => &names.sources,
            Name::Topic(_) => &names.topics,
            Name::Route(_) => &names.routes,
        }
    }
}

impl Names {
    /// Adds all names of `other`.
    pub fn extend(&mut self, other: Names) {
        self.sources.extend(other.sources);
        self.topics.extend(other.topics);
        self.routes.extend(other.routes);
    }
}
