-- Runs for each event of the route, in the transaction in which hookbox records the event as done.
insert into scoring.scores (event, uid, score, scored_at, body)
values (:event_number, :uid, :score, to_timestamp(:scored_at), :body);

-- What several events write comes last, so that its locks are held for a short time.
insert into scoring.newest as newest (uid, score, events)
values (:uid, :score, 1)
on conflict (uid) do update set score = excluded.score, events = newest.events + 1;
