//! The canonical form of JSON strings (RFC 8785 §3.2.2.2).

/// The content of a JSON string: characters, and lone surrogates, which are half of a surrogate
/// pair.
///
/// JSON's grammar (RFC 8259) allows a lone surrogate, as in `"\ud800"`, although it is no Unicode
/// character. A lone surrogate gets a canonical form too, because a genuine body that contains one
/// must be identified and stored like others.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// The canonical form of the string, without the quotes.
    pub canonical: Vec<u8>,
    /// The content as a Rust string; `None` if the JSON string contains a lone surrogate.
    pub value: Option<String>,
}

impl Text {
    pub fn new() -> Self {
        Self {
            canonical: Vec::new(),
            value: Some(String::new()),
        }
    }

    pub fn push(&mut self, c: char) {
        match c {
            '"' => self.canonical.extend(b"\\\""),
            '\\' => self.canonical.extend(b"\\\\"),
            '\u{8}' => self.canonical.extend(b"\\b"),
            '\u{c}' => self.canonical.extend(b"\\f"),
            '\n' => self.canonical.extend(b"\\n"),
            '\r' => self.canonical.extend(b"\\r"),
            '\t' => self.canonical.extend(b"\\t"),
            c if c < ' ' => self
                .canonical
                .extend(format!("\\u{:04x}", u32::from(c)).bytes()),
            c => self.canonical.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
        if let Some(value) = &mut self.value {
            value.push(c);
        }
    }

    /// Appends a run of characters that need no escape.
    pub fn push_plain(&mut self, run: &str) {
        self.canonical.extend(run.bytes());
        if let Some(value) = &mut self.value {
            value.push_str(run);
        }
    }

    pub fn push_lone_surrogate(&mut self, unit: u16) {
        self.canonical.extend(format!("\\u{unit:04x}").bytes());
        self.value = None;
    }
}
