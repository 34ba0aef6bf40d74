//! Who gives something to the broker, who keeps it, and the two moments between: nothing that
//! comes overtakes what came before it, when keeping begins and when it ends.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;

/// How long what is on its way to the broker may stay there when keeping has begun. What came
/// after it waits for it, and senders wait for that; a broker that is well has confirmed by then.
const GRACE: Duration = Duration::from_millis(250);

/// Everything that comes passes it.
pub(super) struct Gate(watch::Sender<State>);

#[derive(Default)]
struct State {
    /// What comes is kept, until all that was kept is forwarded.
    spooling: bool,
    /// The last of what was kept is being forwarded; what comes waits for that.
    closing: bool,
    /// How many keep something, or are about to.
    keeping: usize,
    /// The next place in the order of arrival.
    next: u64,
    /// The places of what was given to the broker and is neither confirmed nor kept yet.
    on_the_way: BTreeSet<u64>,
}

/// Where something goes.
pub(super) enum Turn<'a> {
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

/// The end of keeping, tried until it is dropped.
pub(super) struct Closing<'a>(&'a Gate);

impl Gate {
    /// An open gate, or one behind which something is kept already.
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
    pub async fn enter(&self, is_ready: impl Fn() -> bool) -> Turn<'_> {
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
                    Turn::Give(place)
                } else {
                    Turn::Keep(place)
                };
            }
            self.until(|state| !state.closing).await;
        }
    }

    /// Begins to end the keeping, unless something may still be kept that came before.
    pub fn close(&self) -> Option<Closing<'_>> {
        let closes = self.0.send_if_modified(|state| {
            let closes = state.spooling && !state.closing && state.on_the_way.is_empty();
            state.closing |= closes;
            closes
        });
        closes.then_some(Closing(self))
    }

    async fn until(&self, is_so: impl FnMut(&State) -> bool) {
        // The other end is ours, so there is always somebody to wait for.
        let _ = self.0.subscribe().wait_for(is_so).await;
    }
}

impl State {
    /// Somebody keeps something; answers whether the keeping begins with that.
    fn keep(&mut self) -> bool {
        self.keeping += 1;
        let began = !self.spooling;
        if began {
            tracing::warn!("the broker takes nothing now; what comes is kept in the spool");
        }
        self.spooling = true;
        began
    }
}

impl Place<'_> {
    /// It is time to give up on the broker: keeping has begun, and others wait.
    pub async fn is_late(&self) {
        self.gate.until(|state| state.spooling).await;
        tokio::time::sleep(GRACE).await;
    }

    /// The broker did not take it. It holds its place until it is kept.
    pub fn keep(mut self) -> Self {
        self.keeps = true;
        self.gate.0.send_if_modified(State::keep);
        self
    }

    /// Waits until all that came before is confirmed or kept.
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
    /// Waits for those who were about to keep something.
    pub async fn nobody_keeps(&self) {
        self.0.until(|state| state.keeping == 0).await;
    }

    /// Nothing is kept any more.
    pub fn end(self) {
        self.0.0.send_modify(|state| state.spooling = false);
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.closing = false);
    }
}
