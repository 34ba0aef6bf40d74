//! Records whether the most recent write of the publisher to the file succeeded.

use std::sync::{Mutex, PoisonError};

use hookbox_driver::{NotReadyKind, Readiness};

/// The result of the publisher's most recent write to the file.
#[derive(Default)]
pub(crate) struct Health {
    trouble: Mutex<Option<String>>,
}

impl Health {
    pub(crate) fn readiness(&self) -> Readiness {
        match &*self.trouble.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Readiness::Ready,
            Some(why) => Readiness::not_ready(NotReadyKind::Storage, why.clone()),
        }
    }

    pub(crate) fn set(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(crate) fn is_good(&self) -> bool {
        self.readiness() == Readiness::Ready
    }
}
