-- The deaths of a dead letter that was replayed: written by the replay, which a person did.
CREATE TABLE earlier_deaths (
    dead_letter INTEGER NOT NULL REFERENCES dead_letters (id),
    died_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    replayed_at INTEGER NOT NULL,
    replayed_by TEXT NOT NULL,
    PRIMARY KEY (dead_letter, died_at)
) STRICT, WITHOUT ROWID;
