-- Runs for each event of the route, in the transaction in which hookbox records the event as done.
insert into scoring_scores (event, uid, score, scored_at, body)
values (:event_number, :uid, :score, :scored_at, :body);

insert into scoring_newest (uid, score, events)
values (:uid, :score, 1)
on conflict (uid) do update set score = excluded.score, events = scoring_newest.events + 1;
