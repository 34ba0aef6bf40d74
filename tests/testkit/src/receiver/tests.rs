//! Tests that the service keeps requests in order, answers late, and refuses connections while it
//! is down.

use tokio::time::Instant;

use super::*;
use crate::eventually::eventually;

/// Posts a body on a connection, and returns the status line; empty at the end of the connection.
async fn post(stream: &mut TcpStream, body: &str) -> io::Result<String> {
    let length = body.len();
    let request = format!("POST /hooks HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"{}") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Ok(String::new());
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

async fn connect(receiver: &Receiver) -> io::Result<TcpStream> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, receiver.port.number())).await
}

#[tokio::test]
async fn requests_are_kept_and_answered_as_the_script_says() {
    let receiver = Receiver::start(|received, earlier| match earlier {
        0 if received.body == "late" => Answer::Late(Duration::from_millis(30), "202 Accepted"),
        0 => Answer::Status("200 OK"),
        _ => Answer::Status("409 Conflict\r\nretry-after: 1"),
    });
    let receiver = receiver.await.unwrap();
    let mut stream = connect(&receiver).await.unwrap();
    assert_eq!(post(&mut stream, "a").await.unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(
        post(&mut stream, "a").await.unwrap(),
        "HTTP/1.1 409 Conflict"
    );
    let began = Instant::now();
    assert_eq!(
        post(&mut stream, "late").await.unwrap(),
        "HTTP/1.1 202 Accepted"
    );
    assert!(began.elapsed() >= Duration::from_millis(30));
    assert_eq!(receiver.received_with("a").len(), 3);
    let taken = receiver.take();
    let bodies: Vec<&str> = taken.iter().map(|(it, _)| it.body.as_str()).collect();
    assert_eq!(bodies, ["a", "a", "late"]);
    assert_eq!(taken[0].1, Answer::Status("200 OK"));
    assert_eq!(taken[0].0.header("content-length"), "1");
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn a_service_that_is_down_refuses_connections_and_loses_no_request() {
    let receiver = Receiver::start(|_, _| Answer::Status("200 OK"));
    let receiver = receiver.await.unwrap();
    let mut idle = connect(&receiver).await.unwrap();
    assert_eq!(post(&mut idle, "a").await.unwrap(), "HTTP/1.1 200 OK");
    let mut new = connect(&receiver).await.unwrap();
    receiver.set_down(true);
    eventually("connections must be refused", async || {
        connect(&receiver).await.is_err()
    })
    .await;
    assert_eq!(post(&mut new, "b").await.unwrap(), "HTTP/1.1 200 OK");
    let mut rest = Vec::new();
    assert_eq!(idle.read_to_end(&mut rest).await.unwrap(), 0);
    assert_eq!(new.read_to_end(&mut rest).await.unwrap(), 0);
    receiver.set_down(false);
    eventually("connections must be accepted", async || {
        connect(&receiver).await.is_ok()
    })
    .await;
    assert_eq!(receiver.received().len(), 2);
}
