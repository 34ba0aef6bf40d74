-- The ends of events on routes, in the order of the commits: for programs that read along, and for
-- `hookbox events follow`. Rows are only ever added. One transaction at a time writes to the file, so
-- the order of the rows is the order of the commits.
create table ends (
    position integer primary key,
    event integer not null,
    route text not null,
    outcome text not null check (outcome in ('done', 'dead', 'discarded')),
    -- The round is that of the attempts: 1, or after a replay the number of its first attempt.
    round integer not null check (round >= 1),
    attempts integer not null check (attempts >= 0),
    ended_at integer not null
) strict;

-- What has ended before comes first, in the order of the events. A claim that is done without a
-- receipt that ended it was committed by a handler, and has no end.
insert into ends (event, route, outcome, round, attempts, ended_at)
select c.event, c.route,
       case when c.state = 'dead'
                 and exists (select 1 from dead_letters as d
                             where d.event = c.event and d.route = c.route
                               and d.state = 'discarded')
            then 'discarded' else c.state end,
       1 + coalesce((select max(e.attempts) from dead_letters as d
                     cross join earlier_deaths as e on e.dead_letter = d.id
                     where d.event = c.event and d.route = c.route), 0),
       c.attempts, coalesce(c.settled_at, c.claimed_at)
from claims as c
where c.state = 'dead'
   or c.state = 'done'
      and (exists (select 1 from receipts as r
                   where r.event = c.event and r.route = c.route
                     and r.outcome in ('done', 'conflict'))
           or c.event < (select coalesce(max(cast(value as integer)), 0) from meta
                         where key = 'receipts_kept_from'))
order by c.event, c.route;

-- The one supported way to read along in SQL (docs/HANDLERS.md). `CROSS JOIN` makes SQLite read the
-- ends first, in their order.
create view hookbox_ends as
select (select incarnation from incarnations order by id desc limit 1) as incarnation,
       ends.position, ends.event, ends.route, events.event_id, events.topic, ends.outcome,
       ends.round, ends.attempts, ends.ended_at
from ends cross join events on events.number = ends.event;
