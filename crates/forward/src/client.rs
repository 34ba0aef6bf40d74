//! The client: makes the calls to one target.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookbox_event::Timestamp;
use hookbox_signature::Key;
use http::{HeaderMap, Request};
use http_body_util::Full;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::connect::{ConnectError, Connector};
use crate::connection::{Connection, Deadlines, ExchangeError};
use crate::error::{CallClass, CallError, with_causes};
use crate::invalid::InvalidSettings;
use crate::limits::Limits;
use crate::pool::Pool;
use crate::request::{self, Call};
use crate::resolve::Resolve;
use crate::settings::{ReadSecret, Settings};
use crate::target::Target;
use crate::{headers, keys, trust};

/// How long the client waits for the body of an answer after the head has arrived. The status in
/// the head decides what becomes of the event. The body is read only for the excerpt, and so that
/// the next call can use the connection.
const BODY_WAIT: Duration = Duration::from_secs(2);

/// Makes calls to one target. Any number of calls may run at the same time. The only task of a
/// client closes idle connections. It runs on the runtime of the calls, and ends with the client.
pub struct Client {
    connector: Connector,
    resolve: Arc<dyn Resolve>,
    keys: Vec<Key>,
    headers: HeaderMap,
    limits: Limits,
    pool: Pool,
}

/// Why a call has no answer.
enum NoAnswer {
    Connect(ConnectError),
    Exchange(ExchangeError),
}

impl Client {
    /// Creates the client from its settings, without opening a connection. A relative path in the
    /// settings is relative to `folder`, the folder of the config file. `read_secret` reads the
    /// secrets to which the settings refer.
    ///
    /// # Errors
    /// When the settings cannot be used. The error names the config key.
    pub fn new(
        settings: &Settings,
        folder: &Path,
        read_secret: ReadSecret<'_>,
        resolve: Arc<dyn Resolve>,
    ) -> Result<Self, InvalidSettings> {
        let target = Target::read(&settings.url, settings.private_host.as_deref())?;
        let ca_file = settings.ca_file.as_deref().map(|path| folder.join(path));
        let tls = match (target.is_secure, &ca_file) {
            (true, ca_file) => Some(trust::connector(ca_file.as_deref())?),
            (false, None) => None,
            (false, Some(path)) => {
                let why = "url begins with http://, so no certificate is verified".to_owned();
                let path = path.clone();
                return Err(InvalidSettings::CaFile { path, why });
            }
        };
        Ok(Self {
            limits: Limits::read(&settings.limits)?,
            keys: keys::read(&settings.secrets, read_secret)?,
            headers: headers::read(settings, read_secret)?,
            connector: Connector::new(target, tls),
            resolve,
            pool: Pool::default(),
        })
    }

    /// Returns the time limits of a call. No call takes longer than `total`.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns where calls go, for logs: scheme, host and port of the URL.
    #[must_use]
    pub fn target(&self) -> String {
        self.connector.target.to_string()
    }

    /// Posts an event, and waits for the answer. When the future is dropped, the call is given up,
    /// and its connection is closed.
    ///
    /// # Errors
    /// When the service has not confirmed the event. The error says what follows from the failure.
    /// Unless the service has refused the event, it may have processed the event all the same.
    pub async fn call(&self, call: &Call) -> Result<(), CallError> {
        let began = Instant::now();
        let deadline = began + self.limits.total;
        let request = request::of(call, &self.connector.target, &self.keys, &self.headers);
        let answer = self.answer(request, deadline).await;
        let answer = answer.map_err(|error| self.failure(&error, began))?;
        answer.result(time_after(call.now, began), &self.connector.target)
    }

    async fn answer(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Answer, NoAnswer> {
        if let Some(used) = self.pool.take(Instant::now()).await {
            match self.exchange(used, request.clone(), deadline).await {
                // The service may have closed the connection at the moment at which the request was
                // sent. The repeated request has the same idempotency key, so it is safe.
                Err(ExchangeError::Lost(_)) => {}
                Err(error) => return Err(NoAnswer::Exchange(error)),
                Ok(answer) => return Ok(answer),
            }
        }
        let connect_deadline = deadline.min(Instant::now() + self.limits.connect);
        let stream = self.connector.connect(&*self.resolve, connect_deadline);
        let stream = stream.await.map_err(NoAnswer::Connect)?;
        let connection = Connection::open(stream).await.map_err(NoAnswer::Exchange)?;
        let answer = self.exchange(connection, request, deadline).await;
        answer.map_err(NoAnswer::Exchange)
    }

    async fn exchange(
        &self,
        connection: Connection,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Answer, ExchangeError> {
        let deadlines = Deadlines {
            head: deadline.min(Instant::now() + self.limits.first_byte),
            body: deadline,
            body_wait: BODY_WAIT,
        };
        let (answer, connection) = connection.exchange(request, deadlines).await?;
        if let Some(connection) = connection {
            self.pool.put(connection, Instant::now());
        }
        Ok(answer)
    }

    fn failure(&self, error: &NoAnswer, began: Instant) -> CallError {
        match error {
            NoAnswer::Connect(error) => CallError::new(CallClass::TargetFault, error.text()),
            NoAnswer::Exchange(error @ (ExchangeError::Lost(_) | ExchangeError::Malformed(_))) => {
                CallError::new(CallClass::Unanswered, with_causes(error))
            }
            NoAnswer::Exchange(ExchangeError::Late) => {
                let (limit, key) = if began.elapsed() >= self.limits.total {
                    (self.limits.total, "total")
                } else {
                    (self.limits.first_byte, "first_byte")
                };
                let text = format!(
                    "{} accepted the connection and did not answer within {limit:?} (limits.{key})",
                    self.connector.target
                );
                CallError::new(CallClass::Unanswered, text)
            }
        }
    }
}

/// Returns the present time: the time `then`, which it was at the moment `began`, and what has
/// passed since.
fn time_after(then: Timestamp, began: Instant) -> Timestamp {
    then.saturating_add(began.elapsed())
}
