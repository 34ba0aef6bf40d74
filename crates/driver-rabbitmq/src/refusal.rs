//! Refusals by RabbitMQ, for example because of a wrong password or a missing right, each with the
//! command that fixes the cause. Refusals are recognised by the reply codes of AMQP 0-9-1.

use hookbox_driver::OpenError;
use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::uri::AMQPUri;

use crate::WHAT;

/// The pattern for `rabbitmqctl set_permissions` that matches the names of hookbox's queues.
const OURS: &str = r"^hookbox\.";

/// The pattern that matches hookbox's queues and the default exchange, through which hookbox
/// publishes everything.
const OURS_AND_DEFAULT: &str = r"^(hookbox\.|amq\.default$)";

/// The user and the virtual host of a URL, without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    user: String,
    vhost: String,
}

impl Account {
    pub fn of(uri: &AMQPUri) -> Self {
        Self {
            user: uri.authority.userinfo.username.clone(),
            vhost: uri.vhost.clone(),
        }
    }

    /// Converts an error of connecting or logging in into an error with a remedy, if the
    /// broker refused the operation.
    pub fn at_login(&self, error: lapin::Error) -> OpenError {
        let Self { user, vhost } = self;
        let (why, remedy) = match reply(&error) {
            Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)) => (
                format!("the broker refuses the login of the user {user:?}"),
                format!(
                    "correct the user name or the password in the URL, or run `rabbitmqctl \
                     change_password {} PASSWORD`",
                    quoted(user)
                ),
            ),
            Some(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)) => (
                format!(
                    "the broker does not let the user {user:?} into the virtual host {vhost:?}"
                ),
                // This reply code has three causes: the virtual host does not exist, the user lacks
                // rights in it, or a limit on connections is reached. So the remedy names all
                // three. The broker's text, which is shown after the remedy, says which cause it
                // is.
                format!(
                    "run `rabbitmqctl add_vhost {}` if the virtual host does not exist, and `{}`; \
                     if a limit on connections is reached, raise it: {}",
                    quoted(vhost),
                    self.grant(),
                    self.raise("max-connections")
                ),
            ),
            Some(_) | None if is_tls(&error) => (
                "the TLS connection to the broker is refused".to_owned(),
                "check that the broker's certificate is valid, is for the host name in the URL, \
                 and is signed by an authority that this system trusts"
                    .to_owned(),
            ),
            Some(_) | None => return unavailable(error),
        };
        refused(why, remedy, error)
    }

    /// Converts an error of checking the queues, consuming from them or publishing to them into an
    /// error with a remedy, if the broker refused the operation.
    pub fn at_queues(&self, error: lapin::Error) -> OpenError {
        let Self { user, vhost } = self;
        // After the login, RabbitMQ answers with this code (`not_allowed`) only when it refuses to
        // open a channel.
        if let Some(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)) = reply(&error) {
            let why = format!("the broker does not let the user {user:?} open another channel");
            let remedy = format!("raise the limit: {}", self.raise("max-channels"));
            return refused(why, remedy, error);
        }
        if !is_refused(&error) {
            return unavailable(error);
        }
        let why = format!(
            "the user {user:?} is missing a right in the virtual host {vhost:?} that it needs to \
             configure, publish to or consume from the queues"
        );
        refused(why, format!("run `{}`", self.grant()), error)
    }

    /// Converts an error of declaring a missing queue into an error with a remedy, if the
    /// broker refused the operation.
    pub fn at_declaration(&self, queue: &str, error: lapin::Error) -> OpenError {
        let Some((AMQPSoftError::PRECONDITIONFAILED, _)) = soft_error(&error) else {
            return self.at_queues(error);
        };
        let remedy = format!(
            "if the limit on queues is reached, raise it (`rabbitmqctl set_vhost_limits -p {} \
             '{{\"max-queues\": NUMBER}}'`), and run this command again",
            quoted(&self.vhost)
        );
        refused(
            format!("the broker does not declare the queue {queue}"),
            remedy,
            error,
        )
    }

    /// Returns the commands that raise a limit of the user, and also of the virtual host if virtual
    /// hosts have a limit of this name.
    fn raise(&self, limit: &str) -> String {
        let user = format!(
            "`rabbitmqctl set_user_limits {} '{{\"{limit}\": NUMBER}}'`",
            quoted(&self.user)
        );
        if limit != "max-connections" {
            return user;
        }
        format!(
            "`rabbitmqctl set_vhost_limits -p {} '{{\"{limit}\": NUMBER}}'` or {user}",
            quoted(&self.vhost)
        )
    }

    /// Returns the command that sets the user's permissions to exactly those that hookbox needs. It
    /// revokes all other permissions that the user has in this virtual host.
    fn grant(&self) -> String {
        format!(
            "rabbitmqctl set_permissions -p {} {} '{OURS}' '{OURS_AND_DEFAULT}' '{OURS}'",
            quoted(&self.vhost),
            quoted(&self.user)
        )
    }
}

/// Returns whether the user lacks a right.
pub(crate) fn is_refused(error: &lapin::Error) -> bool {
    matches!(soft_error(error), Some((AMQPSoftError::ACCESSREFUSED, _)))
}

/// Returns the code and the broker's text if the error is a soft error of AMQP, which closes a
/// channel; `None` for any other error.
pub(crate) fn soft_error(error: &lapin::Error) -> Option<(AMQPSoftError, String)> {
    let ErrorKind::ProtocolError(error) = error.kind() else {
        return None;
    };
    match error.kind() {
        AMQPErrorKind::Soft(kind) => Some((kind.clone(), error.get_message().to_string())),
        AMQPErrorKind::Hard(_) => None,
    }
}

/// Returns the error for a broker that cannot be used at the moment, where nothing shows that an
/// operator has to fix something.
pub(crate) fn unavailable(
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> OpenError {
    OpenError::Unavailable {
        what: WHAT,
        source: source.into(),
    }
}

fn refused(why: String, remedy: String, error: lapin::Error) -> OpenError {
    OpenError::Refused {
        what: WHAT,
        why,
        remedy,
        source: Some(error.into()),
    }
}

fn reply(error: &lapin::Error) -> Option<&AMQPErrorKind> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.kind()),
        // No other kind of error is a reply of the broker. The kinds cannot be listed, because
        // `lapin::ErrorKind` is `#[non_exhaustive]`.
        _ => None,
    }
}

fn is_tls(error: &lapin::Error) -> bool {
    let ErrorKind::IOError(error) = error.kind() else {
        return false;
    };
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<rustls::Error>())
}

/// Quotes a text as one word of a shell command.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use hookbox_driver::describe;
    use lapin::protocol::AMQPError;

    use super::*;

    fn account() -> Account {
        let uri: AMQPUri = "amqp://o'neil:hunter2@broker/orders".parse().unwrap();
        Account::of(&uri)
    }

    fn error(kind: impl Into<AMQPErrorKind>) -> lapin::Error {
        ErrorKind::ProtocolError(AMQPError::new(kind.into(), "the broker's text".into())).into()
    }

    /// Returns the text of an error that says what the broker refused.
    fn text(error: OpenError) -> String {
        assert!(matches!(error, OpenError::Refused { .. }), "{error:?}");
        let text = describe(&error);
        assert!(
            text.contains("the broker's text") && !text.contains("hunter2"),
            "{text}"
        );
        text
    }

    #[test]
    fn each_reply_code_has_its_remedy() {
        let account = account();
        let login = text(account.at_login(error(AMQPSoftError::ACCESSREFUSED)));
        assert!(
            login.contains(r"`rabbitmqctl change_password 'o'\''neil' PASSWORD`"),
            "{login}"
        );
        let vhost = text(account.at_login(error(AMQPHardError::NOTALLOWED)));
        assert!(
            vhost.contains("`rabbitmqctl add_vhost 'orders'`"),
            "{vhost}"
        );
        let grant = concat!(
            r"rabbitmqctl set_permissions -p 'orders' 'o'\''neil' ",
            r"'^hookbox\.' '^(hookbox\.|amq\.default$)' '^hookbox\.'",
        );
        assert!(vhost.contains(grant), "{vhost}");
        let queue = text(account.at_queues(error(AMQPSoftError::ACCESSREFUSED)));
        assert!(queue.contains(grant), "{queue}");
        let declared = text(account.at_declaration("q", error(AMQPSoftError::ACCESSREFUSED)));
        assert!(declared.contains(grant), "{declared}");
        let limit = text(account.at_declaration("q", error(AMQPSoftError::PRECONDITIONFAILED)));
        assert!(limit.contains("set_vhost_limits -p 'orders'"), "{limit}");
        let connections = [
            r#"`rabbitmqctl set_vhost_limits -p 'orders' '{"max-connections": NUMBER}'`"#,
            r#"`rabbitmqctl set_user_limits 'o'\''neil' '{"max-connections": NUMBER}'`"#,
        ];
        for command in connections {
            assert!(vhost.contains(command), "{vhost}");
        }
        let channels = text(account.at_queues(error(AMQPHardError::NOTALLOWED)));
        let command = r#"`rabbitmqctl set_user_limits 'o'\''neil' '{"max-channels": NUMBER}'`"#;
        assert!(channels.contains(command), "{channels}");
    }

    #[test]
    fn an_error_that_may_end_by_itself_is_unavailable() {
        let account = account();
        let io = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for passing in [
            account.at_login(error(AMQPHardError::INTERNALERROR)),
            account.at_login(error(AMQPHardError::CONNECTIONFORCED)),
            account.at_login(ErrorKind::IOError(Arc::new(io())).into()),
            account.at_login(ErrorKind::MissingHeartbeatError.into()),
            account.at_queues(error(AMQPSoftError::NOTFOUND)),
            account.at_declaration("q", error(AMQPSoftError::RESOURCELOCKED)),
        ] {
            assert!(
                matches!(passing, OpenError::Unavailable { .. }),
                "{passing:?}"
            );
        }
    }

    #[test]
    fn a_certificate_that_is_not_accepted_is_refused() {
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let error = std::io::Error::new(std::io::ErrorKind::InvalidData, expired);
        let error = account().at_login(ErrorKind::IOError(Arc::new(error)).into());
        assert!(matches!(error, OpenError::Refused { .. }), "{error:?}");
        assert!(describe(&error).contains("authority"), "{error:?}");
    }
}
