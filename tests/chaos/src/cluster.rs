//! The cases of a RabbitMQ cluster: its three nodes are partitioned, killed, restarted and replaced
//! under load.

mod queues;

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use hookbox_testkit::servers::{RabbitmqCluster, find, network};

use crate::answers;
use crate::checker::Figures;
use crate::fault::pause;
use crate::journal::Journal;
use crate::load::{Load, RunningLoad};
use crate::outcome::Verdict;
use crate::scenario::{SETTLE_MAX, STOP_MAX, rest};
use crate::servers::Servers;
use crate::world::World;
use hookbox_testkit::chance::Chance;

/// The time in milliseconds within which requests must be answered that wait for an answer when a
/// fault starts. It is the confirm deadline, and a margin for a busy machine.
const ANSWERED: u64 = 4_000;

/// For how many milliseconds the test checks that no request is accepted while a majority of nodes
/// is missing.
const WATCHED: u64 = 15_000;

/// The time within which events must be accepted again after a fault, while a minority of nodes is
/// still unavailable.
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// The duration of one network partition in milliseconds.
const FLAP: u64 = 5_000;

/// The number of network partitions, one after the other.
const FLAPS: u32 = 20;

/// A part of the log line about a queue that would not survive the loss of one node.
const ONE_MEMBER: &str = "one member in a cluster of 3";

/// The time within which ingest must log that a queue has only one member.
const NAMED_MAX: Duration = Duration::from_secs(5);

/// A test waits for this many further accepted events, to see that ingest accepts events again. The
/// number is larger than the number of requests that wait for an answer when the count starts, so
/// at least one of the events was sent after that.
const MORE: u64 = 20;

/// Runs the case of the catalogue with this number.
pub fn run(servers: &Servers, number: u8, seed: u64) -> (Figures, Verdict) {
    let nodes = if number == 31 { 1 } else { 3 };
    eprintln!("starting {nodes} RabbitMQ nodes, each in a separate network namespace");
    let found = match find::rabbitmq() {
        Ok(found) => found,
        Err(error) => return (Figures::default(), Verdict::DidNotRun(error.to_string())),
    };
    if let Err(why) = network::available() {
        return (Figures::default(), Verdict::DidNotRun(why));
    }
    let cluster = RabbitmqCluster::start(&found, nodes, number == 31).map_err(anyhow::Error::from);
    match cluster.and_then(|cluster| case(servers, cluster, number, seed)) {
        Ok(figures) => (figures, Verdict::Held),
        Err(error) => (Figures::default(), Verdict::Broken(format!("{error:#}"))),
    }
}

fn case(servers: &Servers, cluster: RabbitmqCluster, number: u8, seed: u64) -> Result<Figures> {
    servers.start()?;
    let knows: &[u8] = match number {
        25 => &[1],
        26 => &[2, 3],
        _ => &[1, 2, 3],
    };
    let watched = match number {
        31 => format!("management = \"{}\"", cluster.management(1)),
        _ => String::new(),
    };
    let world = World::on_cluster(servers, &cluster, knows, watched)?;
    let mut course = Course {
        chance: Chance::new(seed),
        world,
        cluster,
        seed,
    };
    match number {
        25 => course.leader_isolated_with_its_client(),
        26 => course.leader_isolated_alone(),
        27 => course.flapping(),
        28 => course.two_killed(),
        29 => course.rolling_restart(),
        30 => course.node_replaced(),
        31 => course.one_member(),
        other => bail!("case {other} is not a case of a cluster"),
    }
}

struct Course {
    chance: Chance,
    // Rust drops fields in the order of their declaration. `world`, which runs the services, is
    // declared before `cluster`, so that the services end before their broker.
    world: World,
    cluster: RabbitmqCluster,
    seed: u64,
}

impl Course {
    /// Cuts off node 1, the leader of the queues, together with the only ingest.
    fn leader_isolated_with_its_client(&mut self) -> Result<Figures> {
        let mut sending = self.begin()?;
        self.isolate(1)?;
        pause(ANSWERED);
        self.nothing_is_accepted(&mut sending)?;
        self.cluster.heal()?;
        self.is_accepted(&mut sending)?;
        self.finish(sending, true)
    }

    /// Cuts off node 1, the leader of the queues, while the ingest is connected to the other two
    /// nodes.
    fn leader_isolated_alone(&mut self) -> Result<Figures> {
        let mut sending = self.begin()?;
        self.isolate(1)?;
        pause(ANSWERED);
        self.is_accepted(&mut sending)?;
        pause(FLAP);
        self.cluster.heal()?;
        self.finish(sending, true)
    }

    /// Repeatedly isolates one node from both others, or cuts the connection between two nodes.
    /// Each time the choice is random.
    fn flapping(&mut self) -> Result<Figures> {
        let mut sending = self.begin()?;
        for _ in 0..FLAPS {
            let node = self.node();
            if self.chance.between(0, 1) == 0 {
                self.isolate(node)?;
            } else {
                self.cluster.cut(node, node % 3 + 1)?;
            }
            pause(FLAP);
            self.cluster.heal()?;
            pause(self.chance.between(500, 3_000));
            self.world.tend(None)?;
        }
        self.is_accepted(&mut sending)?;
        self.finish(sending, true)
    }

    fn two_killed(&mut self) -> Result<Figures> {
        let mut sending = self.begin()?;
        let first = self.node();
        let second = first % 3 + 1;
        self.cluster.kill(first)?;
        self.cluster.kill(second)?;
        pause(ANSWERED);
        self.nothing_is_accepted(&mut sending)?;
        self.cluster.restart(first, false)?;
        self.cluster.restart(second, true)?;
        self.is_accepted(&mut sending)?;
        self.finish(sending, true)
    }

    fn rolling_restart(&mut self) -> Result<Figures> {
        let mut sending = self.begin()?;
        for node in 1..=3 {
            self.cluster.stop(node)?;
            self.is_accepted(&mut sending)?;
            self.cluster.restart(node, true)?;
            // If a consumer hung after the restart of this node, events would be accepted but have
            // no effect. So the test waits for further effects.
            self.is_handled()?;
            self.is_consumed()?;
        }
        self.finish(sending, true)
    }

    fn node_replaced(&mut self) -> Result<Figures> {
        let mut sending = self.begin()?;
        self.put_into_the_dead_queue()?;
        let lost = self.cluster.name(3);
        self.cluster.kill(3)?;
        let ctl = |it: &Self, program: &str, words: &[&str]| it.cluster.ctl(1, program, words);
        ctl(self, "rabbitmq-queues", &["shrink", &lost])?;
        ctl(self, "rabbitmqctl", &["forget_cluster_node", &lost])?;
        let joined = self.cluster.add()?;
        let name = self.cluster.name(joined);
        ctl(self, "rabbitmq-queues", &["grow", &name, "all"])?;
        for (queue, members) in self.members()? {
            ensure!(
                members == 3,
                "after `rabbitmq-queues grow`, {queue} has {members} members, not 3"
            );
        }
        // Now node 2 is killed. A queue then works only with a majority of its three members: node
        // 1 and the new node. So events are accepted only if the new node is a full member of each
        // queue.
        self.cluster.kill(2)?;
        self.is_accepted(&mut sending)?;
        self.is_handled()?;
        self.was_in_the_dead_queue()?;
        self.cluster.restart(2, true)?;
        // The case does not require that a sender got a 503, because each queue had a majority of
        // its members all the time.
        self.finish(sending, false)
    }

    /// Grows a cluster of one node to three. Ingest must log that the queues have only one member
    /// (replica), and must become ready only when each queue has a member on every node.
    fn one_member(&mut self) -> Result<Figures> {
        self.world.ingest(2, None)?;
        self.world.worker(1, None)?;
        let joined = [self.cluster.add()?, self.cluster.add()?];
        let began = Instant::now();
        let log = self.world.path("ingest 2.log");
        let is_named = || std::fs::read_to_string(&log).map(|log| log.contains(ONE_MEMBER));
        while self.is_ready()? || !is_named()? {
            ensure!(
                began.elapsed() < NAMED_MAX,
                "ingest must log that a queue has only one member of three, and not be ready"
            );
            pause(100);
        }
        for node in joined {
            let name = self.cluster.name(node);
            self.cluster
                .ctl(1, "rabbitmq-queues", &["grow", &name, "all"])?;
        }
        self.world.answers(2)?;
        let mut load = Load::small(self.seed);
        load.ingest = 2;
        let sending = load.start(&self.world)?;
        let (seed, path) = sending.finish(&mut self.world, SETTLE_MAX)?;
        let journal = Journal::read(seed, &path)?;
        let figures = rest(&mut self.world, &journal)?;
        answers::are_true(&journal, 0)?;
        self.world.stop(STOP_MAX)?;
        Ok(figures)
    }

    fn is_ready(&self) -> Result<bool> {
        let url = format!("{}/readyz", self.world.url(2));
        let asked = self.world.hookbox(&["healthcheck", "--url", &url])?;
        Ok(asked.status.success())
    }

    /// Starts the services and the load, and returns when events are accepted. Node 1 leads all
    /// queues: `hookbox migrate` connects to the first node in the first config, which is node 1,
    /// and declares the queues there.
    fn begin(&mut self) -> Result<RunningLoad> {
        self.world.ingest(2, None)?;
        self.world.worker(1, None)?;
        self.world.worker(2, None)?;
        for (queue, leader) in self.of_queues("leader")? {
            let first = self.cluster.name(1);
            ensure!(
                leader == first,
                "the leader of {queue} must be {first}, but is {leader}"
            );
        }
        for (queue, members) in self.members()? {
            ensure!(members == 3, "{queue} has {members} members, not 3");
        }
        let mut load = Load::endless(self.seed);
        load.ingest = 2;
        load.rate = 25;
        load.concurrency = 16;
        let mut sending = load.start(&self.world)?;
        self.is_accepted(&mut sending)?;
        Ok(sending)
    }

    fn finish(&mut self, mut sending: RunningLoad, is_felt: bool) -> Result<Figures> {
        sending.enough()?;
        let (seed, path) = sending.finish(&mut self.world, SETTLE_MAX * 2)?;
        let journal = Journal::read(seed, &path)?;
        let figures = rest(&mut self.world, &journal)?;
        answers::are_true(&journal, 0)?;
        if is_felt {
            answers::some_asked_to_retry(&journal)?;
        }
        self.world.stop(STOP_MAX)?;
        Ok(figures)
    }

    fn node(&mut self) -> u8 {
        u8::try_from(self.chance.between(1, 3)).unwrap_or(1)
    }

    fn isolate(&mut self, node: u8) -> Result<()> {
        for other in (1..=3).filter(|&other| other != node) {
            self.cluster.cut(node, other)?;
        }
        Ok(())
    }

    fn nothing_is_accepted(&mut self, sending: &mut RunningLoad) -> Result<()> {
        let before = sending.accepted()?;
        pause(WATCHED);
        let accepted = sending.accepted()? - before;
        ensure!(
            !sending.is_over(),
            "the load must run until the fault is over, but it ended before"
        );
        ensure!(
            accepted == 0,
            "{accepted} events were answered 200 although a majority of nodes was missing"
        );
        Ok(())
    }

    /// Waits until [`MORE`] further events are accepted. These are more than were in flight at the
    /// start of the wait, so at least one of them was sent later.
    fn is_accepted(&mut self, sending: &mut RunningLoad) -> Result<()> {
        let (began, before) = (Instant::now(), sending.accepted().unwrap_or(0));
        while sending.accepted().unwrap_or(0) < before + MORE {
            self.world.tend(None)?;
            ensure!(
                !sending.is_over(),
                "the load must run until the fault is over, but it ended before"
            );
            ensure!(
                began.elapsed() < AGAIN_MAX,
                "I15: fewer than {MORE} further events were accepted within {} s; {}\n{}",
                AGAIN_MAX.as_secs(),
                self.standing(),
                self.world.tails()
            );
            pause(200);
        }
        Ok(())
    }

    /// Waits until the store has five more effects than at the start of the wait.
    fn is_handled(&mut self) -> Result<()> {
        let count = |world: &World| {
            let question = "select cast(count(*) as text) from begini_scores";
            world.place.sql.number(question)
        };
        let (began, before) = (Instant::now(), count(&self.world)?);
        while count(&self.world)? < before + 5 {
            self.world.tend(None)?;
            ensure!(
                began.elapsed() < AGAIN_MAX,
                "H4: a consumer hangs: there were no new effects within {} s\n{}",
                AGAIN_MAX.as_secs(),
                self.world.tails()
            );
            pause(200);
        }
        Ok(())
    }
}
