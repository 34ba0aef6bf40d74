-- The round of attempts in which the route gave up on the event, for the ends that follow when the
-- dead letter is discarded or restored. A round that follows a success leaves no row in
-- `earlier_deaths`, so it cannot be found there. Null in rows of earlier versions.
alter table dead_letters add column round integer check (round >= 1);
