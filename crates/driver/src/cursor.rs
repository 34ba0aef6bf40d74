//! Cursors: a cursor names the last row of a page of a list. The next page begins after that row,
//! however many rows were added since.

use std::fmt;
use std::str::FromStr;

use hookbox_event::{EventId, ReceiptId, RouteName, Timestamp};

/// A position in a list of events on routes. The list is ordered by one of the times of each event.
/// Rows with the same time are ordered by event and route. On the command line, `--after` takes a
/// cursor as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCursor {
    /// The time by which the list orders this row.
    pub at: Timestamp,
    /// The event of the row.
    pub event: EventId,
    /// The route of the row.
    pub route: RouteName,
}

/// A position in the list of refusals, which is ordered by the time of the refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalCursor {
    /// When the request was refused.
    pub at: Timestamp,
    /// The id of the refused request.
    pub request: ReceiptId,
}

/// The error for a text that is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cursor must be what the previous page printed after \"next: --after\"")]
pub struct InvalidCursor;

/// The separator between the parts of a cursor. No number, id or route name contains it.
const SEPARATOR: char = '.';

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.at.unix_micros();
        write!(
            f,
            "{micros}{SEPARATOR}{}{SEPARATOR}{}",
            self.event, self.route
        )
    }
}

impl FromStr for EventCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let mut parts = text.splitn(3, SEPARATOR);
        let mut part = || parts.next().ok_or(InvalidCursor);
        Ok(Self {
            at: moment(part()?)?,
            event: part()?.parse().map_err(|_| InvalidCursor)?,
            route: part()?.parse().map_err(|_| InvalidCursor)?,
        })
    }
}

impl fmt::Display for RefusalCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{SEPARATOR}{}", self.at.unix_micros(), self.request)
    }
}

impl FromStr for RefusalCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (at, request) = text.split_once(SEPARATOR).ok_or(InvalidCursor)?;
        Ok(Self {
            at: moment(at)?,
            request: request.parse().map_err(|_| InvalidCursor)?,
        })
    }
}

fn moment(micros: &str) -> Result<Timestamp, InvalidCursor> {
    let micros = micros.parse().map_err(|_| InvalidCursor)?;
    Ok(Timestamp::from_unix_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_written_and_read_again() {
        for micros in [i64::MIN, -1, 0, 1_790_000_000_123_456] {
            let at = Timestamp::from_unix_micros(micros);
            let event = EventCursor {
                at,
                event: EventId::from_bytes([0xa7; 16]),
                route: "a-b_c".parse().expect("the route name must be valid"),
            };
            assert_eq!(event.to_string().parse(), Ok(event));
            let refusal = RefusalCursor {
                at,
                request: ReceiptId::from_bytes([0xa7; 16]),
            };
            assert_eq!(refusal.to_string().parse(), Ok(refusal));
        }
        for text in ["", "1", "1.2", "1.2.3", "x.y.z", "...."] {
            assert_eq!(text.parse::<EventCursor>(), Err(InvalidCursor), "{text}");
            assert_eq!(text.parse::<RefusalCursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
