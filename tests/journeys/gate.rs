//! A gate that holds up handlers in the middle of their statement for as long as a test wants. A
//! lock cannot do this, because PostgreSQL ends the wait for a lock after a while.

use crate::deployment::Deployment;

/// A query that counts the handlers in this database that the gate holds up.
pub const HELD_UP: &str = "select count(*) from pg_stat_activity
     where datname = current_database() and wait_event = 'PgSleep'";

/// A table of closed gates. Each row is the name of another table, into which a handler writes. A
/// statement that writes into the named table waits as long as the row exists.
const GATES: &str = "create table gates (held text primary key)";

/// A trigger function that makes a statement wait at a closed gate. It polls the table of gates,
/// and sees in each poll what other sessions have committed.
const HOLD_UP: &str = "create function hold_up() returns trigger language plpgsql as $$
     begin
         while exists (select from gates where held = tg_table_name) loop
             perform pg_sleep(0.05);
         end loop;
         return new;
     end $$";

/// Installs the trigger that holds up handlers on the tables of both routes.
pub async fn prepare(deployment: &Deployment) {
    for statement in [
        GATES,
        HOLD_UP,
        "create trigger hold_up before insert on begini_scores
             for each row execute function hold_up()",
        "create trigger hold_up before insert on begini_applications
             for each row execute function hold_up()",
    ] {
        deployment.execute(statement).await;
    }
}

pub async fn hold_scores(deployment: &Deployment) {
    let hold = "insert into gates values ('begini_scores')";
    deployment.execute(hold).await;
}

pub async fn free_scores(deployment: &Deployment) {
    let free = "delete from gates where held = 'begini_scores'";
    deployment.execute(free).await;
}

pub async fn hold_applications(deployment: &Deployment) {
    let hold = "insert into gates values ('begini_applications')";
    deployment.execute(hold).await;
}

pub async fn free_applications(deployment: &Deployment) {
    let free = "delete from gates where held = 'begini_applications'";
    deployment.execute(free).await;
}
