-- The typed rows of the `begini` handler. Written in the transaction that settles the event, so a
-- row is there exactly when the event is done. Times are Unix seconds, as Begini sends them.
create table begini_scores (
    event_id bytea primary key references events (event_id),
    integration_id text not null,
    uid text not null,
    kind text not null,
    platform text,
    score bigint not null,
    risk_band text,
    score_confidence text,
    application_started_at bigint,
    application_completed_at bigint,
    scored_at bigint,
    -- Every field that has no column, as one JSON object with numbers and strings as they came.
    other text not null
);
create index begini_scores_by_uid on begini_scores (uid);

create table begini_score_traits (
    event_id bytea not null references begini_scores (event_id),
    position integer not null,
    key text not null,
    -- Integers and decimals alike, by their text.
    value text not null,
    risk_band text,
    other text not null,
    primary key (event_id, position)
);

create table begini_applications (
    event_id bytea primary key references events (event_id),
    integration_id text not null,
    uid text not null,
    status text not null,
    started_at bigint,
    ended_at bigint,
    -- A JSON object of the percentages, decimal strings as they came.
    percentages text not null,
    -- A JSON array.
    reasons text,
    other text not null
);
create index begini_applications_by_uid on begini_applications (uid);
