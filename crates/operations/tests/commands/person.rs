//! Fake operators, whose answers and interrupts a test sets.

use hookbox_operations::{NoAnswer, Operator};

/// A fake operator. It gives the answer that the test has set to every question. If no answer is
/// set, it acts as if there were no terminal. It interrupts a command that has reported its
/// progress more than `interrupts_after` times, or at a question.
#[derive(Default)]
pub struct Person {
    pub answer: Option<bool>,
    pub asked: Vec<String>,
    pub progress: Vec<(u64, u64)>,
    pub interrupts_after: Option<usize>,
    pub interrupts_questions: bool,
}

impl Operator for Person {
    fn ask(&mut self, question: &str) -> Result<bool, NoAnswer> {
        self.asked.push(question.to_owned());
        self.answer.ok_or(NoAnswer::NoTerminal)
    }

    fn progress(&mut self, done: u64, total: u64) {
        self.progress.push((done, total));
    }

    fn interrupted(&self) -> bool {
        let at_question = self.interrupts_questions && !self.asked.is_empty();
        let in_progress = |after| self.progress.len() > after;
        at_question || self.interrupts_after.is_some_and(in_progress)
    }
}

/// An operator who answers every question with yes, after the closure has changed the store.
pub struct Meanwhile<F>(pub F);

impl<F: FnMut() + Send> Operator for Meanwhile<F> {
    fn ask(&mut self, _: &str) -> Result<bool, NoAnswer> {
        (self.0)();
        Ok(true)
    }

    fn progress(&mut self, _: u64, _: u64) {}

    fn interrupted(&self) -> bool {
        false
    }
}
