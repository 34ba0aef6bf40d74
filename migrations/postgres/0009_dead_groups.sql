-- The group of a dead letter: by route, reason and cause. It holds while `grouped_at` is when the
-- letter died: a version that does not know these columns writes another `died_at`, and the letter
-- is grouped again.
alter table dead_letters
    add column group_id text,
    add column grouped_at timestamptz;

create index dead_letters_group on dead_letters (group_id, id);
create index dead_letters_ungrouped on dead_letters (id) where grouped_at is distinct from died_at;
