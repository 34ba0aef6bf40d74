//! One attempt to connect: preflight, connect and log in, each under its deadline.

use std::time::Duration;

use hookbox_driver::OpenError;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Options;

const WHAT: &str = "the broker";

/// What a client of AMQP 0-9-1 says first.
const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// The first byte of a method frame, which `connection.start` is.
const METHOD_FRAME: u8 = 1;

/// The URL, with what we insist on.
pub(crate) fn uri(options: &Options) -> Result<AMQPUri, OpenError> {
    let mut uri: AMQPUri = options
        .url
        .parse()
        .map_err(|why: String| OpenError::Options {
            what: WHAT,
            // The parser's text may quote the URL, and the URL may hold a password.
            why: if why.contains(&options.url) {
                "the URL cannot be read".into()
            } else {
                why
            },
        })?;
    uri.query.frame_max.get_or_insert(options.frame_bytes_max);
    uri.query.heartbeat.get_or_insert(options.heartbeat_seconds);
    Ok(uri)
}

/// Connects once.
pub(crate) async fn connect(options: &Options, purpose: &str) -> Result<Connection, OpenError> {
    let uri = uri(options)?;
    preflight(&uri, options.preflight_deadline).await?;
    let name = format!("hookbox {} {purpose}", options.environment);
    let properties = ConnectionProperties::default().with_connection_name(name.as_str().into());
    match timeout(
        options.connect_deadline,
        Connection::connect_uri(uri, properties),
    )
    .await
    {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(unavailable(error)),
        Err(_elapsed) => Err(unavailable("it did not complete the login in time")),
    }
}

/// A stopped broker takes connections and stays silent, and each attempt of the client library
/// would leak a thread (E5): a socket of our own finds out first.
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
                    "what answers there does not speak AMQP 0-9-1",
                ));
            }
        }
        Ok(())
    };
    match timeout(deadline, greet).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(unavailable(error)),
        Err(_elapsed) => Err(unavailable("it takes the connection and says nothing")),
    }
}

fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> OpenError {
    OpenError::Unavailable {
        what: WHAT,
        source: source.into(),
    }
}

/// Closes a connection; one that is blocked never answers (E9), so it is given up at a deadline.
pub(crate) async fn close(connection: &Connection, deadline: Duration) {
    let _ = timeout(deadline, connection.close(200, "hookbox is done".into())).await;
}
