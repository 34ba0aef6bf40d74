//! Parses durations and sizes with their units.

#[cfg(test)]
use std::time::Duration;

/// Parses a duration such as "5 s", "250 ms" or "1.5 h". The schema has already checked the form.
pub use hookbox_event::parse_duration as duration;

/// Parses a size such as "1 MiB", "512 KiB" or "100 B", and returns it in bytes.
pub fn size(text: &str) -> Result<usize, String> {
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let bytes: usize = match unit {
        "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => {
            return Err(format!(
                "{text:?} has no unit: write B, KiB or MiB after the number"
            ));
        }
    };
    let number: usize = number
        .trim()
        .parse()
        .map_err(|_| format!("{text:?} does not begin with a number"))?;
    number
        .checked_mul(bytes)
        .ok_or_else(|| format!("{text:?} is too large"))
}

/// Returns a duration as it is written in the config file, in the largest unit that needs no
/// fraction.
#[cfg(test)]
pub fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)];
    let whole = |(_, unit): &(&str, u128)| millis > 0 && millis.is_multiple_of(*unit);
    let seconds = if millis.is_multiple_of(1000) {
        ("s", 1000)
    } else {
        ("ms", 1)
    };
    let (name, unit) = units.into_iter().find(whole).unwrap_or(seconds);
    format!("{} {name}", millis / unit)
}

/// Returns a number of bytes as it is written in the config file, in the largest unit that needs no
/// fraction.
#[cfg(test)]
pub fn size_text(bytes: usize) -> String {
    let units = [("MiB", 1024 * 1024), ("KiB", 1024)];
    let whole = |(_, unit): &(&str, usize)| bytes > 0 && bytes.is_multiple_of(*unit);
    let (name, unit) = units.into_iter().find(whole).unwrap_or(("B", 1));
    format!("{} {name}", bytes / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        assert_eq!(size("1 MiB"), Ok(1_048_576));
        assert!(size("1 GB").is_err() && size("99999999999999999999 B").is_err());
    }

    #[test]
    fn values_are_written_as_they_are_read() {
        for text in ["0 s", "250 ms", "75 s", "1 min", "6 h", "7 d"] {
            assert_eq!(duration(text).map(duration_text).as_deref(), Ok(text));
        }
        for text in ["0 B", "100 B", "16 KiB", "1024 MiB"] {
            assert_eq!(size(text).map(size_text).as_deref(), Ok(text));
        }
    }
}
