//! A case runs end to end: the bench starts the binary, sends events, checks the accounting and
//! reports a figure beside its floor. The case is one that needs no server.

use std::process::Command;

use hookbox_testkit::binary;
use serde_json::Value;

#[test]
fn a_quick_case_reports_its_figures_and_its_floor() {
    let hookbox = binary::built().expect("the binary of hookbox must be built");
    let output = Command::new(env!("CARGO_BIN_EXE_hookbox-bench"))
        .args([
            "--quick",
            "--json",
            "--case",
            "embedded-one-file",
            "--built",
        ])
        .arg(hookbox)
        .output()
        .expect("the bench must start");
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the bench failed: {progress}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let floor = report["floors"][0]["median"].as_f64();
    assert!(
        floor > Some(0.0),
        "the report must have a rate of SQLite commits: {report:#}"
    );
    let rate = &report["figures"][0];
    assert_eq!(rate["figure"], "in and processed");
    assert!(
        rate["median"].as_f64() > Some(0.0),
        "the report must have the rate of processed events: {report:#}"
    );
    assert!(
        rate["ratio"].as_f64() > Some(0.0),
        "the report must have the ratio of that rate to the floor: {report:#}"
    );
    let latency = &report["figures"][1];
    assert_eq!(
        (&latency["unit"], &latency["runs"][1]),
        (&"ms".into(), &Value::Null)
    );
}

#[test]
fn a_name_of_no_case_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_hookbox-bench"))
        .args(["--case", "no-such-case"])
        .output()
        .expect("the bench must start");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        error.contains(r#"there is no case "no-such-case""#),
        "{error}"
    );
}
