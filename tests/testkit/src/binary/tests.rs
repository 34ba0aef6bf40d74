//! Tests of commands and processes, with the shell in place of hookbox.

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn shell(script: &str) -> Command {
    let folder = std::env::temp_dir();
    let mut command = command(Path::new("sh"), &folder, &["-c", script]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

#[test]
fn a_command_has_no_input_and_none_of_the_users_settings() {
    let mut command = shell("cat; echo \"in $PWD: ${HOOKBOX_CONFIG-none} ${HOOKBOX_LOG-none}\"");
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let folder = std::env::temp_dir().canonicalize().unwrap();
    assert_eq!(said, format!("in {}: none none\n", folder.display()));
    let removed = command.get_envs().filter(|(_, value)| value.is_none());
    assert_eq!(removed.count(), SETTINGS.len());
}

#[test]
fn a_limited_command_is_the_same_but_for_its_limit() {
    let mut command = shell("echo \"$(ulimit -n) $COLOUR $0 $1\"");
    command
        .args(["a program", "two words"])
        .env("COLOUR", "red");
    let output = limited("ulimit -n 40", &command).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "40 red a program two words\n");
}

#[test]
fn lines_are_found_in_their_order_and_all_are_kept() {
    let mut process = Process::start(&mut shell("echo one; echo two; echo three")).unwrap();
    let mut lines = process.stdout().unwrap();
    let second = lines.find(PATIENCE, |line| line.strip_prefix("tw").map(str::to_owned));
    assert_eq!(second.as_deref(), Some("o"));
    let passed = lines.find(PATIENCE, |line| (line == "one").then_some(()));
    assert_eq!(
        passed, None,
        "`find` must search only the lines after the one that it found last"
    );
    assert_eq!(lines.text(), "one\ntwo\nthree\n");
    assert!(process.wait(PATIENCE).unwrap().success());
    assert!(
        !process.kill(),
        "a process that has ended must not count as killed"
    );
}

#[test]
fn a_process_gets_signals_and_is_killed() {
    let script = "trap 'echo drained; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let mut process = Process::start(&mut shell(script)).unwrap();
    let mut lines = process.stdout().unwrap();
    let mut says = |what: &str| {
        let found = lines.find(PATIENCE, |line| (line == what).then_some(()));
        assert!(found.is_some(), "{what}");
    };
    says("ready");
    assert_eq!(process.ended(), None);
    process.signal("TERM").unwrap();
    says("drained");
    assert_eq!(process.wait(PATIENCE).unwrap().code(), Some(3));
    assert!(
        process.signal("TERM").is_err(),
        "a signal to a process that has ended must fail"
    );

    let mut process = Process::start(&mut shell(script)).unwrap();
    assert!(process.kill());
    assert_eq!(
        process.ended().unwrap().code(),
        None,
        "a process that a signal ended must have no exit code"
    );
}

#[test]
fn the_log_of_a_service_is_appended_to_its_file() {
    let log = std::env::temp_dir().join(format!("hookbox-testkit-{}", std::process::id()));
    for line in ["first", "second"] {
        let script = format!("echo {line} >&2; echo output");
        let mut service = Process::start_service(&mut shell(&script), &log).unwrap();
        assert!(service.wait(PATIENCE).unwrap().success());
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "first\nsecond\n");
    std::fs::remove_file(&log).unwrap();
}
