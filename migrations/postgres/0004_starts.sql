-- How often the handler of an event was started in a process that nobody has heard of since. Only
-- for events that came again, so the ordinary way writes nothing here; a row goes as soon as a
-- process has survived the attempt, whatever its outcome. What is left names the suspects.
CREATE TABLE starts (
    route TEXT NOT NULL,
    event_id BYTEA NOT NULL CHECK (octet_length(event_id) = 32),
    starts INTEGER NOT NULL CHECK (starts >= 1),
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, route)
);
