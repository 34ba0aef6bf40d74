//! Tests `events replay`: the plan, the question, the chunks and the report.

use std::sync::Mutex;

use expect_test::expect;
use hookbox_driver::{ClaimState, ReplayCandidate, ReplayFilter, ReplayPosition};
use hookbox_event::EventNumber;
use hookbox_operations::CommandError;
use hookbox_operations::command::replay::{ReplayRequest, replay};
use hookbox_operations::render::{Text, json};

use crate::world::{Meanwhile, Memory, Person, at, event_id};

/// Returns a store with `count` events, whose states on the route repeat the list `states`.
fn memory(count: i64, states: &[Option<ClaimState>]) -> Memory {
    let candidate = |number: i64| ReplayCandidate {
        event: event_id(u8::try_from(number % 200).unwrap()),
        position: ReplayPosition {
            at: at(number),
            number: EventNumber::from_i64(number),
        },
        topic: "begini.ios_score.complete".parse().unwrap(),
        state: states[usize::try_from(number).unwrap() % states.len()],
        is_selected: number < 1_000,
        has_receipt: true,
    };
    Memory {
        candidates: Mutex::new((0..count).map(candidate).collect()),
        ..Memory::default()
    }
}

fn request() -> ReplayRequest {
    ReplayRequest {
        filter: ReplayFilter {
            route: "scores".parse().unwrap(),
            topics: vec!["begini.#".parse().unwrap()],
            conditions: Vec::new(),
            again: true,
            events: Vec::new(),
            numbers: Vec::new(),
            source: None,
            topic: None,
            since: None,
            until: None,
        },
        is_repeatable: true,
        all: true,
        why: "a new column".into(),
        dry_run: false,
        yes: true,
        rate: None,
        limit: None,
        by: "ada".into(),
    }
}

fn numbers(numbers: &[i64]) -> Vec<EventNumber> {
    numbers.iter().copied().map(EventNumber::from_i64).collect()
}

const MIXED: [Option<ClaimState>; 4] = [
    None,
    Some(ClaimState::Done),
    Some(ClaimState::Retrying),
    Some(ClaimState::Dead),
];

#[tokio::test]
async fn what_is_done_or_new_is_put_on_the_route_in_chunks() {
    let memory = memory(1_600, &MIXED);
    let mut person = Person::default();
    let report = replay(&memory, &request(), &mut person).await.unwrap();
    expect![[r#"
        store: put 650 of 650 events on route scores (all)
          selected: 400 done on the route, to run again; 250 new to the route
          left alone: 400 waiting on the route for an attempt
          left alone: 400 dead letters of the route: see `hookbox dead replay`
          left alone: 150 new to the route, and excluded by its conditions (`where`)
    "#]]
    .assert_eq(&report.text());
    assert_eq!(
        *memory.replays.lock().unwrap(),
        ["ada: a new column: 500", "ada: a new column: 150"]
    );
    assert!(person.asked.is_empty(), "with --yes, nothing must be asked");
}

#[tokio::test]
async fn the_question_says_what_runs_again() {
    let memory = memory(40, &MIXED);
    let asked = ReplayRequest {
        yes: false,
        limit: Some(5),
        ..request()
    };
    let mut person = Person {
        answer: Some(true),
        ..Person::default()
    };
    let report = replay(&memory, &asked, &mut person).await.unwrap();
    expect![[r#"
        This will put the first 5 of 20 events on route scores (all): 10 of them are done there and run again, and 10 run there for the first time. Continue?
    "#]]
    .assert_eq(&format!("{}\n", person.asked.join("\n")));
    assert_eq!(report.replayed, 5);
    // Of each four events, the first two may be replayed. The oldest of all come first.
    assert_eq!(*memory.replayed.lock().unwrap(), numbers(&[0, 1, 4, 5, 8]));
}

/// While the question stands, a spool forwards an event that arrived before all others, and an
/// event that waited for an attempt is done. Neither was shown. So neither may be replayed, and
/// neither may take the place of an event that was shown.
#[tokio::test]
async fn only_events_that_were_shown_are_replayed() {
    let memory = memory(8, &MIXED);
    let asked = ReplayRequest {
        yes: false,
        ..request()
    };
    let mut operator = Meanwhile(|| {
        let mut candidates = memory.candidates.lock().unwrap();
        let older = ReplayCandidate {
            position: ReplayPosition {
                at: at(-1),
                number: EventNumber::from_i64(100),
            },
            ..candidates[1].clone()
        };
        candidates.push(older);
        candidates[2].state = Some(ClaimState::Done);
    });
    let report = replay(&memory, &asked, &mut operator).await.unwrap();
    assert_eq!((report.selected.replayed(), report.replayed), (4, 4));
    assert_eq!(*memory.replayed.lock().unwrap(), numbers(&[0, 1, 4, 5]));
}

#[tokio::test]
async fn a_handler_that_is_not_repeatable_runs_new_events_only() {
    let memory = memory(8, &MIXED);
    let once = ReplayRequest {
        is_repeatable: false,
        dry_run: true,
        ..request()
    };
    let report = replay(&memory, &once, &mut Person::default())
        .await
        .unwrap();
    expect![[r#"
        {
          "source": "store",
          "route": "scores",
          "filter": "all",
          "repeatable": false,
          "selected": {
            "again": 0,
            "first": 2,
            "other_topic": 0,
            "excluded": 0,
            "done": 2,
            "waiting": 2,
            "dead": 2,
            "stale": 0,
            "without_receipt": 0
          },
          "replayed": 0,
          "dry_run": true,
          "interrupted": false,
          "problems": []
        }
    "#]]
    .assert_eq(&json(&report));
    assert!(report.text().contains(
        "left alone: 2 done on the route, and the handler does not allow an event to run again \
         (a setting of `sql`, `forward` and `publish` allows it: `repeatable = true`; a handler \
         of your own overrides `is_repeatable`)"
    ));
    assert!(memory.replays.lock().unwrap().is_empty());
}

#[tokio::test]
async fn all_events_must_be_asked_for() {
    let all = ReplayRequest {
        all: false,
        ..request()
    };
    let refused = replay(&memory(1, &MIXED), &all, &mut Person::default()).await;
    assert!(matches!(refused, Err(CommandError::NoEventsSelected)));
}
