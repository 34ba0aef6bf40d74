//! Names that a store has seen, as suggestions for an operator who mistyped one.

use std::collections::BTreeSet;

use hookbox_event::{RouteName, SourceName, Topic};

/// Names of sources, topics and routes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Sources.
    pub sources: BTreeSet<String>,
    /// Topics.
    pub topics: BTreeSet<String>,
    /// Routes.
    pub routes: BTreeSet<String>,
}

/// One of these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// Of a source.
    Source(&'a SourceName),
    /// Of a topic.
    Topic(&'a Topic),
    /// Of a route.
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

    /// Returns what the name refers to: "source", "topic" or "route".
    pub fn kind(self) -> &'static str {
        match self {
            Name::Source(_) => "source",
            Name::Topic(_) => "topic",
            Name::Route(_) => "route",
        }
    }

    /// Returns the names of the same kind.
    pub fn among(self, names: &Names) -> &BTreeSet<String> {
        match self {
            Name::Source(_) => &names.sources,
            Name::Topic(_) => &names.topics,
            Name::Route(_) => &names.routes,
        }
    }
}

impl Names {
    /// Adds others.
    pub fn extend(&mut self, other: Names) {
        self.sources.extend(other.sources);
        self.topics.extend(other.topics);
        self.routes.extend(other.routes);
    }
}
