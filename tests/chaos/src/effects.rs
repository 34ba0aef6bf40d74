//! Changes the tables of the effects so that a double effect is visible, and so that some events
//! fail. The tables lose every unique key, and the table of the handler `sql` is created without
//! one. Triggers make some events fail at the first attempt, and some at every attempt. Another
//! trigger records each handler start of a redelivered message. Hookbox counts these starts too, in
//! its start markers, but deletes the markers later.

use anyhow::Result;

use crate::sql::Sql;

/// The last character of the uid of scores that fail at the first attempt.
pub const FAILS_ONCE: char = '7';

/// The last character of the uid of scores that fail at every attempt and become dead letters.
pub const FAILS_ALWAYS: char = 'B';

const POSTGRES: &str = "
    alter table begini_score_traits drop constraint begini_score_traits_pkey;
    alter table begini_scores drop constraint begini_scores_pkey;
    alter table begini_applications drop constraint begini_applications_pkey;
    create index chaos_scores on begini_scores (event);
    create function fail_once() returns trigger language plpgsql as $$
    begin
        if new.uid like '%7'
            and not exists (select from attempts
                            where event = new.event and route = 'scores') then
            raise exception 'made to fail once';
        end if;
        if new.uid like '%B' then
            raise exception 'made to fail always';
        end if;
        return new;
    end $$;
    create trigger fail_once before insert on begini_scores
        for each row execute function fail_once();
    create table chaos_redelivered (receipt_id uuid not null);
    create function redelivered() returns trigger language plpgsql as $$
    begin
        insert into chaos_redelivered values (new.receipt_id);
        return new;
    end $$;
    create trigger redelivered after insert on starts
        for each row execute function redelivered();
    create table chaos_sql (event bigint not null, uid text not null);";

const SQLITE: &str = "
    drop table begini_score_traits;
    drop table begini_scores;
    drop table begini_applications;
    create table begini_scores (
        event integer not null, integration_id text not null, uid text not null,
        kind text not null, platform text, score integer not null, risk_band text,
        score_confidence text, application_started_at integer,
        application_completed_at integer, scored_at integer, other text not null) strict;
    create table begini_score_traits (
        event integer not null, position integer not null, key text not null,
        value text not null, risk_band text, other text not null) strict;
    create table begini_applications (
        event integer not null, integration_id text not null, uid text not null,
        status text not null, started_at integer, ended_at integer,
        percentages text not null, reasons text, other text not null) strict;
    create index chaos_scores on begini_scores (uid);
    create index chaos_applications on begini_applications (uid);
    create trigger fail_once before insert on begini_scores
        when new.uid like '%7'
            and not exists (select 1 from attempts
                            where event = new.event and route = 'scores')
        begin select raise(abort, 'made to fail once'); end;
    create trigger fail_always before insert on begini_scores
        when new.uid like '%B'
        begin select raise(abort, 'made to fail always'); end;
    create table chaos_redelivered (receipt_id blob not null) strict;
    create trigger redelivered after insert on starts
        begin insert into chaos_redelivered values (new.receipt_id); end;
    create table chaos_sql (event integer not null, uid text not null) strict;
    create index chaos_sql_uid on chaos_sql (uid);";

/// Removes every unique key of the tables that hold the effects, so that only hookbox itself
/// prevents a double effect, and adds the table into which the handler `sql` writes.
///
/// # Errors
/// When the database returns an error.
pub fn unguard(sql: &Sql) -> Result<()> {
    sql.run(if sql.is_postgres() { POSTGRES } else { SQLITE })
}

/// Returns how many messages were redelivered to a worker because they had not been acknowledged:
/// the rows of the trigger that records redelivered messages.
///
/// # Errors
/// When the database returns an error.
pub fn redelivered(sql: &Sql) -> Result<u64> {
    sql.number("select cast(count(*) as text) from chaos_redelivered")
}
