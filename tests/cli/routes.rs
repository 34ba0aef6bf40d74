//! The command line of `hookbox routes`.

use crate::service::Service;

const SOURCE: &str = "[[source]]\nname = \"begini\"\npreset = \"begini\"\n\
                      secrets = [{ id = \"k\", file = \"key\" }]\n\
                      [[route]]\nname = \"scores\"\ntopics = [\"begini.#\"]\n\
                      handler = { kind = \"record\" }\n";

#[test]
fn routes_are_paused_resumed_and_limited() {
    let service = Service::prepare("routes_are_paused_resumed_and_limited", SOURCE);
    service.run(&["migrate"]).well();
    let pause = [
        "routes",
        "pause",
        "scores",
        "--why",
        "the bank is down",
        "--yes",
    ];
    service.run(&[&pause[..], &["--by", "ann"]].concat()).well();
    let again = service.run(&pause).well();
    assert!(again.out.contains("is paused by ann since "), "{again:?}");
    assert!(again.out.contains("nothing was changed"), "{again:?}");
    let set = ["routes", "set", "scores", "--yes"];
    let limits = ["--rate", "0.5/s", "--concurrency", "2"];
    service.run(&[&set[..], &limits].concat()).well();
    let listed = service.run(&["routes", "list"]).well();
    assert!(listed.out.contains("2 of 4"), "{listed:?}");
    assert!(listed.out.contains("0.5/s"), "{listed:?}");
    assert!(
        listed.out.contains("PAUSED: route scores is paused by ann"),
        "{listed:?}"
    );
    let back = ["--rate", "none", "--concurrency", "default"];
    let back = service.run(&[&set[..], &back].concat()).well();
    assert!(back.out.contains("no rate limit"), "{back:?}");
    service
        .run(&["routes", "pause", "--all", "--why", "maintenance", "--yes"])
        .well();
    let resumed = service.run(&["routes", "resume", "scores", "--yes"]);
    assert_eq!(
        resumed.code, 1,
        "resuming one route must fail while a pause of all routes lasts: {resumed:?}"
    );
    assert!(resumed.out.contains("as all routes"), "{resumed:?}");
    service.run(&["routes", "resume", "--all", "--yes"]).well();
    let audit = service.run(&["audit", "list"]).well();
    for action in ["routes.pause", "routes.resume", "routes.set"] {
        assert!(audit.out.contains(action), "{audit:?}");
    }
}

/// Checks that a pause can be ended although the route is not in the config any more, and has never
/// had an event.
#[test]
fn a_paused_route_that_was_renamed_is_resumed() {
    let service = Service::prepare("a_paused_route_that_was_renamed_is_resumed", SOURCE);
    service.run(&["migrate"]).well();
    let pause = ["routes", "pause", "scores", "--why", "not yet", "--yes"];
    service.run(&pause).well();
    let config = service.folder().join("hookbox.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("name = \"scores\"", "name = \"marks\"");
    std::fs::write(&config, text).unwrap();
    let listed = service.run(&["routes", "list"]).well();
    assert!(listed.out.contains("PAUSED: route scores"), "{listed:?}");
    let resume = ["routes", "resume", "scores", "--yes"];
    service.run(&resume).well();
    let listed = service.run(&["routes", "list"]).well();
    assert!(!listed.out.contains("PAUSED"), "{listed:?}");
}

#[test]
fn wrong_arguments_of_routes_are_refused() {
    let service = Service::prepare("wrong_arguments_of_routes_are_refused", SOURCE);
    service.run(&["migrate"]).well();
    for (arguments, expected) in [
        (&["routes", "pause", "scores"][..], "--why"),
        (&["routes", "pause", "--why", "x", "--yes"], "<ROUTE>"),
        (
            &["routes", "pause", "scores", "--all", "--why", "x"],
            "--all",
        ),
        (
            &["routes", "pause", "scores", "--why", " "],
            "a reason of 1 to 500",
        ),
        (&["routes", "set", "scores"], "--rate"),
        (&["routes", "set", "scores", "--rate", "0"], "is not a rate"),
        (
            &["routes", "set", "scores", "--concurrency", "0"],
            "at least 1",
        ),
        (&["routes", "resume", "score", "--yes"], "scores"),
    ] {
        let refused = service.run(arguments);
        assert_eq!(refused.code, 2, "{arguments:?}: {refused:?}");
        assert!(refused.err.contains(expected), "{arguments:?}: {refused:?}");
    }
    let not_asked = service.run(&["routes", "pause", "scores", "--why", "x"]);
    assert_eq!(not_asked.code, 1, "{not_asked:?}");
    assert!(not_asked.err.contains("Give --yes"), "{not_asked:?}");
    let listed = service.run(&["routes", "list"]).well();
    assert!(!listed.out.contains("PAUSED"), "{listed:?}");
}
