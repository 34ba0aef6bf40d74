//! The characters that a terminal interprets instead of showing them.

/// Returns whether a terminal may interpret this character instead of showing it. Such characters
/// move the cursor, change the terminal's settings (C0 and C1 controls), or change the direction of
/// the text after them.
pub fn is_unsafe(c: char) -> bool {
    c.is_control() || is_bidi_control(c)
}

/// Returns whether this character changes the direction of the following text.
fn is_bidi_control(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}
