//! Decides for each word of a dead letter's detail whether it is copied into the cause, or is
//! replaced because it is a number, a time or an id.

/// The largest number of characters of a code that is copied. An SQLSTATE has five, an HTTP status
/// has three.
const CODE_CHARS_MAX: usize = 5;

/// A word that consists of at least this many hex digits is an id.
const HEX_DIGITS_MIN: usize = 8;

/// A word of letters and digits with at least this many digits is an id. Names such as `int4` and
/// `address2` have fewer.
const ID_DIGITS_MIN: usize = 3;

/// A word in which letters and digits alternate at least this often, as in `a1b2`, is an id.
const ID_CHANGES_MIN: usize = 3;

/// The largest number of characters of a unit after a number, such as "ms" in "250ms". Such a unit
/// is copied into the cause.
const UNIT_CHARS_MAX: usize = 4;

/// The words that announce a code. The code that follows is copied unchanged.
const CODE_WORDS: [&str; 6] = ["code", "sqlstate", "status", "http", "errno", "error"];

/// The word that announces the status of an HTTP answer, as in "the service answered 404".
const ANSWERED: &str = "answered";

/// The words that announce a quoted name. The name that follows is copied and not replaced by
/// `<value>`.
const NAME_WORDS: [&str; 22] = [
    "column",
    "relation",
    "constraint",
    "table",
    "function",
    "type",
    "schema",
    "role",
    "property",
    "field",
    "database",
    "index",
    "view",
    "sequence",
    "trigger",
    "operator",
    "extension",
    "parameter",
    "header",
    "topic",
    "enum",
    "domain",
];

/// Returns whether a code may follow this word.
pub(super) fn precedes_code(word: &str) -> bool {
    CODE_WORDS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(word))
}

/// Returns whether the word is the status of an HTTP answer, which the word before announces.
pub(super) fn is_status(before: &str, word: &str) -> bool {
    let is_class = |first: &u8| (b'1'..=b'5').contains(first);
    before.eq_ignore_ascii_case(ANSWERED)
        && word.len() == 3
        && word.as_bytes().first().is_some_and(is_class)
        && word.bytes().all(|c| c.is_ascii_digit())
}

/// Returns whether a quoted text that follows this word is a name.
pub(super) fn precedes_name(word: &str) -> bool {
    NAME_WORDS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(word))
}

/// Returns whether the word can be a code, such as an SQLSTATE.
pub(super) fn is_code(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= CODE_CHARS_MAX
        && word.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Returns whether the text can be the name of a column, a constraint or a field.
pub(super) fn is_name(text: &str) -> bool {
    const NAME_BYTES_MAX: usize = 63;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./$-<>".contains(c);
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.chars().all(plain)
}

/// Returns the word with its numbers, times and ids replaced by placeholders. A number may have
/// `.,:+-` between its digits.
pub(super) fn replaced(word: &str) -> String {
    if !word.contains(|c: char| c.is_ascii_digit()) {
        return word.to_owned();
    }
    if is_moment(word) {
        return "<time>".to_owned();
    }
    let digits_end = word
        .find(|c: char| !c.is_ascii_digit() && !".,:+-".contains(c))
        .unwrap_or(word.len());
    let (number, unit) = word.split_at(digits_end);
    if unit.is_empty() {
        return "<n>".to_owned();
    }
    if !number.is_empty() && !is_hex(word) && !word.starts_with("0x") {
        if word.parse::<f64>().is_ok() {
            return "<n>".to_owned();
        }
        let is_unit = unit.chars().all(char::is_alphabetic);
        if is_unit && unit.chars().count() <= UNIT_CHARS_MAX {
            return format!("<n>{unit}");
        }
    }
    word.split('_').map(part).collect::<Vec<_>>().join("_")
}

/// Returns the placeholder for a part of a word that is a number or an id, otherwise the part
/// itself. The parts of a word are separated by underscores.
fn part(part: &str) -> &str {
    let digits = part.chars().filter(char::is_ascii_digit).count();
    if digits == 0 {
        return part;
    }
    if digits == part.len() {
        return "<n>";
    }
    let is_digit: Vec<bool> = part.chars().map(|c| c.is_ascii_digit()).collect();
    let changes = is_digit.windows(2).filter(|two| two[0] != two[1]).count();
    let is_id = digits >= ID_DIGITS_MIN
        || changes >= ID_CHANGES_MIN
        || is_hex(part)
        || part.starts_with("0x");
    if is_id { "<id>" } else { part }
}

fn is_hex(word: &str) -> bool {
    word.len() >= HEX_DIGITS_MIN && word.chars().all(|c| c.is_ascii_hexdigit())
}

/// Returns whether the word is a date ("2026-11-26"), with or without a time of day.
fn is_moment(word: &str) -> bool {
    let bytes = word.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes
            .get(range)
            .is_some_and(|bytes| bytes.iter().all(u8::is_ascii_digit))
    };
    digits(0..4)
        && bytes.get(4) == Some(&b'-')
        && digits(5..7)
        && bytes.get(7) == Some(&b'-')
        && digits(8..10)
}
