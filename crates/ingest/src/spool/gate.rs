//! Decides what goes to the broker and what is spooled, and orders the two moments between: no
//! event overtakes an earlier one when spooling starts or ends.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;

/// How long a publish that is under way may take once spooling has started. Later events wait for
/// it, and senders wait for them; a healthy broker has confirmed by then.
const GRACE: Duration = Duration::from_millis(250);

/// Everything that is published passes it.
pub(super) struct Gate(watch::Sender<State>);

#[derive(Default)]
struct State {
    /// New events are spooled, until all that was spooled is forwarded.
    spooling: bool,
    /// The last of the spooled events are being forwarded; new ones wait for that.
    closing: bool,
    /// How many publishes are being spooled, or are about to be.
    keeping: usize,
    /// The next place in the order of arrival.
    next: u64,
    /// The places of what was given to the broker and is neither confirmed nor spooled yet.
    on_the_way: BTreeSet<u64>,
}

/// Where a publish goes.
pub(super) enum Destination<'a> {
    /// To the broker.
    Give(Place<'a>),
    /// Into the spool.
    Keep(Place<'a>),
}

/// A place in the order of arrival, until it is dropped.
pub(super) struct Place<'a> {
    gate: &'a Gate,
    number: u64,
    keeps: bool,
}

/// An attempt to end spooling, until it is dropped.
pub(super) struct Closing<'a>(&'a Gate);

impl Gate {
    /// An open gate, or one behind which events are spooled already.
    pub fn new(spooling: bool) -> Self {
        Self(watch::Sender::new(State {
            spooling,
            ..State::default()
        }))
    }

    pub fn is_spooling(&self) -> bool {
        self.0.borrow().spooling
    }

    /// Takes the next place.
    pub async fn enter(&self, is_ready: impl Fn() -> bool) -> Destination<'_> {
        loop {
            let mut entered = None;
            self.0.send_if_modified(|state| {
                if state.closing {
                    return false;
                }
                let number = state.next;
                state.next += 1;
                let gives = !state.spooling && is_ready();
                if gives {
                    state.on_the_way.insert(number);
                }
                let began = !gives && state.keep();
                entered = Some((number, gives));
                began
            });
            if let Some((number, gives)) = entered {
                let place = Place {
                    gate: self,
                    number,
                    keeps: !gives,
                };
                return if gives {
                    Destination::Give(place)
                } else {
                    Destination::Keep(place)
                };
            }
            self.until(|state| !state.closing).await;
        }
    }

    /// Starts to end spooling, unless an earlier event may still be spooled.
    pub fn close(&self) -> Option<Closing<'_>> {
        let closes = self.0.send_if_modified(|state| {
            let closes = state.spooling && !state.closing && state.on_the_way.is_empty();
            state.closing |= closes;
            closes
        });
        closes.then_some(Closing(self))
    }

    async fn until(&self, is_so: impl FnMut(&State) -> bool) {
        // This type holds the other end, so the channel is never closed.
        let _ = self.0.subscribe().wait_for(is_so).await;
    }
}

impl State {
    /// Counts one more publish that is spooled; returns whether spooling starts with it.
    fn keep(&mut self) -> bool {
        self.keeping += 1;
        let began = !self.spooling;
        if began {
            tracing::warn!("the broker takes no publishes: new events are kept in the spool");
        }
        self.spooling = true;
        began
    }
}

impl Place<'_> {
    /// It is time to give up on the broker: spooling has started, and others wait.
    pub async fn is_late(&self) {
        self.gate.until(|state| state.spooling).await;
        tokio::time::sleep(GRACE).await;
    }

    /// The broker did not take it. It holds its place until it is spooled.
    pub fn keep(mut self) -> Self {
        self.keeps = true;
        self.gate.0.send_if_modified(State::keep);
        self
    }

    /// Waits until all that came before is confirmed or spooled.
    pub async fn is_oldest(&self) {
        let number = self.number;
        let is_oldest = |state: &State| state.on_the_way.range(..number).next().is_none();
        self.gate.until(is_oldest).await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.gate.0.send_if_modified(|state| {
            state.keeping -= usize::from(self.keeps);
            state.on_the_way.remove(&self.number) || state.closing
        });
    }
}

impl Closing<'_> {
    /// Waits for the publishes that were about to be spooled.
    pub async fn until_none_is_spooled(&self) {
        self.0.until(|state| state.keeping == 0).await;
    }

    /// Nothing is spooled any more.
    pub fn end(self) {
        self.0.0.send_modify(|state| state.spooling = false);
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.closing = false);
    }
}
