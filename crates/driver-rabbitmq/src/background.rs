//! The runtime for AMQP. It is separate from the runtime of the rest of the process, so that a busy
//! handler does not delay heartbeats.

use hookbox_driver::OpenError;
use tokio::runtime::Runtime;

use crate::{WHAT, fallback_runtime};

/// The number of threads of the runtime. Heartbeats are sent from these threads, so nothing may
/// block or compute on them.
const THREADS: usize = 2;

/// A runtime that shuts down in the background when it is dropped. An ordinary runtime blocks when
/// it is dropped, which is not allowed in an async context.
pub(crate) struct Background(pub Option<Runtime>);

impl Background {
    /// Starts the threads of a runtime for AMQP.
    pub fn start(name: &str) -> Result<Self, OpenError> {
        let no_threads = |error| OpenError::Options {
            what: WHAT,
            why: format!("no threads could be started for the driver ({error})"),
        };
        fallback_runtime::make().map_err(no_threads)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name(name)
            .enable_all()
            .build()
            .map_err(no_threads)?;
        Ok(Self(Some(runtime)))
    }

    pub fn handle(&self) -> tokio::runtime::Handle {
        self.0
            .as_ref()
            .map_or_else(tokio::runtime::Handle::current, |it| it.handle().clone())
    }

    pub fn keep(mut self) -> Option<Runtime> {
        self.0.take()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
