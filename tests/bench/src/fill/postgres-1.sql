-- Inserts the rows of the events :first to :last, each with a random id. The caller has begun a
-- transaction.
create temp table filler on commit drop as
select n,
       sha256(convert_to('event ' || n || random(), 'UTF8')) as event_id,
       (lpad(to_hex(1764000000000 + n), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid
           as receipt_id,
       now() - interval '30 days' + n * interval '1 millisecond' as at
from generate_series(:first, :last) as n;

insert into events (event_id, source, topic, content_digest, body, received_at, created_at)
select event_id, 'begini', 'begini.psychometric_score.complete', sha256(event_id),
       convert_to('{"uid":"FILL' || lpad(to_hex(n), 16, '0') || '","of":"'
                  || repeat(encode(event_id, 'hex'), 9) || '"}', 'UTF8'),
       at, at
from filler order by n;

insert into claims (route, event_id, state, attempts, claimed_at, settled_at)
select 'scores', event_id, 'done', 1, at, at from filler order by n;

insert into receipts (route, receipt_id, event_id, outcome, key_id, instance, number, received_at,
                      settled_at)
select 'scores', receipt_id, event_id, 'done', 'bench', ':instance', n, at, at
from filler order by n;

insert into begini_scores (event_id, integration_id, uid, kind, platform, score, risk_band,
                           score_confidence, application_started_at, application_completed_at,
                           scored_at, other)
select event_id, '90000000000000000001', 'FILL' || upper(encode(substr(event_id, 1, 8), 'hex')),
       'psychometric', 'WEB', 300 + n % 550, 'B', 'HIGH', 1764000000 + n, 1764000600 + n,
       1764000610 + n, '{"calculated":{"flags":[]}}'
from filler order by n;

insert into begini_score_traits (event_id, position, key, value, risk_band, other)
select event_id, position, 'trait ' || position, (n % 101)::text, 'B', '{}'
from filler, generate_series(0, 3) as position order by n, position;

-- One ingest has reported all these receipts as accepted.
insert into accounts (instance, first, last, closing) values (':instance', 1, :last, true)
on conflict (instance, first) do update set last = excluded.last;
insert into accepted (route, receipts) values ('scores', :last - :first + 1)
on conflict (route) do update set receipts = accepted.receipts + excluded.receipts;
