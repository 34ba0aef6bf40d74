//! Parses durations as they are written in a config: a number and a unit.

use std::time::Duration;

/// The longest duration: 100 years. Nothing waits for longer, and it can be added to any present
/// time without an overflow.
const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);

/// Parses a duration such as "5 s", "250 ms" or "1.5 h".
///
/// # Errors
/// Returns what is wrong, if the text is not a number with a unit, or if the duration is negative
/// or longer than 100 years.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => {
            return Err(format!(
                "{text:?} has no unit: write ms, s, min, h or d after the number"
            ));
        }
    };
    let number: f64 = number
        .trim()
        .parse()
        .map_err(|_| format!("{text:?} does not begin with a number"))?;
    let duration = Duration::try_from_secs_f64(number * seconds).ok();
    duration
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| format!("{text:?} is negative or longer than 36500 d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        assert_eq!(parse_duration("250 ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("2 d"), Ok(Duration::from_secs(172_800)));
        assert!(parse_duration("5").is_err() && parse_duration("s").is_err());
        assert!(parse_duration("99999999999999999999999 d").is_err());
    }

    /// A process adds durations to the present time, which must not overflow.
    #[test]
    fn a_duration_can_be_added_to_the_present_time() {
        assert_eq!(parse_duration("36500 d"), Ok(LONGEST));
        for text in ["36501 d", "9999999999999999999 s", "-1 s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
