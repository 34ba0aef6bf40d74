//! Makes the database of a deployment reject every score, so that the handler of a score event
//! fails.

use crate::deployment::Deployment;

impl Deployment {
    /// Makes every handler that writes a score fail. On PostgreSQL a constraint rejects the rows.
    /// The test does not remove the table, because a missing table counts as a fault of the
    /// deployment and costs no attempt.
    pub async fn refuse_scores(&self) {
        self.execute(if self.is_on_postgres() {
            "alter table begini_scores add constraint refused check (score < 0) not valid"
        } else {
            "alter table begini_scores rename to elsewhere"
        })
        .await;
    }

    /// Reverts [`Deployment::refuse_scores`]: handlers can write scores again.
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
