//! Makes one attempt to connect to the broker: a preflight (does the server speak AMQP?), then the
//! connection, then the login. Each of the three steps has a deadline.

use std::time::Duration;

use hookbox_driver::OpenError;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Options;
use crate::nodes::Nodes;
use crate::refusal::{Account, unavailable};

/// The first bytes that a client of AMQP 0-9-1 sends.
const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// The first byte of a method frame of AMQP. The broker's first frame, `connection.start`, is a
/// method frame.
const METHOD_FRAME: u8 = 1;

/// Connects to the first node that accepts the connection. If no node does, returns the error of
/// the node that was tried last.
pub(crate) async fn connect(
    options: &Options,
    nodes: &Nodes,
    purpose: &str,
) -> Result<Connection, OpenError> {
    let mut last = None;
    for uri in nodes.in_turn() {
        match connect_to(options, uri, purpose).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| unavailable("the URL names no host")))
}

async fn connect_to(
    options: &Options,
    uri: &AMQPUri,
    purpose: &str,
) -> Result<Connection, OpenError> {
    preflight(uri, options.preflight_deadline).await?;
    let name = format!("hookbox {} {purpose}", options.environment);
    let properties = ConnectionProperties::default().with_connection_name(name.as_str().into());
    match timeout(
        options.connect_deadline,
        Connection::connect_uri(uri.clone(), properties),
    )
    .await
    {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Account::of(uri).at_login(error)),
        Err(_elapsed) => Err(unavailable("the broker did not complete the login in time")),
    }
}

/// The preflight: checks over a plain socket that the server answers, before the client library
/// connects. A stopped broker accepts connections without answering, and each time that the client
/// library then tries to connect, it leaks a thread and a socket until the peer closes the
/// connection.
async fn preflight(uri: &AMQPUri, deadline: Duration) -> Result<(), OpenError> {
    let greet = async {
        let host = uri
            .authority
            .host
            .trim_start_matches('[')
            .trim_end_matches(']');
        let mut stream = TcpStream::connect((host, uri.authority.port)).await?;
        if uri.scheme == AMQPScheme::AMQP {
            stream.write_all(PROTOCOL_HEADER).await?;
            let first = stream.read_u8().await?;
            if first != METHOD_FRAME {
                return Err(std::io::Error::other(
                    "the server at the URL's address does not speak AMQP 0-9-1",
                ));
            }
        }
        Ok(())
    };
    match timeout(deadline, greet).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(unavailable(error)),
        Err(_elapsed) => Err(unavailable(
            "the broker accepts the connection and does not answer",
        )),
    }
}

/// Closes a connection, and waits for the broker's answer until the deadline at most. On a
/// connection that a resource alarm blocks, the broker never answers.
pub(crate) async fn close(connection: &Connection, deadline: Duration) {
    let _ = timeout(deadline, connection.close(200, "hookbox is done".into())).await;
}
