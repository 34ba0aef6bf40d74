//! Replaces the certificate that new connections get.

use hookbox_event::Timestamp;

use super::Reloader;
use crate::tls;

impl Reloader {
    /// Reads the certificate and its private key, unless the config has a mistake in these
    /// settings.
    pub(super) fn exchange_certificate(
        &mut self,
        mistake: Option<String>,
        now: Timestamp,
    ) -> Option<String> {
        let target = self.targets.certificate.as_ref()?;
        let read = match mistake {
            Some(why) => Err(why),
            None => tls::read(&self.config, now).map_err(|error| format!("{error:#}")),
        };
        self.broken.certificate.start_read();
        match read {
            Ok(renewed) => {
                let (path, _) = self.config.ingest.tls.as_ref()?;
                let path = path.display();
                let is_other = target.replace(renewed?);
                is_other.then(|| format!("new connections get the certificate in {path}"))
            }
            Err(why) => {
                if self.broken.certificate.fail(&why) {
                    tracing::error!(why, "the certificate stays as it was, since {why}");
                }
                None
            }
        }
    }
}
