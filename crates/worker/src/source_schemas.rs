//! The JSON Schemas of all sources, which can be replaced as a whole while the worker runs.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use hookbox_event::SourceName;

use crate::Schemas;

/// The compiled JSON Schemas of the sources that have some. Clones share the same schemas.
#[derive(Clone, Default)]
pub struct SourceSchemas(Arc<RwLock<HashMap<SourceName, Arc<Schemas>>>>);

impl SourceSchemas {
    /// Creates the collection with its first schemas.
    pub fn new(schemas: HashMap<SourceName, Arc<Schemas>>) -> Self {
        Self(Arc::new(RwLock::new(schemas)))
    }

    /// Replaces all schemas. An event that is being checked is checked to its end against the
    /// schemas with which the check started.
    pub fn replace(&self, schemas: HashMap<SourceName, Arc<Schemas>>) {
        // A writer that panicked has replaced either all of the schemas or none, so a poisoned
        // lock is safe.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = schemas;
    }

    /// Returns the current schemas of a source.
    pub fn of(&self, source: &SourceName) -> Option<Arc<Schemas>> {
        let schemas = self.0.read().unwrap_or_else(PoisonError::into_inner);
        schemas.get(source).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clones_see_a_replacement_and_a_held_one_stays_as_it_was() {
        let source: SourceName = "begini".parse().expect("the name must be valid");
        let compiled = |name: &str| {
            let schemas = Schemas::compile([(name, &serde_json::json!({}))])
                .expect("the schema must compile");
            HashMap::from([(source.clone(), Arc::new(schemas))])
        };
        let schemas = SourceSchemas::new(compiled("a"));
        let shared = schemas.clone();
        let held = shared.of(&source).expect("the source must have schemas");
        schemas.replace(compiled("b"));
        let types = |schemas: &Schemas| schemas.types().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            types(&shared.of(&source).expect("the source must have schemas")),
            ["b"]
        );
        assert_eq!(types(&held), ["a"]);
        assert!(
            shared
                .of(&"other".parse().expect("the name must be valid"))
                .is_none()
        );
    }
}
