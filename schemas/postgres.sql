-- The migrated schema of the PostgreSQL store, read from the catalogs. Written by the tests with
-- UPDATE_SCHEMAS=1; not to be edited, and not a migration.

CREATE TABLE accepted (
    route text NOT NULL,
    receipts bigint NOT NULL,
    CONSTRAINT accepted_pkey PRIMARY KEY (route),
    CONSTRAINT accepted_receipts_check CHECK ((receipts >= 0))
);

CREATE TABLE accounts (
    instance uuid NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    closing boolean NOT NULL,
    told_at timestamp with time zone NOT NULL DEFAULT now(),
    heard_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT accounts_pkey PRIMARY KEY (instance, first),
    CONSTRAINT accounts_check CHECK ((last >= (first - 1))),
    CONSTRAINT accounts_first_check CHECK ((first >= 1))
);

CREATE TABLE attempts (
    route text NOT NULL,
    event bigint NOT NULL,
    attempt integer NOT NULL,
    outcome text NOT NULL,
    error text,
    took_ms bigint NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT attempts_pkey PRIMARY KEY (event, route, attempt),
    CONSTRAINT attempts_attempt_check CHECK ((attempt >= 1))
);

CREATE TABLE audit (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    at timestamp with time zone NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (id)
);

CREATE TABLE begini_applications (
    event bigint NOT NULL,
    integration_id text NOT NULL,
    uid text NOT NULL,
    status text NOT NULL,
    started_at bigint,
    ended_at bigint,
    percentages text NOT NULL,
    reasons text,
    other text NOT NULL,
    CONSTRAINT begini_applications_pkey PRIMARY KEY (event)
);
CREATE INDEX begini_applications_by_uid ON begini_applications USING btree (uid);

CREATE TABLE begini_score_traits (
    event bigint NOT NULL,
    position integer NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    risk_band text,
    other text NOT NULL,
    CONSTRAINT begini_score_traits_pkey PRIMARY KEY (event, "position")
);

CREATE TABLE begini_scores (
    event bigint NOT NULL,
    integration_id text NOT NULL,
    uid text NOT NULL,
    kind text NOT NULL,
    platform text,
    score bigint NOT NULL,
    risk_band text,
    score_confidence text,
    application_started_at bigint,
    application_completed_at bigint,
    scored_at bigint,
    other text NOT NULL,
    CONSTRAINT begini_scores_pkey PRIMARY KEY (event)
);
CREATE INDEX begini_scores_by_uid ON begini_scores USING btree (uid);

CREATE TABLE bodies (
    event bigint NOT NULL,
    body bytea NOT NULL,
    seal text,
    CONSTRAINT bodies_pkey PRIMARY KEY (event)
);

CREATE TABLE claims (
    route text NOT NULL,
    event bigint NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL,
    claimed_at timestamp with time zone NOT NULL DEFAULT now(),
    settled_at timestamp with time zone,
    epoch integer,
    CONSTRAINT claims_pkey PRIMARY KEY (event, route),
    CONSTRAINT claims_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT claims_state_check CHECK ((state = ANY (ARRAY['running'::text, 'done'::text, 'retrying'::text, 'dead'::text, 'stale'::text])))
);

CREATE TABLE dead_letters (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    route text NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    attempts integer NOT NULL,
    died_at timestamp with time zone NOT NULL DEFAULT now(),
    group_id text,
    grouped_at timestamp with time zone,
    event bigint NOT NULL,
    round integer,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (id),
    CONSTRAINT dead_letters_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT dead_letters_event_route_key UNIQUE (event, route),
    CONSTRAINT dead_letters_round_check CHECK ((round >= 1)),
    CONSTRAINT dead_letters_state_check CHECK ((state = ANY (ARRAY['dead'::text, 'replayed'::text, 'discarded'::text])))
);
CREATE INDEX dead_letters_group ON dead_letters USING btree (group_id, id);
CREATE INDEX dead_letters_ungrouped ON dead_letters USING btree (id) WHERE (grouped_at IS DISTINCT FROM died_at);

CREATE TABLE earlier_deaths (
    dead_letter bigint NOT NULL,
    died_at timestamp with time zone NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    attempts integer NOT NULL,
    replayed_at timestamp with time zone NOT NULL DEFAULT now(),
    replayed_by text NOT NULL,
    CONSTRAINT earlier_deaths_pkey PRIMARY KEY (dead_letter, died_at),
    CONSTRAINT earlier_deaths_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT earlier_deaths_dead_letter_fkey FOREIGN KEY (dead_letter) REFERENCES dead_letters(id)
);

CREATE TABLE ends (
    ended_xid xid8 NOT NULL,
    event bigint NOT NULL,
    ended_at timestamp with time zone NOT NULL DEFAULT now(),
    round integer NOT NULL,
    attempts integer NOT NULL,
    route text NOT NULL,
    outcome text NOT NULL,
    CONSTRAINT ends_pkey PRIMARY KEY (ended_xid, event, route),
    CONSTRAINT ends_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT ends_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'dead'::text, 'discarded'::text, 'stale'::text]))),
    CONSTRAINT ends_round_check CHECK ((round >= 1))
);

CREATE TABLE events (
    number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    event_id bytea NOT NULL,
    source text NOT NULL,
    topic text NOT NULL,
    content_digest bytea NOT NULL,
    received_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT events_pkey PRIMARY KEY (number),
    CONSTRAINT events_content_digest_check CHECK ((octet_length(content_digest) = 32)),
    CONSTRAINT events_event_id_check CHECK ((octet_length(event_id) = 16)),
    CONSTRAINT events_event_id_key UNIQUE (event_id)
);
CREATE INDEX events_received_at ON events USING btree (received_at);

CREATE TABLE incarnations (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    incarnation uuid NOT NULL DEFAULT gen_random_uuid(),
    began_at timestamp with time zone NOT NULL DEFAULT now(),
    accepted_by text,
    why text,
    what text,
    CONSTRAINT incarnations_pkey PRIMARY KEY (id),
    CONSTRAINT incarnations_incarnation_key UNIQUE (incarnation)
);

CREATE TABLE instances (
    instance uuid NOT NULL,
    role text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    CONSTRAINT instances_pkey PRIMARY KEY (instance)
);

CREATE TABLE meta (
    key text NOT NULL,
    value text NOT NULL,
    CONSTRAINT meta_pkey PRIMARY KEY (key)
);

CREATE TABLE newest (
    route text NOT NULL,
    key bytea NOT NULL,
    version text,
    event bigint,
    done_at timestamp with time zone,
    calling bigint,
    calling_until timestamp with time zone,
    CONSTRAINT newest_pkey PRIMARY KEY (route, key),
    CONSTRAINT newest_check CHECK (((version IS NULL) = (event IS NULL))),
    CONSTRAINT newest_check1 CHECK (((version IS NULL) = (done_at IS NULL))),
    CONSTRAINT newest_check2 CHECK (((calling IS NULL) = (calling_until IS NULL))),
    CONSTRAINT newest_key_check CHECK ((octet_length(key) = 16))
) WITH (fillfactor=80);

CREATE TABLE open_receipts (
    route text NOT NULL,
    receipt_id uuid NOT NULL,
    instance uuid NOT NULL,
    number bigint NOT NULL,
    told_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT open_receipts_pkey PRIMARY KEY (route, receipt_id)
);

CREATE TABLE receipts (
    route text NOT NULL,
    receipt_id uuid NOT NULL,
    event bigint NOT NULL,
    outcome text NOT NULL,
    key_id text NOT NULL,
    instance uuid NOT NULL,
    number bigint NOT NULL,
    traceparent text,
    received_at timestamp with time zone NOT NULL,
    settled_at timestamp with time zone NOT NULL DEFAULT now(),
    other_digest bytea,
    CONSTRAINT receipts_pkey PRIMARY KEY (route, receipt_id),
    CONSTRAINT receipts_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'duplicate'::text, 'conflict'::text, 'retrying'::text, 'dead'::text, 'stale'::text])))
);
CREATE INDEX receipts_event ON receipts USING btree (event, route);
CREATE INDEX receipts_number ON receipts USING btree (instance, number);

CREATE TABLE refusals (
    request uuid NOT NULL,
    source text NOT NULL,
    reason text NOT NULL,
    body_digest text,
    body_bytes bigint NOT NULL,
    peer text NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT refusals_pkey PRIMARY KEY (request)
);
CREATE INDEX refusals_at ON refusals USING btree (at, request);

CREATE TABLE retries (
    route text NOT NULL,
    event bigint NOT NULL,
    attempt integer NOT NULL,
    attempts_before integer NOT NULL,
    not_before timestamp with time zone NOT NULL,
    queued_at timestamp with time zone,
    deferred_attempt integer,
    deferred_reason text,
    deferred_since timestamp with time zone,
    target text,
    leased_at timestamp with time zone,
    leased_attempt integer,
    leases integer,
    CONSTRAINT retries_pkey PRIMARY KEY (event, route),
    CONSTRAINT retries_attempt_check CHECK ((attempt >= 1)),
    CONSTRAINT retries_attempts_before_check CHECK ((attempts_before >= 0))
);
CREATE INDEX retries_not_before ON retries USING btree (not_before);
CREATE INDEX retries_target ON retries USING btree (target, not_before) WHERE (target IS NOT NULL);

CREATE TABLE route_controls (
    route text NOT NULL,
    paused_at timestamp with time zone,
    paused_by text,
    paused_why text,
    resumed_at timestamp with time zone,
    events_per_1000_s bigint,
    concurrency integer,
    CONSTRAINT route_controls_pkey PRIMARY KEY (route),
    CONSTRAINT route_controls_check CHECK (((paused_at IS NULL) = (paused_by IS NULL))),
    CONSTRAINT route_controls_check1 CHECK (((paused_at IS NULL) = (paused_why IS NULL))),
    CONSTRAINT route_controls_concurrency_check CHECK ((concurrency > 0)),
    CONSTRAINT route_controls_events_per_1000_s_check CHECK ((events_per_1000_s > 0))
);

CREATE TABLE starts (
    route text NOT NULL,
    receipt_id uuid NOT NULL,
    attempt integer NOT NULL,
    starts integer NOT NULL,
    started_by uuid NOT NULL,
    started_at timestamp with time zone NOT NULL DEFAULT now(),
    isolated integer NOT NULL DEFAULT 0,
    unproven integer NOT NULL DEFAULT 0,
    CONSTRAINT starts_pkey PRIMARY KEY (receipt_id, attempt, route),
    CONSTRAINT starts_attempt_check CHECK ((attempt >= 0)),
    CONSTRAINT starts_starts_check CHECK ((starts >= 1))
);

CREATE TABLE targets (
    name text NOT NULL,
    faults integer NOT NULL DEFAULT 0,
    last_fault bigint,
    openings integer NOT NULL DEFAULT 0,
    open_until timestamp with time zone,
    wait_until timestamp with time zone,
    rate_until timestamp with time zone,
    last_error text,
    last_error_at timestamp with time zone,
    CONSTRAINT targets_pkey PRIMARY KEY (name),
    CONSTRAINT targets_faults_check CHECK ((faults >= 0)),
    CONSTRAINT targets_openings_check CHECK ((openings >= 0))
);

CREATE TABLE witness (
    id integer NOT NULL,
    newest bytea,
    confirmed bigint NOT NULL,
    CONSTRAINT witness_pkey PRIMARY KEY (id),
    CONSTRAINT witness_confirmed_check CHECK ((confirmed >= 0)),
    CONSTRAINT witness_id_check CHECK ((id = 1))
);

CREATE TABLE written_off (
    route text NOT NULL,
    receipt_id uuid NOT NULL,
    instance uuid NOT NULL,
    number bigint NOT NULL,
    why text NOT NULL,
    written_off_by text NOT NULL,
    written_off_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT written_off_pkey PRIMARY KEY (route, receipt_id)
);

CREATE VIEW hookbox_ends AS
 SELECT ( SELECT incarnations.incarnation
           FROM incarnations
          ORDER BY incarnations.id DESC
         LIMIT 1) AS incarnation,
    ends.ended_xid,
    ends.event,
    ends.route,
    events.event_id,
    events.topic,
    ends.outcome,
    ends.round,
    ends.attempts,
    ends.ended_at
   FROM (ends
     JOIN events ON ((events.number = ends.event)))
  WHERE (ends.ended_xid < pg_snapshot_xmin(pg_current_snapshot()));
