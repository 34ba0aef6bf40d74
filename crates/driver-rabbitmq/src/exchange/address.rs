//! Builds the text by which hookbox names an exchange. It contains the address of the broker, but
//! not the user. Operators see it, and it is also the name of the target of calls to the exchange.

use std::fmt::Write as _;

use lapin::uri::AMQPUri;

/// Returns the name of an exchange, which contains the broker's first node and virtual host:
/// `amqps://rabbit.example.com:5671/orders/events`. Characters other than visible ASCII are
/// percent-encoded.
pub(super) fn name(first: &AMQPUri, exchange: &str) -> String {
    let host = first.authority.host.to_ascii_lowercase();
    let (scheme, port) = (&first.scheme, first.authority.port);
    let mut name = if host.contains(':') {
        format!("{scheme}://[{host}]:{port}/")
    } else {
        format!("{scheme}://{host}:{port}/")
    };
    encode(&first.vhost, &mut name);
    name.push('/');
    encode(exchange, &mut name);
    name
}

fn encode(text: &str, name: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'/' | b'%') {
            name.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_name_says_where_messages_go_and_not_with_which_account() {
        for (url, exchange, expect) in [
            (
                "amqp://u:hunter2@Rabbit",
                "orders",
                "amqp://rabbit:5672/%2F/orders",
            ),
            (
                "amqps://u:hunter2@rabbit:1234/shop",
                "or ders/ä%",
                "amqps://rabbit:1234/shop/or%20ders%2F%C3%A4%25",
            ),
        ] {
            assert_eq!(name(&url.parse().unwrap(), exchange), expect);
        }
        let mut ipv6: AMQPUri = "amqp://u:hunter2@a/".parse().unwrap();
        ipv6.authority.host = "2001:DB8::7".to_owned();
        assert_eq!(name(&ipv6, "orders"), "amqp://[2001:db8::7]:5672//orders");
    }
}
