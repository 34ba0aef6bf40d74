//! A deployment whose database takes no score, so that a handler fails.

use crate::deployment::Deployment;

impl Deployment {
    /// No score can be written any more, so a handler that writes one fails. Not for a table that
    /// is missing: PostgreSQL's word for that is the deployment's fault, and costs no attempt.
    pub async fn refuse_scores(&self) {
        self.execute(if self.is_on_postgres() {
            "alter table begini_scores add constraint refused check (score < 0) not valid"
        } else {
            "alter table begini_scores rename to elsewhere"
        })
        .await;
    }

    /// Scores can be written again.
    pub async fn take_scores(&self) {
        self.execute(if self.is_on_postgres() {
            "alter table begini_scores drop constraint refused"
        } else {
            "alter table elsewhere rename to begini_scores"
        })
        .await;
    }

    fn is_on_postgres(&self) -> bool {
        self.postgres.is_some() || self.own.is_some()
    }
}
