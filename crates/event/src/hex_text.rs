//! Writes digests in hex without allocating memory, because several are written per event.

/// The hex text of 32 bytes.
pub(crate) struct HexText([u8; 64]);

impl HexText {
    pub fn of(bytes: &[u8; 32]) -> Self {
        let mut text = [0; 64];
        // Encoding fails only when the lengths differ.
        let _ = hex::encode_to_slice(bytes, &mut text);
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        // Hex is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}
