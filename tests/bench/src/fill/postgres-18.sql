-- From schema 18 on, this runs after the statements for schema 14. It adds the ends of the events.
insert into ends (ended_xid, event, ended_at, round, attempts, route, outcome)
select pg_current_xact_id(), event, at, 1, 1, 'scores', 'done' from filled order by n;
