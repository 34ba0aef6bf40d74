//! A sender that closes its sending half of the connection right after its request must still get
//! its answer.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::deployment::{Deployment, Pair};
use crate::signed::Signed;

/// The longest time that the test waits for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);

async fn statuses(pair: Pair) {
    let deployment = Deployment::new(pair).await;
    let signed = Signed::catch(&deployment, &[]);
    let ingest = deployment.start_ingest();
    for number in 0..40 {
        let mut stream = TcpStream::connect(("127.0.0.1", deployment.port))
            .await
            .unwrap();
        stream.write_all(signed.bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        let read = timeout(ANSWER_MAX, stream.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK"),
            "{number}: {answer:?}"
        );
    }
    ingest.stop();
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_closed_connection_is_answered_over_rabbitmq() {
    statuses(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_closed_connection_is_answered_over_a_file() {
    statuses(Pair::SqliteAlone).await;
}
