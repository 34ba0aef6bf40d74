//! A queue that is deleted in the middle of a look at it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use lapin::ConnectionProperties;
use lapin::options::QueueDeclareOptions;

use super::*;
use crate::canaries::{confirming, connect, delete, publish};
use crate::topology::Argument;

fn queue() -> QueueDeclaration {
    let kind = Argument::Text("quorum".to_owned());
    QueueDeclaration {
        name: format!("hookbox-look-{:016x}", RandomState::new().hash_one(0)),
        arguments: BTreeMap::from([("x-queue-type", kind)]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_between_both_questions_is_told() {
    let connection = connect(ConnectionProperties::default()).await;
    let (channel, queue) = (confirming(&connection).await, queue());
    let name = queue.name.as_str();
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(name.into(), options, queue.table());
    declared.await.unwrap();
    let mut asker = Asker::new(&connection);
    let Look::There(empty) = asker.look(name).await.unwrap() else {
        panic!("{name} was declared");
    };
    publish(&channel, name, "x").await.await.unwrap();
    let Look::There(before) = asker.look(name).await.unwrap() else {
        panic!("{name} was declared");
    };
    let Declared::Same(there) = asker.declare(&queue).await.unwrap() else {
        panic!("{name} is as it was declared");
    };
    assert!(!there.is_new_after(before) && !there.is_new_after(empty));

    delete(&channel, name).await;
    let Declared::Same(now) = asker.declare(&queue).await.unwrap() else {
        panic!("{name} is declared again");
    };
    assert!(now.is_new_after(before), "{now:?} after {before:?}");
    delete(&channel, name).await;
    let _ = connection.close(200, "done".into()).await;
}
