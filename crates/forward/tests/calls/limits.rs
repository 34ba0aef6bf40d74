//! Tests with services that are unavailable, or that do not answer within the time limits.

use std::time::Duration;

use hookbox_forward::{CallClass, Settings, Span};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::service::{Reply, Service, Then};
use crate::world::{HOST, Names, SHORT, client_of, failure, localhost, settings};

/// How much longer than its limit a call may take on a busy machine.
const ROOM: Duration = Duration::from_secs(20);

/// Checks that a call fails when the limit [`SHORT`] has passed, and returns the class and the text
/// of its error.
async fn limited(settings: &Settings) -> (CallClass, String) {
    let client = client_of(settings, Names::local());
    let began = Instant::now();
    let error = failure(&client).await;
    let took = began.elapsed();
    assert!((SHORT..SHORT + ROOM).contains(&took), "{took:?}: {error}");
    (error.class, error.text)
}

fn secure(mut settings: Settings) -> Settings {
    settings.url = settings.url.replace("http://", "https://");
    settings
}

#[tokio::test]
async fn a_refused_connection_is_the_targets_fault() {
    let listener = TcpListener::bind((localhost(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = client_of(&settings(address.port()), Names::local());
    let error = failure(&client).await;
    assert_eq!(error.class, CallClass::TargetFault);
    let port = address.port();
    let expect = format!("no connection to http://{HOST}:{port} ({address}): ");
    assert!(error.text.starts_with(&expect), "{error}");
}

#[tokio::test]
async fn a_service_that_never_answers_meets_the_limit_of_the_first_byte() {
    let information = "HTTP/1.1 103 Early Hints\r\n\r\n";
    for (bytes, then) in [
        ("", Then::Hang),
        ("HTTP/1.1 200 OK\r\ncontent-le", Then::Hang),
        (information, Then::Hang),
        (information, Then::Repeat),
    ] {
        let service = Service::new(move |_| Reply::new(bytes, then)).await;
        let mut settings = settings(service.address.port());
        settings.limits.first_byte = Some(Span(SHORT));
        let (class, text) = limited(&settings).await;
        assert_eq!(class, CallClass::Unanswered, "{text}");
        let target = format!("http://{HOST}:{}", service.address.port());
        let expect = format!(
            "{target} accepted the connection and did not answer within 300ms (limits.first_byte)"
        );
        assert_eq!(text, expect);
        let closed = async || service.open() == 0;
        hookbox_testkit::eventually::eventually("the client must close the connection", closed)
            .await;
    }
}

#[tokio::test]
async fn no_call_takes_longer_than_the_limit_of_the_whole_call() {
    let service = Service::new(|_| Reply::new("", Then::Hang)).await;
    let mut settings = settings(service.address.port());
    settings.limits.connect = None;
    settings.limits.first_byte = Some(Span(SHORT));
    settings.limits.total = Some(Span(SHORT));
    let (class, text) = limited(&settings).await;
    assert_eq!(class, CallClass::Unanswered);
    assert!(text.contains("did not answer within 300ms"), "{text}");
}

#[tokio::test]
async fn a_handshake_that_does_not_begin_meets_the_limit_of_the_connection() {
    // The service accepts the connection, and waits for a request that is not encrypted. So it
    // never answers the TLS handshake of the client.
    let listener = TcpListener::bind((localhost(), 0)).await.unwrap();
    let mut settings = secure(settings(listener.local_addr().unwrap().port()));
    settings.limits.connect = Some(Span(SHORT));
    let (class, text) = limited(&settings).await;
    assert_eq!(class, CallClass::TargetFault);
    assert!(
        text.ends_with("within the time limit (limits.connect)"),
        "{text}"
    );
}

#[tokio::test]
async fn a_machine_that_does_not_answer_meets_the_limit_of_the_connection() {
    let full = full().await;
    let mut settings = settings(full.port());
    settings.limits.connect = Some(Span(SHORT));
    let (class, text) = limited(&settings).await;
    assert_eq!(class, CallClass::TargetFault);
    assert!(text.starts_with("no connection to "), "{text}");
}

/// A second address is tried when the first one does not answer.
#[tokio::test]
async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
    let silent = full().await;
    let port = silent.port();
    let service = Service::at([127, 0, 0, 2].into(), port, |_| Reply::ok()).await;
    let mut settings = settings(port);
    settings.limits.connect = Some(Span(SHORT * 4));
    let names = Names::new(&[&["127.0.0.1", "127.0.0.2"]]);
    let client = client_of(&settings, names);
    client.call(&crate::world::call()).await.unwrap();
    assert_eq!(service.received().len(), 1);
}

/// A listening socket whose queue of connections is full. The kernel ignores further connection
/// attempts, so no answer arrives, as if no machine had the address.
struct Full {
    listener: TcpListener,
    /// The connections in the queue.
    _waiting: Vec<TcpStream>,
}

impl Full {
    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }
}

async fn full() -> Full {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((localhost(), 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    // No connection is accepted, so the queue fills.
    while let Ok(stream) = timeout(SHORT, TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
        assert!(waiting.len() < 64, "the queue of the listener must fill");
    }
    Full {
        listener,
        _waiting: waiting,
    }
}
