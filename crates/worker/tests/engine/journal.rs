//! Records the operations of the memory store and of the memory broker in one list, in the order
//! in which they happened. A test can then check, for example, that a commit came before an ack.

use std::sync::Mutex;

#[derive(Default)]
pub struct Journal(Mutex<Vec<String>>);

impl Journal {
    pub fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    /// Returns the entries that start with one of these words, in the order in which they were
    /// recorded.
    pub fn only(&self, words: &[&str]) -> Vec<String> {
        let entries = self.0.lock().unwrap();
        let wanted = |entry: &&String| words.iter().any(|word| entry.starts_with(word));
        entries.iter().filter(wanted).cloned().collect()
    }
}
