//! hookbox behind a proxy that terminates TLS: which requests are accepted, and which client a
//! refusal names.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hookbox_testkit::eventually::within;

use crate::deployment::{Deployment, Pair};
use crate::shown::get;
use crate::signed::Signed;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Sends a genuine request with additional headers, and returns the status of its answer.
fn sent(port: u16, signed: &Signed, headers: &str) -> u16 {
    let text = String::from_utf8(signed.bytes().to_vec()).unwrap();
    let more = format!("\r\nConnection: close\r\n{headers}\r\n");
    let request = text.replacen("\r\n\r\n", &more, 1);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Writes a config with these lines under `[ingest]`.
fn configure(deployment: &Deployment, lines: &str) {
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let rest = config.split_once("[ingest]\n").unwrap();
    let listen = rest
        .1
        .lines()
        .find(|line| line.starts_with("listen"))
        .unwrap();
    let after = rest.1.split_once("[[source]]").unwrap().1;
    let text = format!("{}[ingest]\n{listen}\n{lines}\n[[source]]{after}", rest.0);
    deployment.write("hookbox.toml", &text);
}

const HTTPS: &str = "X-Forwarded-Proto: https\r\n";
const HTTP: &str = "X-Forwarded-Proto: http\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_did_not_come_through_the_proxy_is_refused() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let signed = Signed::catch(&deployment, &[]);
    for (lines, answers) in [
        ("trusted_proxies = [\"10.99.99.0/24\"]", [503, 503, 503]),
        ("trusted_proxies = [\"127.0.0.1\"]", [503, 503, 200]),
        ("plain_http_from = [\"127.0.0.0/8\"]", [200, 200, 200]),
    ] {
        configure(&deployment, lines);
        let ingest = deployment.start_ingest();
        for (headers, status) in ["", HTTP, HTTPS].into_iter().zip(answers) {
            let found = sent(deployment.port, &signed, headers);
            assert_eq!(found, status, "{lines} {headers:?}");
        }
        // A health request comes from the load balancer itself and has no header that names a
        // client. It must be answered 200 in each case.
        assert_eq!(get(deployment.port, "/readyz").map(|it| it.0), Some(200));
        ingest.stop();
    }
    for everything in [
        "\"0.0.0.0/0\"",
        "\"::/0\"",
        "\"0.0.0.0/1\", \"128.0.0.0/1\"",
    ] {
        for key in ["trusted_proxies", "plain_http_from"] {
            configure(&deployment, &format!("{key} = [{everything}]"));
            for command in ["check-config", "ingest"] {
                let output = deployment.command(&[command]).output().unwrap();
                let said = String::from_utf8(output.stderr).unwrap();
                assert_eq!(output.status.code(), Some(64), "{command}: {said}");
                assert!(
                    said.contains("the list contains every address"),
                    "{command}: {said}"
                );
            }
        }
    }
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_kept_and_logged_with_the_client_of_the_proxy() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let signed = Signed::catch(&deployment, &[]);
    configure(
        &deployment,
        "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]",
    );
    let running = deployment.spawn_ingest(deployment.command(&["run"]));
    let chain = "X-Forwarded-For: 203.0.113.9, 192.0.2.77, 10.0.0.7\r\n";
    let forwarded = "Forwarded: for=203.0.113.9, for=192.0.2.77;proto=http, for=10.0.0.7\r\n";
    for (headers, status) in [
        (format!("{HTTPS}{chain}"), 200),
        (chain.to_owned(), 503),
        (forwarded.to_owned(), 503),
    ] {
        let found = sent(deployment.port, &signed, &headers);
        assert_eq!(found, status, "{headers}");
    }
    let kept = "select count(*) from refusals where peer = '192.0.2.77' and reason = 'not_https'";
    within(PATIENCE, "both refusals must be stored", async || {
        deployment.count(kept).await == 2
    })
    .await;
    let log = deployment.log();
    assert_eq!(log.matches("192.0.2.77").count(), 2, "{log}");
    running.stop();
    deployment.finish().await;
}
