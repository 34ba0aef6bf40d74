//! The official libraries of Standard Webhooks for Python and JavaScript must verify the requests
//! of the handler `forward`, and the services of `examples/forward/` must take each event once.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::receiver::{Answer, Received, Receiver};
use hookbox_testkit::servers::ReservedPort;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::deployment::{Deployment, Pair};
use crate::event::score;
use crate::forwarded::{KEY, deployment, send};
use crate::packages;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The old signing key, which is being replaced by `KEY`.
const OLD_KEY: &str = "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkLW9sZA==";

/// A key with which no request is signed.
const OTHER_KEY: &str = "whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXI=";

/// The number of events that are forwarded to a service of the example.
const EVENTS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_libraries_verify_a_request() {
    let (request, deployment) = request().await;
    deployment.write("request.json", &request.to_string());
    let file = deployment.folder.join("request.json");
    let remedy = "the library must verify the request";

    let mut python = Command::new(packages::python());
    let script = include_str!("standard_webhooks/verify.py");
    python.arg("-c").arg(script).arg(&file);
    assert_eq!(packages::run(python, remedy).trim(), "verified");

    // Node.js searches for libraries in the folder of the script, so the script is copied there.
    let script = packages::node().join("verify.mjs");
    std::fs::write(&script, include_str!("standard_webhooks/verify.mjs")).unwrap();
    let mut node = Command::new("node");
    node.arg(&script).arg(&file);
    assert_eq!(packages::run(node, remedy).trim(), "verified");
    deployment.finish().await;
}

/// Lets a worker forward an event, signed with two keys, and returns the request that the service
/// received.
async fn request() -> (Value, Deployment) {
    let receiver = Receiver::start(|_, _| Answer::Status("200 OK")).await;
    let receiver = receiver.unwrap();
    let deployment = deployment(Pair::SqliteAlone, &receiver.url()).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let new = "{ id = \"new\", file = \"forward.key\", mode = \"any\" }";
    let both = format!("{new}, {{ id = \"old\", file = \"old.key\", mode = \"any\" }}");
    assert!(config.contains(new), "{config}");
    deployment.write("hookbox.toml", &config.replacen(new, &both, 1));
    deployment.write("forward.key", KEY);
    deployment.write("old.key", OLD_KEY);
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    // The body has a character of two bytes, because the signature must cover the bytes of the body
    // and not its characters.
    let event = score("user-1").replace(r#""integration_id":"1""#, r#""integration_id":"ü""#);
    assert!(event.contains('ü'), "{event}");
    send(&deployment, &event);
    within(PATIENCE, "the event must be posted", async || {
        !receiver.received().is_empty()
    })
    .await;
    worker.stop();
    ingest.stop();
    let Received { headers, body } = receiver.received().remove(0);
    let request = json!({
        "headers": headers,
        "body": body,
        "keys": [KEY, OLD_KEY],
        "other_key": OTHER_KEY,
    });
    (request, deployment)
}

/// A running service of the example, in the folder of a deployment. `drop` kills it.
struct Service {
    process: Child,
    _port: ReservedPort,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Service {
    async fn start(mut command: Command, port: ReservedPort, folder: &Path) -> Self {
        let mut log = std::fs::File::create(folder.join("service.log")).unwrap();
        writeln!(log, "{command:?}").unwrap();
        command
            .current_dir(folder)
            .env("KEY", KEY)
            .stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn().unwrap();
        let address = ("127.0.0.1", port.number());
        within(PATIENCE, "the service must listen", async || {
            let log = || std::fs::read_to_string(folder.join("service.log")).unwrap();
            TcpStream::connect(address)
                .map(drop)
                .map_err(|error| (error, log()))
        })
        .await;
        Self {
            process,
            _port: port,
        }
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/forward")
        .join(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_for_fastapi_takes_each_event_once() {
    let port = ReservedPort::choose().unwrap();
    let mut command = Command::new(packages::python());
    let folder = example("service.py");
    command.args(["-m", "uvicorn", "service:app", "--app-dir"]);
    command
        .arg(folder.parent().unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(["--port", &port.number().to_string()]);
    take_each_event_once(command, port, async |folder| {
        let url = format!("sqlite:{}", folder.join("orders.db").display());
        let mut orders = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let count = "select count(*) from orders where body like '%order.paid%'";
        let count: i64 = sqlx::query_scalar(count)
            .fetch_one(&mut orders)
            .await
            .unwrap();
        orders.close().await.unwrap();
        usize::try_from(count).unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_for_express_takes_each_event_once() {
    let port = ReservedPort::choose().unwrap();
    let script = packages::node().join("service.mjs");
    std::fs::copy(example("service.mjs"), &script).unwrap();
    let mut command = Command::new("node");
    command.arg(&script).env("PORT", port.number().to_string());
    take_each_event_once(command, port, async |folder| {
        std::fs::read_dir(folder.join("orders")).unwrap().count()
    })
    .await;
}

/// Forwards events to a service with the config of the example. The first worker crashes after the
/// service has answered a call, so the event of this call is posted again. `orders` counts the
/// orders that the service has stored.
async fn take_each_event_once(
    command: Command,
    port: ReservedPort,
    orders: impl AsyncFn(&Path) -> usize,
) {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let own = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let environment = own.lines().next().unwrap();
    let config = std::fs::read_to_string(example("hookbox.toml")).unwrap();
    let ports = [(8080, deployment.port), (8000, port.number())];
    let ports = ports.map(|(from, to)| (format!("127.0.0.1:{from}"), format!("127.0.0.1:{to}")));
    let config = ports
        .iter()
        .fold(config, |config, (from, to)| config.replacen(from, to, 1))
        .replacen("environment = \"example\"", environment, 1);
    deployment.write("hookbox.toml", &config);
    deployment.write("key", KEY);
    deployment.write("shop.key", OLD_KEY);
    deployment.run(&["migrate"]);
    let service = Service::start(command, port, &deployment.folder).await;
    let ingest = deployment.start_ingest();
    let order = std::fs::read_to_string(example("order.json")).unwrap();
    for _ in 0..EVENTS {
        // `hookbox send` gives each request another message id, so each request is another event.
        send(&deployment, &order);
    }
    let mut command = deployment.command(&["worker"]);
    command.env(hookbox_crash::CRASH_AT, "effect.after_call");
    let mut worker = deployment.spawn(command);
    within(
        PATIENCE,
        "the worker must end at the crash point",
        async || worker.has_ended(),
    )
    .await;
    let worker = deployment.start(&["worker"]);
    let done = "select count(*) from claims where state = 'done'";
    within(PATIENCE, "all events must be done", async || {
        deployment.count(done).await == EVENTS as u64
    })
    .await;
    let failed = "select count(*) from attempts where outcome <> 'done'";
    assert_eq!(deployment.count(failed).await, 0);
    assert_eq!(orders(&deployment.folder).await, EVENTS);
    worker.stop();
    ingest.stop();
    drop(service);
    deployment.finish().await;
}
