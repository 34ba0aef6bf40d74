//! Determines whether a third party on the network could read the traffic to the broker, or forge
//! answers of the broker.

use hookbox_driver::{OpenError, is_loopback};
use http::Uri;
use lapin::uri::AMQPScheme;

use crate::{Options, management, nodes};

impl Options {
    /// Returns whether no third party can read or forge the traffic: every node is on this machine,
    /// or is reached over TLS. This driver never uses TLS without verifying the server. This
    /// function parses the URL in the same way as a connection attempt, but does not connect. An
    /// invalid URL is an error, so it is refused when the process starts.
    pub fn is_protected(&self) -> Result<bool, OpenError> {
        let uris = nodes::uris(self)?;
        Ok(uris.iter().all(|uri| match uri.scheme {
            AMQPScheme::AMQPS => true,
            AMQPScheme::AMQP => is_loopback(&uri.authority.host),
        }))
    }

    /// Returns whether no third party can read or forge the traffic to the management API; `true`
    /// when the options name no such API.
    pub fn is_management_protected(&self) -> Result<bool, OpenError> {
        let Some(url) = &self.management else {
            return Ok(true);
        };
        let (_, base) = management::read(url)?;
        let uri: Option<Uri> = base.parse().ok();
        let is_local = uri.as_ref().and_then(Uri::host).is_some_and(is_loopback);
        Ok(is_local || base.starts_with("https://"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn options(url: &str) -> Options {
        Options::new(url, "test".parse().unwrap(), Vec::new())
    }

    #[test]
    fn a_connection_off_this_machine_is_protected_only_by_tls() {
        for (url, expect) in [
            ("amqp://localhost", true),
            ("amqp://u:p@127.0.0.1:5672/%2f", true),
            ("amqp://u:p@[::1]:5672", true),
            ("amqp://u:p@[2001:db8::7]:5672", false),
            ("amqp://u:p@localhost,[2001:db8::7]", false),
            ("amqps://u:p@[2001:db8::7]", true),
            ("amqps://u:p@rabbit.example/v", true),
            ("amqp://u:p@rabbit.example/v", false),
            ("amqp://u:p@10.0.0.7", false),
            ("amqps://u:p@a:5671,b:5671/v", true),
            ("amqp://u:p@localhost,b:5672/v", false),
        ] {
            assert_eq!(options(url).is_protected().unwrap(), expect, "{url}");
        }
        assert!(options("http://localhost").is_protected().is_err());
    }

    #[test]
    fn a_management_api_off_this_machine_is_protected_only_by_tls() {
        for (url, expect) in [
            ("http://localhost:15672", true),
            ("http://u:p@127.0.0.1:15672", true),
            ("http://[::1]:15672", true),
            ("https://rabbit.example:15671", true),
            ("http://rabbit.example:15672", false),
            ("http://u:p@localhost@rabbit.example", false),
        ] {
            let mut options = options("amqp://localhost");
            options.management = Some(url.to_owned());
            assert_eq!(options.is_management_protected().unwrap(), expect, "{url}");
        }
        let none = options("amqp://localhost").is_management_protected();
        assert!(
            none.unwrap(),
            "without a management API, no connection needs protection"
        );
    }
}
