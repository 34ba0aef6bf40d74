//! Writes digests and ids in hex without allocating memory, because several are written per event.

/// The hex text of at most 32 bytes.
pub(crate) struct HexText {
    digits: [u8; 64],
    length: usize,
}

impl HexText {
    pub fn of<const N: usize>(bytes: &[u8; N]) -> Self {
        const { assert!(N <= 32) }
        let mut digits = [0; 64];
        // Encoding fails only if the lengths differ, and they are equal here.
        let _ = hex::encode_to_slice(bytes, &mut digits[..2 * N]);
        Self {
            digits,
            length: 2 * N,
        }
    }

    pub fn as_str(&self) -> &str {
        // Hex digits are ASCII, so they are always valid UTF-8.
        std::str::from_utf8(&self.digits[..self.length]).unwrap_or_default()
    }
}
