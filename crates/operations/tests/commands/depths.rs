//! A fake broker. It only reports the depths of its queues, and holds the store's first witness
//! message.

use std::sync::Mutex;

use async_trait::async_trait;
use hookbox_driver::{
    Batch, Broker, Depth, Fault, NotReadyKind, PublishError, PublishErrorKind, Queue, Readiness,
    Subscription,
};
use hookbox_event::{Account, Witness};

use crate::world::{unavailable, witness};

/// A fake broker. It has lists of depths, and each reading returns the next list. When all lists
/// were returned, the last list is repeated.
pub struct Depths(pub Mutex<Vec<Vec<Depth>>>);

pub fn depth(queue: Queue, ready: u64, unsettled: Option<u64>, events: Option<u64>) -> Depth {
    Depth {
        name: format!("hookbox.test.{queue}"),
        queue,
        ready: Some(ready),
        unsettled,
        consumers: None,
        events,
    }
}

#[async_trait]
impl Broker for Depths {
    async fn witnesses(&self) -> Result<Vec<Witness>, Fault> {
        Ok(vec![witness(1, 1)])
    }

    async fn publish(&self, _: &[hookbox_event::RouteName], _: &Batch) -> Result<(), PublishError> {
        Err(PublishError::plain(PublishErrorKind::Unavailable))
    }

    async fn publish_report(&self, _: &Account) -> Result<(), PublishError> {
        Err(PublishError::plain(PublishErrorKind::Unavailable))
    }

    async fn subscribe(&self, _: &Queue, _: u16) -> Result<Box<dyn Subscription>, Fault> {
        Err(unavailable())
    }

    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        let mut depths = self.0.lock().unwrap();
        if depths.len() > 1 {
            return Ok(depths.remove(0));
        }
        depths.first().cloned().ok_or_else(unavailable)
    }

    fn readiness(&self) -> Readiness {
        Readiness::not_ready(NotReadyKind::Unreachable, "this broker only reports depths")
    }

    async fn close(&self) {}
}
