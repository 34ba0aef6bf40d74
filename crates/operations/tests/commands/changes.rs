//! Tests `dead replay`, `dead discard` and `dead restore`: the question that each asks, what it
//! changes, and what it reports.

use std::time::Duration;

use expect_test::expect;
use hookbox_driver::DeadChange;
use hookbox_driver::{DeadFilter, DeadState};
use hookbox_operations::command::dead::{ChangeRequest, change};
use hookbox_operations::render::{Text, json};
use hookbox_operations::{CommandError, actor};

use crate::world::{Meanwhile, Memory, Person, sentences};

fn request(change: DeadChange) -> ChangeRequest {
    ChangeRequest {
        change,
        filter: DeadFilter::default(),
        all: true,
        dry_run: false,
        yes: true,
        by: "ada".into(),
        rate: None,
        limit: None,
        wait: Duration::ZERO,
    }
}

#[tokio::test]
async fn thousands_are_changed_in_chunks_and_each_is_visited_once() {
    let memory = Memory::with_dead(1_203);
    let mut person = Person::default();
    let report = change(&memory, &request(DeadChange::Replay), &mut person)
        .await
        .unwrap();
    expect![[r#"
        store: replayed 963 of 1203 dead letters (all)
          240 skipped: another operator changed them meanwhile, or they have no event to replay (240 undecodable)
          0 done, 0 dead again, 963 without an outcome yet: `hookbox dead groups` will count those that die again
    "#]]
    .assert_eq(&report.text());
    expect![[r#"
        {
          "source": "store",
          "change": "replay",
          "filter": "all",
          "matched": 1203,
          "changed": 963,
          "left_alone": 240,
          "left_undecodable": 240,
          "not_found": 0,
          "outcome": {
            "done": 0,
            "dead_again": 0,
            "stale": 0,
            "undecided": 963
          },
          "dry_run": false,
          "interrupted": false,
          "problems": []
        }
    "#]]
    .assert_eq(&json(&report));
    assert_eq!(*memory.chunks.lock().unwrap(), [500, 500, 203]);
    assert_eq!(
        person.progress,
        [(0, 1_203), (500, 1_203), (1_000, 1_203), (1_203, 1_203)]
    );
    assert!(
        person.asked.is_empty(),
        "with --yes, the command must ask no question"
    );
}

#[tokio::test]
async fn discarded_is_restored() {
    let memory = Memory::with_dead(4);
    let mut person = Person::default();
    let report = change(&memory, &request(DeadChange::Discard), &mut person)
        .await
        .unwrap();
    assert_eq!(
        (report.changed, memory.states(DeadState::Discarded)),
        (4, 4)
    );
    let report = change(&memory, &request(DeadChange::Restore), &mut person)
        .await
        .unwrap();
    assert_eq!((report.changed, memory.states(DeadState::Dead)), (4, 4));
    let report = change(&memory, &request(DeadChange::Restore), &mut person)
        .await
        .unwrap();
    assert_eq!((report.matched, report.changed), (0, 0));
}

#[tokio::test]
async fn a_change_shows_its_count_and_asks() {
    let memory = Memory::with_dead(7);
    let mut ask = request(DeadChange::Discard);
    ask.yes = false;
    ask.filter.route = Some("scores".parse().unwrap());
    let mut person = Person {
        answer: Some(false),
        ..Person::default()
    };
    let refused = change(&memory, &ask, &mut person).await.unwrap_err();
    assert!(matches!(refused, CommandError::Declined));
    expect!["This will discard 3 dead letters (route scores). Continue?"]
        .assert_eq(&person.asked.join("\n"));
    assert_eq!(memory.states(DeadState::Discarded), 0);

    person.answer = None;
    let refused = change(&memory, &ask, &mut person).await.unwrap_err();
    expect![[r#"
        nothing was changed.
        This would discard 3 dead letters (route scores).
        Give --yes to skip this question, or --dry-run to see the effect
    "#]]
    .assert_eq(&sentences(&refused));
    assert_eq!(memory.states(DeadState::Discarded), 0);

    person.answer = Some(true);
    let report = change(&memory, &ask, &mut person).await.unwrap();
    assert_eq!(
        (report.changed, memory.states(DeadState::Discarded)),
        (3, 3)
    );
}

/// While the question stands, a dead letter that was replayed earlier dies again. It was not shown.
/// So it may not be changed, and may not take the place of one that was shown, although its id is
/// lower.
#[tokio::test]
async fn only_dead_letters_that_were_shown_are_changed() {
    let memory = Memory::with_dead(4);
    let first_is = |state| memory.dead.lock().unwrap()[0].state = state;
    first_is(DeadState::Replayed);
    let ask = ChangeRequest {
        yes: false,
        ..request(DeadChange::Discard)
    };
    let mut operator = Meanwhile(|| first_is(DeadState::Dead));
    let report = change(&memory, &ask, &mut operator).await.unwrap();
    assert_eq!((report.matched, report.changed), (3, 3));
    let rows = memory.dead.lock().unwrap();
    let states: Vec<DeadState> = rows.iter().map(|row| row.state).collect();
    assert_eq!(states[0], DeadState::Dead);
    assert_eq!(states[1..], [DeadState::Discarded; 3]);
}

/// Another operator changes a dead letter that was shown. It is reported as skipped.
#[tokio::test]
async fn a_dead_letter_that_another_operator_has_changed_is_skipped() {
    let memory = Memory::with_dead(3);
    let ask = ChangeRequest {
        yes: false,
        ..request(DeadChange::Discard)
    };
    let mut operator = Meanwhile(|| memory.dead.lock().unwrap()[1].state = DeadState::Replayed);
    let report = change(&memory, &ask, &mut operator).await.unwrap();
    let counts = (report.matched, report.changed, report.left_alone);
    assert_eq!(counts, (3, 2, 1));
}

#[tokio::test]
async fn a_change_of_everything_needs_all() {
    let memory = Memory::with_dead(2);
    let mut nothing = request(DeadChange::Replay);
    nothing.all = false;
    let refused = change(&memory, &nothing, &mut Person::default())
        .await
        .unwrap_err();
    expect![[r#"
        replay which dead letters?
        Name their ids, narrow them down with --group, --route, --topic or another filter, or give --all
    "#]]
    .assert_eq(&sentences(&refused));
    assert!(memory.chunks.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_dry_run_only_counts() {
    let memory = Memory::with_dead(12);
    let mut dry = request(DeadChange::Replay);
    dry.dry_run = true;
    dry.yes = false;
    dry.all = false;
    dry.filter.ids = (1..=30).chain([3]).collect();
    let mut person = Person::default();
    let report = change(&memory, &dry, &mut person).await.unwrap();
    expect![[r#"
        store: would replay 12 dead letters (ids 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 20 more); nothing was changed
          18 ids are no dead letter that can be replayed
    "#]].assert_eq(&report.text());
    assert!(person.asked.is_empty());
    assert_eq!(memory.states(DeadState::Dead), 12);
}

#[tokio::test]
async fn an_interrupt_is_noticed_between_chunks() {
    let memory = Memory::with_dead(1_203);
    let mut person = Person {
        interrupts_after: Some(1),
        ..Person::default()
    };
    let report = change(&memory, &request(DeadChange::Discard), &mut person)
        .await
        .unwrap();
    expect![[r#"
        store: discarded 500 of 1203 dead letters (all)
          interrupted: run the command again for the other 703
    "#]]
    .assert_eq(&report.text());
    assert_eq!(memory.states(DeadState::Discarded), 500);
}

#[tokio::test]
async fn what_was_done_before_a_fault_is_reported() {
    let memory = Memory {
        unavailable_after: Some(1),
        ..Memory::with_dead(600)
    };
    let mut person = Person::default();
    let report = change(&memory, &request(DeadChange::Discard), &mut person)
        .await
        .unwrap();
    expect![[r#"
        store: discarded 500 of 600 dead letters (all)
        problem at the store: failed to take a connection (unavailable): connection refused
    "#]]
    .assert_eq(&report.text());
}

#[test]
fn the_actor_is_the_given_name_else_the_user_else_unknown() {
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(actor(some("ada"), some("root")), "ada");
    assert_eq!(actor(some(" "), some("root")), "root");
    assert_eq!(actor(None, some("root\n")), "root");
    assert_eq!(actor(None, None), "unknown");
}

/// A replay must change dead letters no faster than its rate and no more than its limit allows, and
/// must report the outcomes.
#[tokio::test(start_paused = true)]
async fn a_replay_keeps_its_rate_and_reports_the_outcomes() {
    let memory = Memory {
        decides: true,
        ..Memory::with_dead(700)
    };
    let mut person = Person::default();
    let began = tokio::time::Instant::now();
    let request = ChangeRequest {
        rate: Some(5.0),
        limit: Some(125),
        wait: Duration::from_secs(10),
        ..request(DeadChange::Replay)
    };
    let report = change(&memory, &request, &mut person).await.unwrap();
    expect![[r#"
        store: replayed 100 of 700 dead letters (all)
          25 skipped: another operator changed them meanwhile, or they have no event to replay (25 undecodable)
          100 done, 0 dead again
    "#]]
    .assert_eq(&report.text());
    let took = began.elapsed().as_secs();
    assert!((24..30).contains(&took), "{took}");
    assert!(
        memory
            .chunks
            .lock()
            .unwrap()
            .iter()
            .all(|chunk| *chunk == 1)
    );
    // At this rate, one transaction for each dead letter would be too slow, so each transaction
    // must change several dead letters.
    let fast = ChangeRequest {
        rate: Some(400.0),
        limit: None,
        ..request
    };
    let began = tokio::time::Instant::now();
    memory.chunks.lock().unwrap().clear();
    let report = change(&memory, &fast, &mut person).await.unwrap();
    assert_eq!(report.changed + report.left_alone, report.matched);
    assert_eq!(memory.chunks.lock().unwrap()[0], 40);
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_replay_stops_between_two_and_waits_no_longer_than_it_may() {
    let memory = Memory::with_dead(100);
    let mut person = Person {
        interrupts_after: Some(3),
        ..Person::default()
    };
    let slow = ChangeRequest {
        rate: Some(1.0),
        wait: Duration::from_secs(10),
        ..request(DeadChange::Replay)
    };
    let began = tokio::time::Instant::now();
    let report = change(&memory, &slow, &mut person).await.unwrap();
    assert_eq!((report.changed, report.interrupted), (3, true));
    // The first dead letter is replayed at once, and two more within the next two seconds, until
    // the operator interrupts. After that, the command must wait for the outcomes of all three.
    assert_eq!(began.elapsed().as_secs(), 12);
    assert_eq!(report.outcome.unwrap().undecided, 3);
    let text = report.text();
    assert!(
        text.contains("run the command again for the other 97\n"),
        "{text}"
    );
    let began = tokio::time::Instant::now();
    let rest = ChangeRequest { rate: None, ..slow };
    let report = change(&memory, &rest, &mut Person::default())
        .await
        .unwrap();
    assert_eq!(report.outcome.unwrap().undecided, report.changed);
    assert_eq!(
        began.elapsed().as_secs(),
        10,
        "no worker runs, so the command must wait for the outcomes as long as it may"
    );
    assert!(
        report.text().contains(" without an outcome yet: "),
        "{}",
        report.text()
    );
}

#[tokio::test]
async fn a_limited_change_asks_about_the_limit() {
    let memory = Memory::with_dead(9);
    let mut person = Person {
        answer: Some(false),
        ..Person::default()
    };
    let request = ChangeRequest {
        limit: Some(4),
        yes: false,
        ..request(DeadChange::Replay)
    };
    change(&memory, &request, &mut person).await.unwrap_err();
    let question = "This will replay the first 4 of 9 dead letters (all). Continue?";
    assert_eq!(person.asked, [question]);
}
