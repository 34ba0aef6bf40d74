-- Inserts the rows of the events :first to :last, each with a random id. The caller has begun a
-- transaction.
create temp table if not exists filler (n integer primary key, event_id blob, at integer);
delete from filler;
insert into filler
with recursive numbers (n) as (select :first union all select n + 1 from numbers where n < :last)
select n, randomblob(16), 1764000000000000 + n * 1000 from numbers;

insert into events (event_id, source, topic, content_digest, received_at, created_at)
select event_id, 'begini', 'begini.psychometric_score.complete', randomblob(32), at, at
from filler order by n;

-- The numbers of these events follow each other, because the caller's transaction is the only one
-- that writes.
create temp table if not exists filled (n integer primary key, event integer);
delete from filled;
insert into filled
select n, newest.seq - :last + n
from filler, (select seq from sqlite_sequence where name = 'events') as newest;

insert into bodies (event, body)
select f.event, cast('{"uid":"FILL' || printf('%016x', n) || '","of":"'
            || replace(hex(zeroblob(18)), '00', hex(event_id)) || '"}' as blob)
from filler join filled as f using (n) order by n;

insert into claims (route, event, state, attempts, claimed_at, settled_at)
select 'scores', event, 'done', 1, at, at from filler join filled using (n) order by n;

insert into receipts (route, receipt_id, event, outcome, key_id, instance, number, received_at,
                      settled_at)
select 'scores', unhex(printf('%012x70008%015x', 1764000000000 + n, n)), event, 'done', 'bench',
       x':instance_hex', n, at, at
from filler join filled using (n) order by n;

insert into begini_scores (event, integration_id, uid, kind, platform, score, risk_band,
                           score_confidence, application_started_at, application_completed_at,
                           scored_at, other)
select event, '90000000000000000001', 'FILL' || hex(randomblob(8)), 'psychometric', 'WEB',
       300 + n % 550, 'B', 'HIGH', 1764000000 + n, 1764000600 + n, 1764000610 + n,
       '{"calculated":{"flags":[]}}'
from filled order by n;

insert into begini_score_traits (event, position, key, value, risk_band, other)
select event, position, 'trait ' || position, cast(n % 101 as text), 'B', '{}'
from filled, (select 0 as position union all select 1 union all select 2 union all select 3)
order by n, position;

-- One ingest has reported all these receipts as accepted.
insert into accounts (instance, first, last, closing, told_at)
values (x':instance_hex', 1, :last, 1, 1764000000000000)
on conflict (instance, first) do update set last = excluded.last;
insert into accepted (route, receipts) values ('scores', :last - :first + 1)
on conflict (route) do update set receipts = accepted.receipts + excluded.receipts;
