//! `hookbox events follow`: it prints the ends of events, and continues after a cursor that it has
//! printed before.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use hookbox_testkit::binary::Process;
use serde_json::Value;

use crate::binary::command;
use crate::development::Development;

/// The longest wait for a line or for the end of a process. A debug build on a busy machine is
/// slow.
const PATIENCE: Duration = Duration::from_secs(60);

fn values(lines: &str) -> Vec<Value> {
    let value = |line: &str| serde_json::from_str(line).unwrap();
    lines.lines().map(value).collect()
}

#[test]
fn ends_are_followed_from_a_cursor() {
    let dev = Development::start("ends_are_followed_from_a_cursor");
    dev.generate(&["--count", "40", "--malformed", "50", "--seed", "5"])
        .well();
    dev.settle();
    let follow = |more: &[&str]| {
        let once = ["events", "follow", "--once", "--json"];
        dev.run(&[&once, more].concat()).well()
    };
    let all = values(&follow(&[]).out);
    let listed = dev.json(&["events", "list", "--limit", "100"]);
    assert_eq!(all.len(), listed["events"].as_array().unwrap().len());
    let outcomes: BTreeSet<&str> = all
        .iter()
        .map(|it| it["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, BTreeSet::from(["dead", "done"]));
    let (mut read, mut after): (Vec<Value>, Option<String>) = (Vec::new(), None);
    loop {
        let mut more = vec!["--limit", "7"];
        if let Some(after) = &after {
            more.extend(["--after", after.as_str()]);
        }
        let said = follow(&more);
        let lines = values(&said.out);
        let next: Value = serde_json::from_str(said.err.lines().last().unwrap()).unwrap();
        after = Some(next["next"].as_str().unwrap().to_owned());
        if lines.is_empty() {
            break;
        }
        assert_eq!(lines.last().unwrap()["cursor"], next["next"]);
        read.extend(lines);
    }
    assert_eq!(read, all);
    let scores = values(&follow(&["--route", "scores"]).out);
    let is_score = |line: &&Value| line["route"] == "scores";
    let expect: Vec<Value> = all.iter().filter(is_score).cloned().collect();
    assert_eq!(scores, expect);
    let text = dev
        .run(&["events", "follow", "--once", "--limit", "1"])
        .well();
    let cursor = all[0]["cursor"].as_str().unwrap();
    assert!(text.out.ends_with(&format!(" {cursor}\n")), "{text:?}");
    let next = format!("\nnext: --after {cursor}\n");
    assert!(text.err.ends_with(&next), "{text:?}");
    let discarded = dev.json(&["dead", "discard", "--all", "--yes"]);
    let more = values(&follow(&["--after", all.last().unwrap()["cursor"].as_str().unwrap()]).out);
    assert_eq!(more.len() as u64, discarded["changed"].as_u64().unwrap());
    assert!(more.iter().all(|line| line["outcome"] == "discarded"));
}

#[test]
fn a_cursor_that_cannot_be_continued_is_refused() {
    let dev = Development::start("a_cursor_that_cannot_be_continued_is_refused");
    let other = Development::start("a_cursor_that_cannot_be_continued_is_refused_2");
    for one in [&dev, &other] {
        one.generate(&["--count", "1", "--seed", "5"]).well();
        one.settle();
    }
    let once = ["events", "follow", "--once", "--json"];
    let lines = values(&other.run(&once).well().out);
    let cursor = lines[0]["cursor"].as_str().unwrap();
    let refused = dev.run(&[&once[..], &["--after", cursor]].concat());
    assert_eq!((refused.code, &*refused.out), (78, ""), "{refused:?}");
    assert!(
        refused.err.contains("this store is incarnation"),
        "{refused:?}"
    );
    for wrong in ["7", &cursor[..cursor.len() - 1]] {
        let refused = dev.run(&[&once[..], &["--after", wrong]].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
    }
    let refused = dev.run(&["events", "follow", "--route", "score"]);
    assert_eq!(refused.code, 2, "{refused:?}");
}

#[test]
fn an_end_is_printed_when_it_is_committed() {
    let dev = Development::start("an_end_is_printed_when_it_is_committed");
    let errors = dev.folder().join("follow.err");
    let mut follow = command(dev.folder(), &["events", "follow", "--json"]);
    let stderr = std::fs::File::create(&errors).unwrap();
    follow.stdout(Stdio::piped()).stderr(stderr);
    let mut follow = Process::start(&mut follow).unwrap();
    let mut output = follow.stdout().unwrap();
    let mut cursor = String::new();
    for _ in 0..2 {
        dev.run(&["send", "--url", dev.url()]).well();
        let line = output.find(PATIENCE, |line| Some(line.to_owned()));
        let line = line.expect("the command must print a line for each end");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["outcome"], "done");
        cursor = line["cursor"].as_str().unwrap().to_owned();
    }
    follow.signal("INT").unwrap();
    let ended = follow.wait(PATIENCE).expect("Ctrl-C must end the command");
    assert_eq!(ended.code(), Some(0));
    let said = std::fs::read_to_string(&errors).unwrap();
    let next: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(next["next"], cursor);
}
