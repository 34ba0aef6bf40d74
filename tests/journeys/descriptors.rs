//! An ingest has no file descriptor left. The ingest must still answer on open connections, must
//! not panic, must log little, and must accept requests again when connections are closed.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use hookbox_testkit::binary;
use hookbox_testkit::eventually::within;
use hookbox_testkit::proxy::Proxy;
use hookbox_testkit::servers::PostgresServer;
use hookbox_tests::variable;

use crate::deployment::Deployment;
use crate::outages::own;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The limit of file descriptors of the process: enough for its own files and some connections.
const DESCRIPTORS_MAX: &str = "64";

/// The number of connections that the test opens: more than the limit of descriptors, so that no
/// descriptor is left, and fewer than the limit of connections from one address.
const CONNECTIONS: usize = 200;

/// The log text about a connection that could not be accepted.
const LOGGED: &str = "a connection could not be accepted";

/// The least number of seconds between two log lines about connections that could not be accepted.
const LOGGED_EVERY: u64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_descriptors_nothing_panics_and_processing_resumes() {
    let postgres = PostgresServer::start().unwrap();
    let broker = variable("HOOKBOX_TEST_AMQP_URL");
    let proxy = Proxy::before(&broker).unwrap();
    let through = proxy.url(&broker);
    let deployment = Deployment::over(own(postgres.url(), &through, postgres.url()));
    let limit = format!("ulimit -n {DESCRIPTORS_MAX}");
    let limited = binary::limited(&limit, &deployment.command(&["ingest"]));
    let mut ingest = deployment.spawn_ingest(limited);
    deployment.run(&["send"]);

    let open = || TcpStream::connect(("127.0.0.1", deployment.port)).unwrap();
    let mut idle: Vec<TcpStream> = (0..CONNECTIONS).map(|_| open()).collect();
    let logged = || deployment.log().matches(LOGGED).count();
    within(
        PATIENCE,
        "ingest must have no file descriptor left",
        async || logged() > 0,
    )
    .await;
    // The test keeps opening connections, so that the shortage of file descriptors lasts. Without
    // new connections it would end: ingest closes connections that have sent nothing for five
    // seconds while others wait to be accepted.
    let began = Instant::now();
    within(
        PATIENCE,
        "the shortage of descriptors must last 4 s",
        async || {
            assert!(!ingest.has_ended(), "{}", deployment.log());
            idle.push(open());
            began.elapsed() > Duration::from_secs(4)
        },
    )
    .await;
    // The test cuts the connections to the broker until no descriptor is left with which ingest
    // could reconnect.
    let lost = "nothing can be published";
    within(
        PATIENCE,
        "ingest must lose its connection to the broker",
        async || {
            idle.push(open());
            proxy.cut();
            deployment.log().contains(lost)
        },
    )
    .await;
    // The shortage of descriptors must be logged when it starts and then every ten seconds at most,
    // not at every connection that could not be accepted.
    let may = 2 + began.elapsed().as_secs() / LOGGED_EVERY;
    assert!(logged() as u64 <= may, "logged {} times", logged());

    drop(idle);
    let start = Instant::now();
    within(PATIENCE, "a request must be accepted again", async || {
        deployment
            .command(&["send"])
            .output()
            .unwrap()
            .status
            .success()
    })
    .await;
    let took = start.elapsed();
    eprintln!("after the connections were closed, it took {took:?} until a request was accepted");
    ingest.stop();
    let log = deployment.log();
    assert!(!log.contains("a panic at"), "{log}");
    deployment.finish().await;
}
