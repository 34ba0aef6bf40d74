//! The command line of `hookbox events replay`: wrong arguments are refused, and a filter that
//! selects no event changes nothing.

use crate::service::Service;

const SOURCE: &str = "[[source]]\nname = \"begini\"\npreset = \"begini\"\n\
                      secrets = [{ id = \"k\", file = \"key\" }]\n\
                      [[route]]\nname = \"scores\"\ntopics = [\"begini.#\"]\n\
                      where = [{ pointer = \"/uid\", prefix = \"a\" }]\n";

/// The exit code of a command that failed.
const FAILED: i32 = 1;

/// The exit code for wrong arguments.
const ARGUMENTS: i32 = 2;

/// The exit code for a config that cannot be used.
const CONFIG: i32 = 64;

#[test]
fn a_replay_with_wrong_arguments_is_refused() {
    let service = Service::prepare("a_replay_with_wrong_arguments_is_refused", SOURCE);
    service.run(&["migrate"]).well();
    let long = "y".repeat(501);
    for (arguments, code, expected) in [
        (&["scores", "--all"][..], ARGUMENTS, "--why"),
        (
            &["scores", "--all", "--why", " "],
            ARGUMENTS,
            "a reason of 1 to 500",
        ),
        (
            &["scores", "--all", "--why", &long],
            ARGUMENTS,
            "a reason of 1 to 500",
        ),
        (&["scors", "--all", "--why", "x"], ARGUMENTS, "scores"),
        (&["scores", "--why", "x"], FAILED, "or give --all"),
        (
            &["unrouted", "--all", "--why", "x"],
            CONFIG,
            "only gets events that no other route selects",
        ),
    ] {
        let replay = [&["events", "replay", "--route"], arguments].concat();
        let refused = service.run(&replay);
        assert_eq!(refused.code, code, "{arguments:?}: {refused:?}");
        assert!(refused.err.contains(expected), "{arguments:?}: {refused:?}");
    }
}

#[test]
fn a_filter_that_selects_nothing_succeeds() {
    let service = Service::prepare("a_filter_that_selects_nothing_succeeds", SOURCE);
    service.run(&["migrate"]).well();
    for more in [
        &["scores", "--since", "2h"][..],
        &["scores", "--all", "--dry-run"],
    ] {
        let replay = ["events", "replay", "--why", "x", "--route"];
        let said = service.run(&[&replay, more].concat()).well();
        assert!(said.out.contains(" 0 events on route "), "{said:?}");
    }
    let audit = service.run(&["audit", "list"]).well();
    assert!(!audit.out.contains("replay"), "{audit:?}");
}
