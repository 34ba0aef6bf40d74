-- Events that are put off without an attempt: why, and since when. The row is
-- a deferral while it still waits for the attempt that was put off; a version that does not know
-- these columns writes another attempt, and so ends it.
ALTER TABLE retries ADD COLUMN deferred_attempt INTEGER;
ALTER TABLE retries ADD COLUMN deferred_reason TEXT;
ALTER TABLE retries ADD COLUMN deferred_since INTEGER;

-- Of the starts that no process has survived, those in which no other handler ran: in a process
-- that had completed another event before, and in one that had not.
ALTER TABLE starts ADD COLUMN isolated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE starts ADD COLUMN unproven INTEGER NOT NULL DEFAULT 0;
