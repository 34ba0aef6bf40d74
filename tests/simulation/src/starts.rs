//! Which process has counted which start of a handler in the store, and how many deaths of these
//! processes allow a quarantine.

use hookbox_driver::{Start, StartKind};
use hookbox_event::{Envelope, RouteName};

use crate::tables::Tables;

/// After this many process deaths an event may be quarantined. A death counts here if the event ran
/// in isolation and the process had completed another event before. A drain is not a death, even if
/// it is cut short.
const PROVEN_DEATHS: usize = 3;

/// After this many process deaths an event may be quarantined as well. Here, every death counts
/// that happened while the event ran in isolation, even if the process had completed no other event
/// before.
const ALL_DEATHS: usize = 10;

impl Tables {
    /// Records that the store has counted a start. A process counts a start once. If it got no
    /// answer, it repeats the call. The store counts this repetition as a new start if another
    /// process has counted a start of the event since the first call.
    pub fn started(&mut self, on: (RouteName, Start), name: &str, kind: StartKind) {
        let again = (on.0.clone(), on.1, name.to_owned());
        let starters = self.starters.entry(on).or_default();
        match starters.iter_mut().find(|it| it.0 == name) {
            Some((_, before)) if *before == StartKind::Shared => *before = kind,
            Some(_) if !self.unheard.contains(&again) => {}
            Some(_) | None => starters.push((name.to_owned(), kind)),
        }
    }

    /// Records starts for which the process got no answer, so that it does not know whether the
    /// store has counted them.
    pub fn not_heard(&mut self, name: &str, route: &RouteName, of: &[Start]) {
        let unheard = of.iter().map(|it| (route.clone(), *it, name.to_owned()));
        self.unheard.extend(unheard);
    }

    /// Records that an event is quarantined, and returns whether enough processes have died while
    /// it ran in isolation.
    ///
    /// The store knows only the last process that counted a start. So it may count two kinds of
    /// starts as deaths although no process died. First, the answer to a start was lost, and
    /// another process has counted a start since: then the first start cannot be uncounted. Second,
    /// a living process has counted a start and still waits for its claim. Because of the second
    /// kind, the quarantine may come one death early.
    pub fn convict(&mut self, route: &RouteName, envelope: &Envelope) -> bool {
        let start = Start::of(envelope);
        let mut proven = Counted::default();
        let mut all = Counted::default();
        for (name, kind) in self
            .starters
            .get(&(route.clone(), start))
            .into_iter()
            .flatten()
        {
            let unheard = (route.clone(), start, name.clone());
            let has_died = self.deaths.contains(name) || self.unheard.contains(&unheard);
            match kind {
                StartKind::Shared => {}
                StartKind::Unproven => all.add(has_died),
                StartKind::Isolated => {
                    proven.add(has_died);
                    all.add(has_died);
                }
            }
        }
        let is_just = proven.at_most() >= PROVEN_DEATHS || all.at_most() >= ALL_DEATHS;
        if is_just {
            self.convicted.insert((route.clone(), envelope.event));
        }
        is_just
    }
}

/// The starts of an event in isolation that count towards its quarantine.
#[derive(Default)]
struct Counted {
    deaths: usize,
    is_one_alive: bool,
}

impl Counted {
    fn add(&mut self, has_died: bool) {
        self.deaths += usize::from(has_died);
        self.is_one_alive |= !has_died;
    }

    /// Returns how many deaths a correct store may count at most. These are the real deaths, and
    /// one more if a living process has counted a start.
    fn at_most(&self) -> usize {
        self.deaths + usize::from(self.is_one_alive)
    }
}
