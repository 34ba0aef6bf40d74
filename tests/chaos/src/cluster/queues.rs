//! Reads the state of the queues of hookbox from a cluster, and publishes an undecodable message.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::{AGAIN_MAX, Course};
use crate::fault::pause;
use crate::publish::publish;

/// A message that is not an envelope. The reason of its dead letter is therefore `undecodable`,
/// which no other dead letter of the case has.
const STRANGE: &[u8] = b"not one of ours";

/// The number of workers in each case.
const WORKERS: usize = 2;

impl Course {
    /// Publishes an undecodable message to the dead-letter queue, while one of the queue's replicas
    /// is on the node that the case is going to replace.
    pub(super) fn put_into_the_dead_queue(&self) -> Result<()> {
        let queue = format!("hookbox.{}.dead", self.world.environment);
        publish(&self.cluster.url(&[1]), &queue, STRANGE)
    }

    /// Waits until a worker has stored the message of the dead-letter queue as one dead letter.
    /// Then discards this dead letter, because it can never be processed and the checker expects no
    /// other reasons than those of the load.
    pub(super) fn was_in_the_dead_queue(&mut self) -> Result<()> {
        let question = "select cast(count(*) as text) from dead_letters \
             where reason = 'undecodable'";
        let began = Instant::now();
        while self.world.place.sql.number(question)? == 0 {
            self.world.tend(None)?;
            ensure!(
                began.elapsed() < AGAIN_MAX,
                "I1: the message in the dead-letter queue was lost with the replaced node\n{}",
                self.world.tails()
            );
            pause(200);
        }
        let found = self.world.place.sql.number(question)?;
        ensure!(
            found == 1,
            "I10: the undecodable message has {found} dead letters, not 1"
        );
        let words = ["dead", "discard", "--reason", "undecodable", "--yes"];
        self.world.must(&words).map(drop)
    }

    /// Returns the status of the replicas of the queue of route `scores`, to be added to the text
    /// of a finding.
    pub(super) fn standing(&mut self) -> String {
        let Some(node) = (1..=3).find(|&node| self.cluster.runs(node)) else {
            return "no node runs".to_owned();
        };
        let queue = format!("hookbox.{}.route.scores", self.world.environment);
        let said = self
            .cluster
            .ctl(node, "rabbitmq-queues", &["quorum_status", &queue]);
        said.unwrap_or_else(|error| error.to_string())
    }

    /// Waits until the broker lists a consumer of each worker on the queue of each route.
    pub(super) fn is_consumed(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            let consumers = self.consumers()?;
            if consumers.values().all(|it| it.len() == WORKERS) {
                return Ok(());
            }
            self.world.tend(None)?;
            ensure!(
                began.elapsed() < AGAIN_MAX,
                "H4: each worker must have a consumer on each queue; found {consumers:?}\n{}",
                self.world.tails()
            );
            pause(500);
        }
    }

    /// For the queue of each route, returns the channels that consume it.
    fn consumers(&self) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let words = ["list_consumers", "--quiet", "--no-table-headers"];
        let words = [&words[..], &["queue_name", "channel_pid"]].concat();
        let said = self.cluster.ctl(1, "rabbitmqctl", &words)?;
        let routes = ["scores", "applications"].map(|route| {
            let name = format!("hookbox.{}.route.{route}", self.world.environment);
            let channels = said.lines().filter_map(|line| line.split_once('\t'));
            let channels = channels.filter(|(queue, _)| *queue == name);
            let channels = channels.map(|(_, channel)| channel.to_owned()).collect();
            (name, channels)
        });
        Ok(routes.into_iter().collect())
    }

    pub(super) fn members(&self) -> Result<BTreeMap<String, usize>> {
        let said = self.of_queues("members")?;
        let count = |text: &String| text.matches("rabbit@").count();
        Ok(said
            .iter()
            .map(|(name, text)| (name.clone(), count(text)))
            .collect())
    }

    /// For each queue of hookbox, returns the value of one column in the broker's list of queues.
    pub(super) fn of_queues(&self, what: &str) -> Result<BTreeMap<String, String>> {
        let words = ["list_queues", "--quiet", "--no-table-headers", "name", what];
        let said = self.cluster.ctl(1, "rabbitmqctl", &words)?;
        let ours = format!("hookbox.{}.", self.world.environment);
        let queues: BTreeMap<String, String> = said
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(name, _)| name.starts_with(&ours) && !is_temporary(name))
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect();
        ensure!(
            !queues.is_empty(),
            "the broker lists no queue of hookbox: {said}"
        );
        Ok(queues)
    }
}

/// Returns whether this is a queue that exists only for a moment: an anchor queue, or the queue
/// with which a process locks the witness messages while it reads them.
fn is_temporary(name: &str) -> bool {
    name.contains(".anchor.") || name.ends_with(".reader")
}
