//! Tests `dead groups`, `dead list`, `dead show` and `dead export`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use expect_test::expect;
use hookbox_driver::{DeadFilter, DeadReason, DeadState, EarlierDeath};
use hookbox_operations::CommandError;
use hookbox_operations::command::dead;
use hookbox_operations::render::{Text, json};

use crate::world::{Memory, Person, at};

fn waiting() -> DeadFilter {
    DeadFilter {
        state: Some(DeadState::Dead),
        ..DeadFilter::default()
    }
}

#[tokio::test]
async fn groups_count_deaths_of_one_cause() {
    let memory = Memory::with_dead(4);
    let report = dead::groups(&memory, &waiting()).await.unwrap();
    expect![[r#"
        store: 4 dead letters in 1 group
        GROUP         COUNT  ROUTE  TOPIC                      REASON     LAST DIED             NEWEST  CAUSE
        37e3cfd0330d      4  all    begini.ios_score.complete  exhausted  2026-09-21T14:13:24Z       4  the partner said \u{1b}[<n>mno
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "source": "store",
          "groups": [
            {
              "group": "37e3cfd0330d",
              "count": 4,
              "route": "all",
              "topic": "begini.ios_score.complete",
              "topics": 1,
              "reason": "exhausted",
              "detail": "the partner said \u001b[<n>mno",
              "newest": 4,
              "first_at": "2026-09-21T14:13:21Z",
              "last_at": "2026-09-21T14:13:24Z"
            }
          ]
        }
    "#]]
    .assert_eq(&json(&report));
    let several = dead::groups(&Memory::with_dead(5), &waiting())
        .await
        .unwrap();
    assert!(
        several.text().contains("  2 topics  "),
        "{}",
        several.text()
    );
    assert_eq!(several.groups[0].topic, None);
    let none = dead::groups(&Memory::default(), &waiting()).await.unwrap();
    assert_eq!(none.text(), "store: no dead letters\n");
}

#[tokio::test]
async fn what_an_older_version_wrote_is_grouped_before_it_is_shown() {
    let memory = Memory {
        ungrouped: 2_500.into(),
        ..Memory::with_dead(4)
    };
    let mut reported = Vec::new();
    let grouped = dead::regroup(&memory, |grouped| reported.push(grouped)).await;
    assert_eq!(
        (grouped.unwrap(), reported),
        (2_500, vec![1_000, 2_000, 2_500])
    );
    *memory.ungrouped.lock().unwrap() = 1;
    dead::groups(&memory, &waiting()).await.unwrap();
    assert_eq!(*memory.ungrouped.lock().unwrap(), 0);
    // A filter by group does not find dead letters that have no group yet, so they must be grouped
    // before the filter is applied.
    *memory.ungrouped.lock().unwrap() = 1;
    let group = dead::groups(&memory, &waiting()).await.unwrap().groups;
    let filter = DeadFilter {
        group: Some(group[0].group.parse().unwrap()),
        ..waiting()
    };
    *memory.ungrouped.lock().unwrap() = 1;
    let report = dead::list(&memory, &filter, 0, 10, false).await.unwrap();
    assert_eq!(*memory.ungrouped.lock().unwrap(), 0);
    assert_eq!(
        report.dead.len(),
        2,
        "the filter must select only the dead letters of one group"
    );
}

#[tokio::test]
async fn a_list_names_its_next_page() {
    let memory = Memory::with_dead(5);
    let report = dead::list(&memory, &waiting(), 0, 2, false).await.unwrap();
    expect![[r#"
        store: 2 dead letters
        ID  ROUTE   TOPIC                      STATE  REASON     ATTEMPTS  DIED                  DETAIL
         1  all     begini.ios_score.complete  dead   exhausted         3  2026-09-21T14:13:21Z  the partner said \u{1b}[31mno\nand more
         2  scores  begini.ios_score.complete  dead   exhausted         3  2026-09-21T14:13:22Z  the partner said \u{1b}[31mno\nand more
        next: --after 2
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "source": "store",
          "total": null,
          "dead": [
            {
              "id": 1,
              "route": "all",
              "topic": "begini.ios_score.complete",
              "state": "dead",
              "reason": "exhausted",
              "detail": "the partner said \u001b[31mno\nand more",
              "attempts": 3,
              "died_at": "2026-09-21T14:13:21Z",
              "event": "01010101010101010101010101010101"
            },
            {
              "id": 2,
              "route": "scores",
              "topic": "begini.ios_score.complete",
              "state": "dead",
              "reason": "exhausted",
              "detail": "the partner said \u001b[31mno\nand more",
              "attempts": 3,
              "died_at": "2026-09-21T14:13:22Z",
              "event": "02020202020202020202020202020202"
            }
          ],
          "next": 2
        }
    "#]]
    .assert_eq(&json(&report));
    let rest = dead::list(&memory, &waiting(), 2, 10, true).await.unwrap();
    assert_eq!(
        rest.dead.iter().map(|line| line.id).collect::<Vec<_>>(),
        [3, 4, 5]
    );
    assert_eq!((rest.next, rest.total), (None, Some(5)));
    assert!(rest.text().starts_with("store: 3 dead letters of 5\n"));
}

#[tokio::test]
async fn one_is_shown_with_its_history_and_its_body_only_on_demand() {
    let memory = Memory::with_dead(1);
    let report = dead::show(&memory, 1, None).await.unwrap();
    expect![[r#"
        store: dead letter 1 of route all
          state     dead
          reason    exhausted
          attempts  3
          died      2026-09-21T14:13:21Z
          detail    the partner said \u{1b}[31mno
          detail    and more
          event     01010101010101010101010101010101
          topic     begini.ios_score.complete
          received  2026-09-21T14:13:20Z
          digest    0707070707070707070707070707070707070707070707070707070707070707
          body      18 bytes
        claims
          ROUTE   STATE     ATTEMPTS  CLAIMED               SETTLED
          scores  retrying         1  2026-09-21T14:13:21Z  2026-09-21T14:13:22Z
        receipts
          RECEIPT                               ROUTE   OUTCOME   KEY      RECEIVED              SETTLED
          01010101-0101-0101-0101-010101010101  scores  retrying  2026-11  2026-09-21T14:13:20Z  2026-09-21T14:13:22Z
        attempts
          1 on scores: transient after 12 ms, at 2026-09-21T14:13:22Z
              insert the score: \u{1b}no
        retries
          ROUTE   ATTEMPT  NOT BEFORE            QUEUED  DEFERRED      SINCE
          scores        2  2026-09-21T14:14:20Z  -       foreign_lock  2026-09-21T14:13:40Z
    "#]].assert_eq(&report.text());
    assert!(!json(&report).contains("CANARY"));
    assert!(memory.audits.lock().unwrap().is_empty());

    let report = dead::show(&memory, 1, Some("ada")).await.unwrap();
    assert!(report.text().contains("CANARY"));
    let audits = memory.audits.lock().unwrap().clone();
    assert_eq!(audits[0].1, "dead.body");
    assert!(audits[0].2.starts_with("dead letter 1 (event 0101"));

    let refused = dead::show(&memory, 9, None).await.unwrap_err();
    assert!(matches!(refused, CommandError::NoDeadLetter { id: 9 }));
}

#[tokio::test]
async fn a_dead_letter_is_shown_with_its_earlier_deaths() {
    let death = |number: i64| EarlierDeath {
        died_at: at(number),
        reason: DeadReason::Exhausted,
        detail: "no\nand \u{9b}no".into(),
        attempts: 3,
        replayed_at: at(number + 60),
        replayed_by: "ada\u{202e}".into(),
    };
    let memory = Memory {
        earlier: vec![death(1), death(100)],
        ..Memory::with_dead(1)
    };
    let report = dead::show(&memory, 1, None).await.unwrap();
    let text = report.text();
    let heading = text.find("earlier deaths").unwrap();
    expect![[r#"
        earlier deaths
          2026-09-21T14:13:21Z: exhausted after 3 attempts; replayed at 2026-09-21T14:14:21Z by ada\u{202e}
              no
              and \u{9b}no
          2026-09-21T14:15:00Z: exhausted after 3 attempts; replayed at 2026-09-21T14:16:00Z by ada\u{202e}
              no
              and \u{9b}no
    "#]].assert_eq(&text[heading..]);
    assert_eq!(report.earlier.len(), 2);
}

#[tokio::test]
async fn an_export_is_whole_lines_and_an_audit_row() {
    let memory = Memory::with_dead(450);
    let mut out = Vec::new();
    let mut person = Person::default();
    let report = dead::export(&memory, &waiting(), None, &mut out, "ada", &mut person)
        .await
        .unwrap();
    expect![[r#"
        store: exported 450 of 450 dead letters (state dead)
    "#]]
    .assert_eq(&report.text());
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ids: Vec<i64> = lines
        .iter()
        .map(|line| line["dead"]["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, (1..=450).collect::<Vec<i64>>());
    assert_eq!(lines[0]["body_base64"], "eyJ1aWQiOiJDQU5BUlktMSJ9");
    assert_eq!(lines[0]["history"]["attempts"][0]["outcome"], "transient");
    let audits = memory.audits.lock().unwrap().clone();
    let [(by, action, subject)] = &audits[..] else {
        panic!("the export must write one audit row, not {audits:?}");
    };
    assert_eq!((by.as_str(), action.as_str()), ("ada", "dead.export"));
    assert_eq!(subject, "450 dead letters with bodies (state dead)");
}

#[tokio::test]
async fn an_export_to_a_file_is_its_owners_alone_and_overwrites_nothing() {
    let memory = Memory::with_dead(2);
    let folder = std::env::temp_dir().join(format!("hookbox-export-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("dead.jsonl");
    let mut out = Vec::new();
    let mut person = Person::default();
    let done = dead::export(
        &memory,
        &waiting(),
        Some(&file),
        &mut out,
        "ada",
        &mut person,
    )
    .await;
    assert_eq!(done.unwrap().exported, 2);
    assert!(out.is_empty());
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = std::fs::read(&file).unwrap();

    let again = dead::export(
        &memory,
        &waiting(),
        Some(&file),
        &mut out,
        "ada",
        &mut person,
    )
    .await;
    assert!(matches!(again, Err(CommandError::Output { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), first);
    assert_eq!(
        memory.audits.lock().unwrap().len(),
        1,
        "the refused second export must read no body, so it must write no audit row"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn an_export_that_is_not_audited_does_not_happen() {
    let memory = Memory {
        audit_is_unavailable: true,
        ..Memory::with_dead(2)
    };
    let mut out = Vec::new();
    let mut person = Person::default();
    let refused = dead::export(&memory, &waiting(), None, &mut out, "ada", &mut person).await;
    assert!(matches!(refused, Err(CommandError::Failed { .. })));
    assert!(out.is_empty());
}

#[tokio::test]
async fn an_interrupted_export_ends_after_a_whole_line() {
    let memory = Memory::with_dead(9);
    let mut out = Vec::new();
    let mut person = Person {
        interrupts_after: Some(3),
        ..Person::default()
    };
    let report = dead::export(&memory, &waiting(), None, &mut out, "ada", &mut person)
        .await
        .unwrap();
    assert!(report.interrupted);
    assert_eq!(report.exported, 3);
    assert_eq!(String::from_utf8(out).unwrap().matches('\n').count(), 3);
}

/// Returns a path for the output of an export, in a new folder.
fn output(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("hookbox-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder.join("dead.jsonl")
}

/// Of the ids 2, 3 and 9, dead letter 3 has been replayed, and 9 does not exist.
#[tokio::test]
async fn an_export_counts_the_ids_that_it_does_not_find() {
    let memory = Memory::with_dead(3);
    memory.dead.lock().unwrap()[2].state = DeadState::Replayed;
    let mut named = waiting();
    named.ids = vec![9, 2, 3, 2];
    let (mut out, mut person) = (Vec::new(), Person::default());
    let report = dead::export(&memory, &named, None, &mut out, "ada", &mut person).await;
    let report = report.unwrap();
    expect![[r#"
        store: exported 1 of 1 dead letter (ids 2, 3, 9, state dead)
          2 ids are no dead letter that matches (`--state any` selects every state)
    "#]]
    .assert_eq(&report.text());
    assert_eq!(report.not_found, 2);
    assert_eq!(String::from_utf8(out).unwrap().lines().count(), 1);

    named.ids = vec![3];
    let file = output("not-found");
    let (mut out, to) = (Vec::new(), Some(file.as_path()));
    let report = dead::export(&memory, &named, to, &mut out, "ada", &mut person).await;
    assert_eq!(report.unwrap().not_found, 1);
    assert!(!file.exists(), "nothing was exported, so no file is needed");
    assert_eq!(memory.audits.lock().unwrap().len(), 1);
    std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
}

/// An empty file that stays would make the next export fail, because no file is overwritten.
#[tokio::test]
async fn an_export_that_is_not_audited_leaves_no_file() {
    let mut memory = Memory {
        audit_is_unavailable: true,
        ..Memory::with_dead(2)
    };
    let file = output("not-audited");
    let (mut out, to) = (Vec::new(), Some(file.as_path()));
    let mut person = Person::default();
    let refused = dead::export(&memory, &waiting(), to, &mut out, "ada", &mut person).await;
    assert!(matches!(refused, Err(CommandError::Failed { .. })));
    assert!(!file.exists());
    memory.audit_is_unavailable = false;
    let report = dead::export(&memory, &waiting(), to, &mut out, "ada", &mut person).await;
    assert_eq!(report.unwrap().exported, 2);
    std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
}
