//! Nothing secret is logged, at any level, by us or by a library.

use serde_json::Value;

use crate::deployment::{Deployment, Pair};

/// What must never be seen: planted in the key, the uid and the values of a body.
const CANARIES: [&str; 4] = [
    "a-key-for-tests",
    "CANARY-UID-4711",
    "canary-value-0815",
    "canary-broken-0816",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_canary_is_logged_at_the_finest_level() {
    for pair in [Pair::RabbitmqPostgres, Pair::SqliteAlone] {
        let deployment = Deployment::new(pair).await;
        let logging = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
        let logging = format!("{logging}[log]\nfilter = \"trace\"\n");
        deployment.write("hookbox.toml", &logging);
        let ingest = deployment.start_ingest();
        // A handler that fails, an event that breaks its schema, and a body that is not JSON.
        deployment
            .execute("alter table begini_scores rename to elsewhere")
            .await;
        let worker = deployment.start(&["worker"]);
        deployment.write(
            "score.json",
            &body("psychometric_score.complete", CANARIES[2]),
        );
        deployment.write("broken.json", &body("application.complete", CANARIES[3]));
        deployment.write("not.json", "canary-value-0815 is no JSON");
        for file in ["score.json", "broken.json", "not.json"] {
            deployment.run(&["send", "--file", file]);
        }
        // A forged request, and an answer that tells nothing.
        let url = format!("http://127.0.0.1:{}/hooks/begini", deployment.port);
        deployment.write(
            "other.toml",
            &logging.replace("file = \"key\"", "file = \"forged\""),
        );
        deployment.write("forged", "another-key");
        let forged = [
            "send",
            "--config",
            "other.toml",
            "--url",
            &url,
            "--file",
            "score.json",
        ];
        let refused = deployment.command(&forged).output().unwrap();
        assert!(!refused.status.success());
        wait_for_dead_letters(&deployment, 3).await;
        worker.stop();
        ingest.stop();
        let log = deployment.log();
        for told in [
            "was not accepted",
            "is a dead letter",
            "will be tried again",
        ] {
            assert!(log.contains(told), "the log does not tell {told:?}:\n{log}");
        }
        for canary in CANARIES.iter().chain(&["another-key"]) {
            assert!(!log.contains(canary), "{canary} is in the log of {pair:?}");
        }
        deployment.finish().await;
    }
}

fn body(kind: &str, value: &str) -> String {
    // Only an application's start is of another type than its schema says.
    let started = match kind {
        "application.complete" => format!("\"{value}\""),
        _ => "1".to_owned(),
    };
    let calculated = format!(r#"{{"score":1,"risk_band":"{value}","traits":[]}}"#);
    let details = format!(
        r#"{{"scored_at":1,"application_started_at":{started},"calculated":{calculated}}}"#
    );
    let event = format!(r#"{{"type":"{kind}","details":{details}}}"#);
    format!(r#"{{"uid":"CANARY-UID-4711","integration_id":"{value}","event":{event}}}"#)
}

async fn wait_for_dead_letters(deployment: &Deployment, count: usize) {
    let began = std::time::Instant::now();
    loop {
        let dead: Value = deployment.json(&["dead", "list"]);
        if dead["dead"].as_array().map_or(0, Vec::len) >= count {
            return;
        }
        assert!(began.elapsed().as_secs() < 60, "{dead:#}");
    }
}
