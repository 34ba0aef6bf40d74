-- The typed rows of the `begini` handler, by the number of their event. They are written in the
-- transaction that settles the event, so a row is there exactly when the event is done. There are
-- no foreign keys, which would cost a look-up for each row. Times are Unix seconds, as Begini sends
-- them.
drop index begini_scores_by_uid;
drop index begini_applications_by_uid;
alter table begini_scores rename to begini_scores_10;
alter table begini_score_traits rename to begini_score_traits_10;
alter table begini_applications rename to begini_applications_10;

create table begini_scores (
    event integer primary key,
    integration_id text not null,
    uid text not null,
    kind text not null,
    platform text,
    score integer not null,
    risk_band text,
    score_confidence text,
    application_started_at integer,
    application_completed_at integer,
    scored_at integer,
    -- Every field that has no column, as one JSON object with numbers and strings as they came.
    other text not null
) strict;

-- A row whose event is not stored makes the migration fail. Without the text, SQLite would choose a
-- number for it.
insert into begini_scores (event, integration_id, uid, kind, platform, score, risk_band,
                           score_confidence, application_started_at, application_completed_at,
                           scored_at, other)
select coalesce(e.number, 'no event'), b.integration_id, b.uid, b.kind, b.platform, b.score, b.risk_band,
       b.score_confidence, b.application_started_at, b.application_completed_at, b.scored_at,
       b.other
from begini_scores_10 as b left join events as e on e.event_id = substr(b.event_id, 1, 16)
order by e.number;

-- Serves the search for the scores of an applicant, which is the user's own.
create index begini_scores_by_uid on begini_scores (uid);

create table begini_score_traits (
    event integer not null,
    position integer not null,
    key text not null,
    -- Integers and decimals alike, by their text.
    value text not null,
    risk_band text,
    other text not null,
    primary key (event, position)
) strict, without rowid;

insert into begini_score_traits (event, position, key, value, risk_band, other)
select e.number, b.position, b.key, b.value, b.risk_band, b.other
from begini_score_traits_10 as b left join events as e on e.event_id = substr(b.event_id, 1, 16)
order by e.number, b.position;

create table begini_applications (
    event integer primary key,
    integration_id text not null,
    uid text not null,
    status text not null,
    started_at integer,
    ended_at integer,
    -- A JSON object of the percentages, decimal strings as they came.
    percentages text not null,
    -- A JSON array.
    reasons text,
    other text not null
) strict;

insert into begini_applications (event, integration_id, uid, status, started_at, ended_at,
                                 percentages, reasons, other)
select coalesce(e.number, 'no event'), b.integration_id, b.uid, b.status, b.started_at, b.ended_at, b.percentages,
       b.reasons, b.other
from begini_applications_10 as b left join events as e on e.event_id = substr(b.event_id, 1, 16)
order by e.number;

-- Serves the search for the applications of an applicant, which is the user's own.
create index begini_applications_by_uid on begini_applications (uid);

-- Each of these before the tables that it refers to.
drop table begini_score_traits_10;
drop table begini_scores_10;
drop table begini_applications_10;
drop table earlier_deaths_10;
drop table dead_letters_10;
drop table retries_10;
drop table attempts_10;
drop table receipts_10;
drop table claims_10;
drop table events_10;
