//! Shortens a failing input for as long as it still fails.

/// The number of tries to shorten an input. A shorter input helps people, but any failing input
/// will do.
const TRIES_MAX: usize = 2_000;

/// Removes ever smaller pieces of the input, and keeps each removal after which the input still
/// fails.
pub fn minimise(input: &[u8], mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut shortest = input.to_vec();
    let mut tries = 0;
    let mut piece = shortest.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < shortest.len() && tries < TRIES_MAX {
            let mut shorter = shortest.clone();
            drop(shorter.drain(at..shortest.len().min(at + piece)));
            tries += 1;
            if fails(&shorter) {
                shortest = shorter;
            } else {
                at += piece;
            }
        }
        if piece == 1 || tries >= TRIES_MAX {
            return shortest;
        }
        piece = piece.div_ceil(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_goes() {
        let fails = |input: &[u8]| input.windows(2).any(|two| two == b"ab");
        assert_eq!(minimise(b"xxxxxabyyyyyyyyyy", fails), b"ab");
    }
}
