-- The group of a dead letter: by route, reason and cause. It holds while `grouped_at` is when the
-- letter died: a version that does not know these columns writes another `died_at`, and the letter
-- is grouped again.
ALTER TABLE dead_letters ADD COLUMN group_id TEXT;
ALTER TABLE dead_letters ADD COLUMN grouped_at INTEGER;

CREATE INDEX dead_letters_group ON dead_letters (group_id, id);
CREATE INDEX dead_letters_ungrouped ON dead_letters (id) WHERE grouped_at IS NOT died_at;

-- Refusals are read by their times, as in PostgreSQL.
CREATE INDEX refusals_at ON refusals (at, request);
