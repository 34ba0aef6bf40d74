-- Events that are put off without an attempt: why, and since when. The row is
-- a deferral while it still waits for the attempt that was put off; a version that does not know
-- these columns writes another attempt, and so ends it.
alter table retries
    add column deferred_attempt integer,
    add column deferred_reason text,
    add column deferred_since timestamptz;

-- Of the starts that no process has survived, those in which no other handler ran: in a process
-- that had completed another event before, and in one that had not.
alter table starts
    add column isolated integer not null default 0,
    add column unproven integer not null default 0;
