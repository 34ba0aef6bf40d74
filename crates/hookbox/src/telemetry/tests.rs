//! Checks that libraries never log the data that they carry, under any filter.

use std::io::Write;
use std::sync::Mutex;

use super::*;

/// A writer that collects what was logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the text that some events log under a filter.
fn logged(filter: &str, json: bool, events: impl FnOnce()) -> String {
    let lines = Logged::default();
    let writer = lines.clone();
    let config = LogConfig {
        json,
        filter: Some(filter.to_owned()),
    };
    let (subscriber, _) = subscriber(&config, false, move || writer.clone());
    tracing::subscriber::with_default(subscriber, events);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn no_filter_raises_a_maximum() {
    let events = || {
        tracing::error!(target: "lapin::returned_messages", "canary");
        tracing::error!(target: "lapin::channel", "canary");
        tracing::error!(target: "lapin::channels", "canary");
        tracing::info!(target: "lapin::io_loop", "canary");
        tracing::warn!(target: "sqlx::query", "canary");
        tracing::error!(target: "sqlx::postgres::notice", "canary");
        tracing::info!(target: "sqlx_core::pool", "canary");
        tracing::trace!(target: "hyper::proto::h1", "canary");
        tracing::debug!(target: "rustls::client", "canary");
        tracing::debug!(target: "hookboxes", "canary");
        tracing::trace!(target: "hookbox_worker::run", "of ours");
        tracing::error!(target: "lapin::io_loop", "canary");
        tracing::error!(target: "lapin::consumer", "canary");
        tracing::error!(target: "lapin::thread", "of lapin");
        tracing::warn!(target: "sqlx_core::pool", "of sqlx");
        tracing::info!(target: "hyper_util::client", "of hyper");
    };
    let most = "trace,lapin=trace,lapin::returned_messages=trace,lapin::channel=trace,\
                lapin::channels=trace,sqlx::query=trace,sqlx::postgres::notice=trace,\
                sqlx_core::pool=trace,hyper::proto::h1=trace,rustls::client=trace";
    for json in [false, true] {
        let lines = logged(most, json, events);
        assert!(!lines.contains("canary"), "{lines}");
        for kept in ["of ours", "of lapin", "of sqlx", "of hyper"] {
            assert!(lines.contains(kept), "{kept}: {lines}");
        }
    }
}

#[test]
fn a_filter_can_log_less() {
    let lines = logged("hookbox_worker=debug,warn", false, || {
        tracing::debug!(target: "hookbox_worker::run", "kept");
        tracing::info!(target: "hookbox_ingest", "dropped");
    });
    assert!(
        lines.contains("kept") && !lines.contains("dropped"),
        "{lines}"
    );
}

#[test]
fn json_is_one_object_a_line() {
    let lines = logged("info", true, || {
        tracing::info!(route = "scores", "one\nline");
    });
    let line: serde_json::Value = serde_json::from_str(lines.trim_end()).unwrap();
    assert_eq!(line["fields"]["route"], "scores");
    assert_eq!(line["level"], "INFO");
}

#[test]
fn a_panic_is_logged_with_its_place_and_without_its_message() {
    for json in [false, true] {
        let lines = logged("trace", json, || {
            // The panic hook is global in the process, so the previous hook is restored for the
            // other tests.
            let before = std::panic::take_hook();
            hide_panics(Log::default());
            let broken = std::panic::catch_unwind(|| panic!("canary {}", "of a body"));
            std::panic::set_hook(before);
            assert!(broken.is_err());
        });
        assert!(lines.contains("a panic at "), "{lines}");
        assert!(lines.contains("telemetry/tests.rs"), "{lines}");
        assert!(!lines.contains("canary"), "{lines}");
    }
}

#[test]
fn a_filter_is_exchanged_while_it_logs() {
    let lines = Logged::default();
    let writer = lines.clone();
    let config = LogConfig {
        json: false,
        filter: Some("warn".to_owned()),
    };
    let (subscriber, refilter) = subscriber(&config, false, move || writer.clone());
    tracing::subscriber::with_default(subscriber, || {
        let log = || tracing::info!(target: "hookbox", "a line");
        log();
        refilter(EnvFilter::new("hookbox=info")).unwrap();
        log();
        // Like the first filter, a new filter cannot raise the maximum level of a library.
        refilter(EnvFilter::new("trace")).unwrap();
        tracing::trace!(target: "sqlx::query", "canary");
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches("a line").count(), 1, "{text}");
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn a_notice_of_dropped_lines_is_a_line_as_the_others() {
    let now = Timestamp::from_unix_micros(0);
    let text = String::from_utf8(notice(false, now, 3)).unwrap();
    assert!(text.contains("  WARN 3 log lines were dropped"), "{text}");
    let json: serde_json::Value = serde_json::from_slice(&notice(true, now, 3)).unwrap();
    assert_eq!(json["level"], "WARN");
    assert_eq!(json["fields"]["dropped"], 3);
}

/// The environment variable that is set in the child process of a test, which is to abort.
const ABORTS: &str = "HOOKBOX_TEST_ABORTS";

/// A value that panics when it is dropped. If it is dropped while another panic unwinds, the second
/// panic aborts the process.
struct PanicsAgain;

impl Drop for PanicsAgain {
    fn drop(&mut self) {
        panic!("canary of the second");
    }
}

/// The place of the panic must be written although the panic aborts the process. It is queued
/// behind more lines than a pipe holds, so it is written only if the panic waits until the queue is
/// written.
#[test]
fn the_place_of_a_panic_that_aborts_is_written() {
    if std::env::var_os(ABORTS).is_some() {
        let (log, args) = (Log::default(), LogArgs::default());
        log.begin(&args, &LogConfig::default()).unwrap();
        hide_panics(log.clone());
        for _ in 0..300 {
            log.print(&"-".repeat(1_000));
        }
        let _again = PanicsAgain;
        panic!("canary of the first");
    }
    let name = "telemetry::tests::the_place_of_a_panic_that_aborts_is_written";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(ABORTS, "yes")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    let ours = |line: &&str| line.contains("a panic at ") && line.contains("telemetry/tests.rs");
    let places = text.lines().filter(ours).count();
    assert_eq!(places, 2, "{}", text.replace('-', ""));
}
