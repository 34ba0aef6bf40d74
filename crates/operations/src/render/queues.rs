//! Formats the report of `queues` as text.

use super::pauses::pauses;
use super::table::{Align, Table, known};
use super::{Text, problems};
use crate::command::queues::QueuesReport;

impl Text for QueuesReport {
    fn text(&self) -> String {
        let mut table = Table::new(&[
            ("QUEUE", Align::Left),
            ("broker: READY", Align::Right),
            ("IN FLIGHT", Align::Right),
            ("EVENTS", Align::Right),
            ("CONSUMERS", Align::Right),
            ("store: RETRYING", Align::Right),
            ("DEFERRED", Align::Right),
            ("DEAD", Align::Right),
            ("NAME AT THE BROKER", Align::Left),
        ]);
        for queue in &self.queues {
            let broker = queue.broker.as_ref();
            let store = queue.store.as_ref();
            let said = |number: Option<Option<u64>>| number.map_or("-".to_owned(), known);
            let counted = |number: Option<u64>| number.map_or("-".to_owned(), |n| n.to_string());
            table.row([
                queue.queue.clone(),
                said(broker.map(|broker| broker.ready)),
                said(broker.map(|broker| broker.in_flight)),
                said(broker.map(|broker| broker.events)),
                said(broker.map(|broker| broker.consumers)),
                counted(store.map(|store| store.retrying)),
                counted(store.map(|store| store.deferred)),
                counted(store.map(|store| store.dead)),
                broker.map_or("-".to_owned(), |broker| broker.name.clone()),
            ]);
        }
        let note = "ready and in flight are messages, each a batch of events; ? = not reported by \
                                the broker\n";
        let store_sides = self.queues.iter().filter_map(|queue| queue.store.as_ref());
        let oldest = store_sides.map(|store| store.deferred_oldest_s).max();
        let deferred = match oldest {
            Some(seconds @ 1..) => format!(
                "deferred = of the retrying events, those that wait for a lock, a right or a \
                 target, which costs no attempt; the oldest for {seconds} s; `events show` has the \
                 reason, and `targets list` why a target is not reached\n"
            ),
            Some(0) | None => String::new(),
        };
        let paused = pauses(self.queues.iter().filter_map(|queue| {
            let route = queue.queue.strip_prefix("route.")?;
            Some((route, queue.paused.as_ref()?))
        }));
        format!(
            "{}{note}{deferred}{paused}{}",
            table.write(""),
            problems(&self.problems)
        )
    }
}
