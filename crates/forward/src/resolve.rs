//! Resolves the name of a host. The resolver is an argument, so that tests control its answers.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// The most names that are resolved at the same time. Each lookup occupies a thread. If no name
/// server answers, the thread waits for up to half a minute, even after the call was given up.
/// Without this limit, such lookups would occupy all blocking threads of the runtime, which other
/// parts of the process need.
const LOOKUPS_MAX: usize = 8;

/// The most lookups of one name at the same time: one that gets no answer, and its repetition. This
/// is less than `LOOKUPS_MAX`, so that a name whose name servers do not answer cannot use up all
/// lookups, and the names of other targets can still be resolved.
const LOOKUPS_OF_NAME_MAX: usize = 2;

/// Resolves names of hosts to addresses.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// Returns the addresses of a host, in the order in which they should be tried.
    ///
    /// # Errors
    /// When the name does not exist, or no name server answers.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system, which also reads `/etc/hosts`.
#[derive(Debug)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
    /// The permits for lookups of each name. The map has no more names than the config.
    of_names: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl SystemResolver {
    /// Creates the resolver. All clients of a process share one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            of_names: Mutex::default(),
        }
    }

    fn of_name(&self, host: &str) -> Arc<Semaphore> {
        let mut of_names = self.of_names.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Semaphore::new(LOOKUPS_OF_NAME_MAX));
        Arc::clone(of_names.entry(host.to_owned()).or_insert_with(new))
    }

    /// Runs `lookup` on a thread as soon as `LOOKUPS_MAX` and `LOOKUPS_OF_NAME_MAX` allow it.
    async fn run<T: Send + 'static>(
        &self,
        host: &str,
        lookup: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let of_name = self.of_name(host).acquire_owned().await;
        let of_name = of_name.map_err(io::Error::other)?;
        let permit = Arc::clone(&self.lookups).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let lookup = spawn_blocking(move || {
            // The permits are given back when the lookup has ended, even if its call was given up
            // before.
            let _permits = (of_name, permit);
            lookup()
        });
        lookup.await.map_err(io::Error::other)?
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let name = host.to_owned();
        self.run(host, move || {
            let found = (name.as_str(), 0).to_socket_addrs()?;
            Ok(found.map(|address| address.ip()).collect())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_name_without_an_answer_leaves_lookups_for_other_names() {
        let resolver = SystemResolver::new();
        // Each of these lookups ends when the test drops its sender.
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..=LOOKUPS_MAX).map(|_| mpsc::channel::<()>()).unzip();
        let hanging = receivers.into_iter().map(|receiver| {
            let lookup = move || {
                // This waits until the test drops the sender, and then returns an error.
                let _ = receiver.recv();
                Ok(())
            };
            Box::pin(resolver.run("slow.test", lookup))
        });
        let mut hanging: Vec<_> = hanging.collect();
        poll_fn(|context| {
            for lookup in &mut hanging {
                assert!(lookup.as_mut().poll(context).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        let mut other = pin!(resolver.run("other.test", || Ok(7)));
        let found = timeout(Duration::from_secs(60), other.as_mut()).await;
        drop(senders);
        assert_eq!(found.unwrap().unwrap(), 7);
        for lookup in hanging {
            lookup.await.unwrap();
        }
    }
}
