//! What a cluster reports of our queues, and foreign messages that are put into one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::{AGAIN_MAX, Course};
use crate::fault::pause;
use crate::publish::publish;

/// A message that is no envelope, so that it is found again by its reason.
const STRANGE: &[u8] = b"not one of ours";

/// Workers that run in each case.
const WORKERS: usize = 2;

impl Course {
    /// A message is dead-lettered while its queue is on a node that will be lost.
    pub(super) fn put_into_the_dead_queue(&self) -> Result<()> {
        let queue = format!("hookbox.{}.dead", self.world.environment);
        publish(&self.cluster.url(&[1]), &queue, STRANGE)
    }

    /// A worker has moved it into the dead letters, once, or will; an operator shows and discards
    /// it, as it cannot be processed.
    pub(super) fn was_in_the_dead_queue(&mut self) -> Result<()> {
        let question = "select cast(count(*) as text) from dead_letters \
             where reason = 'undecodable'";
        let began = Instant::now();
        while self.world.place.sql.number(question)? == 0 {
            self.world.tend(None)?;
            ensure!(
                began.elapsed() < AGAIN_MAX,
                "I1: what died before a node was replaced is lost\n{}",
                self.world.tails()
            );
            pause(200);
        }
        let found = self.world.place.sql.number(question)?;
        ensure!(found == 1, "I10: it is there {found} times");
        let words = ["dead", "discard", "--reason", "undecodable", "--yes"];
        self.world.must(&words).map(drop)
    }

    /// How the replicas of the queue of scores stand, by a node that runs: for a finding.
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

    /// Waits until each worker has a consumer on each route's queue, by the broker.
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
                "H4: not each worker has a consumer on each queue: {consumers:?}\n{}",
                self.world.tails()
            );
            pause(500);
        }
    }

    /// The channels that consume each route's queue.
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

    /// What the broker reports of each of our queues.
    pub(super) fn of_queues(&self, what: &str) -> Result<BTreeMap<String, String>> {
        let words = ["list_queues", "--quiet", "--no-table-headers", "name", what];
        let said = self.cluster.ctl(1, "rabbitmqctl", &words)?;
        let ours = format!("hookbox.{}.", self.world.environment);
        let queues: BTreeMap<String, String> = said
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(name, _)| name.starts_with(&ours) && !name.contains("anchor"))
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect();
        ensure!(!queues.is_empty(), "there is no queue of ours: {said}");
        Ok(queues)
    }
}
