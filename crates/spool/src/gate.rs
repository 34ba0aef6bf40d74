//! Decides whether a publish goes to the broker or into the spool, and keeps the order at both
//! transitions: no event overtakes an earlier one when spooling starts or ends.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;

/// How long a publish that is under way when spooling starts may still wait for the broker. Later
/// events are spooled only after this publish has ended, so their senders wait as well. A healthy
/// broker confirms a publish within this time.
const GRACE: Duration = Duration::from_millis(250);

/// The state of spooling, which decides for every publish where it goes.
pub(super) struct Gate(watch::Sender<State>);

#[derive(Default)]
struct State {
    /// Whether new events are spooled. It stays true until everything in the spool is forwarded.
    spooling: bool,
    /// Whether the last spooled events are being forwarded, while new events wait.
    closing: bool,
    /// The number of publishes that are being written to the spool, or wait for earlier publishes
    /// before they are written.
    keeping: usize,
    /// The next position in the order of arrival.
    next: u64,
    /// The positions of publishes that were given to the broker and are neither confirmed nor
    /// spooled yet.
    on_the_way: BTreeSet<u64>,
}

/// Where a publish goes, with its position in the order of arrival.
pub(super) enum Destination<'a> {
    /// The publish goes to the broker.
    Give(Place<'a>),
    /// The publish goes into the spool.
    Keep(Place<'a>),
}

/// The position of one publish in the order of arrival. Later publishes that are spooled wait for
/// this publish until this value is dropped.
pub(super) struct Place<'a> {
    gate: &'a Gate,
    number: u64,
    keeps: bool,
}

/// Holds back new events while the last spooled events are forwarded, so that spooling can end.
/// When this value is dropped, the new events are published or spooled.
pub(super) struct Closing<'a>(&'a Gate);

impl Gate {
    /// Creates a gate that sends events to the broker, or into the spool from the start if
    /// `spooling` is true.
    pub fn new(spooling: bool) -> Self {
        Self(watch::Sender::new(State {
            spooling,
            ..State::default()
        }))
    }

    pub fn is_spooling(&self) -> bool {
        self.0.borrow().spooling
    }

    /// Takes the next position in the order of arrival, and decides where the publish goes. Waits
    /// first while a [`Closing`] holds back new events, so that spooling can end.
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

    /// Holds back new events from now on, so that spooling can end. Returns `None` when events are
    /// not being spooled, or when a publish to the broker is under way that may still have to be
    /// spooled.
    pub fn close(&self) -> Option<Closing<'_>> {
        let closes = self.0.send_if_modified(|state| {
            let closes = state.spooling && !state.closing && state.on_the_way.is_empty();
            state.closing |= closes;
            closes
        });
        closes.then_some(Closing(self))
    }

    async fn until(&self, is_so: impl FnMut(&State) -> bool) {
        // `wait_for` fails only when the channel's sender is dropped. The gate owns the sender, so
        // this cannot happen here.
        let _ = self.0.subscribe().wait_for(is_so).await;
    }
}

impl State {
    /// Counts one more publish that is spooled; returns whether spooling starts with this publish.
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
    /// Waits until [`GRACE`] has passed since spooling started. After that, this publish must stop
    /// waiting for the broker, because later events wait for this publish.
    pub async fn is_late(&self) {
        self.gate.until(|state| state.spooling).await;
        tokio::time::sleep(GRACE).await;
    }

    /// Marks this publish, which the broker did not take, as a publish that will be spooled. The
    /// publish keeps its position in the order until it is spooled.
    pub fn keep(mut self) -> Self {
        self.keeps = true;
        self.gate.0.send_if_modified(State::keep);
        self
    }

    /// Waits until every earlier publish that was given to the broker is confirmed or spooled.
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
    /// Waits until no publish is being spooled.
    pub async fn until_none_is_spooled(&self) {
        self.0.until(|state| state.keeping == 0).await;
    }

    /// Ends spooling: new events go to the broker again.
    pub fn end(self) {
        self.0.0.send_modify(|state| state.spooling = false);
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.closing = false);
    }
}
