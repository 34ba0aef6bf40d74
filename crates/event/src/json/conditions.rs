//! Decides conditions while the scanner passes over a body. Each value that is met is looked up in
//! a tree of the pointers' names, so the work for a value hardly grows with the number of
//! conditions on other values.

use std::collections::BTreeMap;

use super::canonical::{Canonical, canonical_of};
use super::compare::Number;
use super::condition::{Condition, ExactNumber, Literal, Test};
use super::extracts::Leaf;
use crate::Pointer;

/// Conditions that are decided together, in one scan of a body.
#[derive(Debug, Default)]
pub struct Conditions {
    /// The places in a body to which pointers of conditions lead, and the places on the way there.
    /// The first is the whole body. Without conditions, the list is empty.
    places: Vec<Place>,
    tests: Vec<Check>,
}

/// The index of a [`Place`].
pub(super) type PlaceIndex = usize;

/// A place in a body.
#[derive(Debug, Default)]
struct Place {
    /// The places one level below, by the name in the pointer, in canonical form. If the name is an
    /// index, the place may be a member of an object or an element of an array, because a pointer
    /// does not say which.
    below: BTreeMap<Vec<u8>, PlaceIndex>,
    /// Those places one level below that may be elements of an array, by their index.
    elements: BTreeMap<usize, PlaceIndex>,
    /// The conditions on the value at this place, as indexes of `tests`.
    tests: Vec<usize>,
}

/// A test, prepared for comparisons with the text of a body.
#[derive(Debug)]
enum Check {
    Exists(bool),
    Null(bool),
    OneOf(Vec<Comparand>),
    /// The canonical form of the text with which a string must begin. It is enough to compare
    /// canonical forms: each character has exactly one, and none is the beginning of another one.
    Prefix(Vec<u8>),
    Less(ExactNumber),
    Greater(ExactNumber),
}

#[derive(Debug)]
enum Comparand {
    String(Vec<u8>),
    Number(ExactNumber),
    Bool(bool),
}

/// A value that the scanner has met at the place of a condition.
enum Value<'a> {
    Container,
    Null,
    Bool(bool),
    Number(Number<'a>),
    /// The canonical form of a string. A lone half of a surrogate pair has a form that no character
    /// has, so it never equals a character of a condition.
    String(&'a [u8]),
}

impl Conditions {
    /// Prepares conditions. A scan returns its decisions in the order of these conditions.
    pub fn new<'a>(conditions: impl IntoIterator<Item = &'a Condition>) -> Self {
        let mut prepared = Self::default();
        for condition in conditions {
            let mut at = prepared.root_or_new();
            for token in condition.pointer.tokens() {
                at = prepared.below_or_new(at, token);
            }
            let index = prepared.tests.len();
            prepared.tests.push(Check::of(&condition.test));
            prepared.places[at].tests.push(index);
        }
        prepared
    }

    /// Returns whether there are no conditions.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    fn root_or_new(&mut self) -> PlaceIndex {
        if self.places.is_empty() {
            self.places.push(Place::default());
        }
        0
    }

    fn below_or_new(&mut self, at: PlaceIndex, token: &str) -> PlaceIndex {
        let name = canonical_of(token);
        if let Some(known) = self.member(at, &name) {
            return known;
        }
        let new = self.places.len();
        self.places.push(Place::default());
        let place = &mut self.places[at];
        place.below.insert(name, new);
        place
            .elements
            .extend(Pointer::element_index(token).map(|index| (index, new)));
        new
    }

    /// Returns the place that is the whole body.
    pub(super) fn root(&self) -> Option<PlaceIndex> {
        (!self.places.is_empty()).then_some(0)
    }

    /// Returns the place of a member of the object at the place `at`. `name` is in canonical form.
    pub(super) fn member(&self, at: PlaceIndex, name: &[u8]) -> Option<PlaceIndex> {
        self.places[at].below.get(name).copied()
    }

    /// Returns the place of an element of the array at the place `at`.
    pub(super) fn element(&self, at: PlaceIndex, index: usize) -> Option<PlaceIndex> {
        self.places[at].elements.get(&index).copied()
    }
}

/// What was decided so far about each condition, while a body is scanned.
pub(super) struct Decisions<'a> {
    conditions: &'a Conditions,
    /// Whether each condition holds.
    pub holds: Vec<bool>,
    /// Whether a value was met at each place. A second value at a place means that a key is
    /// repeated. Then no condition on the place will hold, so the second value is not checked. This
    /// also limits the work for a body that repeats one key a million times.
    met: Vec<bool>,
    /// Whether each place is known to be ambiguous. All places below an ambiguous place are
    /// ambiguous, too.
    ambiguous: Vec<bool>,
}

impl<'a> Decisions<'a> {
    pub fn new(conditions: &'a Conditions) -> Self {
        // No value was met yet. So of all conditions, only those hold that demand that a value is
        // absent.
        let holds = |check: &Check| matches!(check, Check::Exists(false));
        Self {
            conditions,
            holds: conditions.tests.iter().map(holds).collect(),
            met: vec![false; conditions.places.len()],
            ambiguous: vec![false; conditions.places.len()],
        }
    }

    pub fn conditions(&self) -> &'a Conditions {
        self.conditions
    }

    /// Called for an object or an array at a place.
    pub fn container(&mut self, at: PlaceIndex) {
        self.decide(at, &Value::Container);
    }

    /// Called for a value at a place, if the value is neither an object nor an array.
    pub fn leaf(&mut self, at: PlaceIndex, text: &Canonical<'_>, leaf: Leaf) {
        let value = match leaf {
            Leaf::Null => Value::Null,
            Leaf::Bool(value) => Value::Bool(value),
            Leaf::Number(number) => Value::Number(Number::of(text.bytes(number))),
            Leaf::String(content) => Value::String(text.bytes(content)),
        };
        self.decide(at, &value);
    }

    fn decide(&mut self, at: PlaceIndex, value: &Value<'_>) {
        if std::mem::replace(&mut self.met[at], true) || self.ambiguous[at] {
            return;
        }
        for test in &self.conditions.places[at].tests {
            self.holds[*test] = self.conditions.tests[*test].accepts(value);
        }
    }

    /// Called at the end of an object in which the member at this place occurs twice. After that,
    /// no condition on the place or below it holds.
    pub fn ambiguous(&mut self, at: PlaceIndex) {
        let mut rest = vec![at];
        while let Some(at) = rest.pop() {
            if std::mem::replace(&mut self.ambiguous[at], true) {
                continue;
            }
            let place = &self.conditions.places[at];
            for test in &place.tests {
                self.holds[*test] = false;
            }
            rest.extend(place.below.values());
        }
    }
}

impl Check {
    fn of(test: &Test) -> Self {
        match test {
            Test::Exists(exists) => Check::Exists(*exists),
            Test::Null(is_null) => Check::Null(*is_null),
            Test::OneOf(values) => Check::OneOf(values.iter().map(Comparand::of).collect()),
            Test::Prefix(text) => Check::Prefix(canonical_of(text)),
            Test::Less(number) => Check::Less(number.clone()),
            Test::Greater(number) => Check::Greater(number.clone()),
        }
    }

    fn accepts(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Check::Exists(exists), _) => *exists,
            (Check::Null(is_null), value) => *is_null == matches!(value, Value::Null),
            (Check::OneOf(values), value) => values.iter().any(|one| one.is(value)),
            (Check::Prefix(prefix), Value::String(text)) => text.starts_with(prefix),
            (Check::Less(limit), Value::Number(number)) => number.compare(&limit.number()).is_lt(),
            (Check::Greater(limit), Value::Number(number)) => {
                number.compare(&limit.number()).is_gt()
            }
            (Check::Prefix(_) | Check::Less(_) | Check::Greater(_), _) => false,
        }
    }
}

impl Comparand {
    fn of(value: &Literal) -> Self {
        match value {
            Literal::String(text) => Comparand::String(canonical_of(text)),
            Literal::Number(number) => Comparand::Number(number.clone()),
            Literal::Bool(value) => Comparand::Bool(*value),
        }
    }

    fn is(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Comparand::String(text), Value::String(found)) => text == found,
            (Comparand::Number(number), Value::Number(found)) => {
                found.compare(&number.number()).is_eq()
            }
            (Comparand::Bool(value), Value::Bool(found)) => value == found,
            (Comparand::String(_) | Comparand::Number(_) | Comparand::Bool(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests;
