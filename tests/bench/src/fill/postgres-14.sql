-- Inserts the rows of the events :first to :last, each with a random id. The caller has begun a
-- transaction.
create temp table filler on commit drop as
select n,
       substring(sha256(convert_to('event ' || n || random(), 'UTF8')) from 1 for 16) as event_id,
       (lpad(to_hex(1764000000000 + n), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid
           as receipt_id,
       now() - interval '30 days' + n * interval '1 millisecond' as at
from generate_series(:first, :last) as n;

insert into events (event_id, source, topic, content_digest, received_at, created_at)
select event_id, 'begini', 'begini.psychometric_score.complete', sha256(event_id), at, at
from filler order by n;

-- The numbers of these events follow each other, because no other transaction stores events.
create temp table filled on commit drop as
select filler.*, newest.number - :last + n as event
from filler, (select currval(pg_get_serial_sequence('events', 'number')) as number) as newest;

insert into bodies (event, body)
select event, convert_to('{"uid":"FILL' || lpad(to_hex(n), 16, '0') || '","of":"'
                         || repeat(encode(event_id, 'hex'), 18) || '"}', 'UTF8')
from filled order by n;

insert into claims (route, event, state, attempts, claimed_at, settled_at)
select 'scores', event, 'done', 1, at, at from filled order by n;

insert into receipts (route, receipt_id, event, outcome, key_id, instance, number, received_at,
                      settled_at)
select 'scores', receipt_id, event, 'done', 'bench', ':instance', n, at, at
from filled order by n;

insert into begini_scores (event, integration_id, uid, kind, platform, score, risk_band,
                           score_confidence, application_started_at, application_completed_at,
                           scored_at, other)
select event, '90000000000000000001', 'FILL' || upper(encode(substr(event_id, 1, 8), 'hex')),
       'psychometric', 'WEB', 300 + n % 550, 'B', 'HIGH', 1764000000 + n, 1764000600 + n,
       1764000610 + n, '{"calculated":{"flags":[]}}'
from filled order by n;

insert into begini_score_traits (event, position, key, value, risk_band, other)
select event, position, 'trait ' || position, (n % 101)::text, 'B', '{}'
from filled, generate_series(0, 3) as position order by n, position;

-- One ingest has reported all these receipts as accepted.
insert into accounts (instance, first, last, closing) values (':instance', 1, :last, true)
on conflict (instance, first) do update set last = excluded.last;
insert into accepted (route, receipts) values ('scores', :last - :first + 1)
on conflict (route) do update set receipts = accepted.receipts + excluded.receipts;
