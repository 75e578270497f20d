"""The tables, and the steps that make them: `otel-bridge journal migrate` runs them, nothing at run time does.

Everything stands in a schema of its own, `otel_bridge`.

journal     one row: which journal it is, the schema's version and the oldest release that can still work on it
            (`serves_from`), the fingerprint of the user hash's key, and where the dedup keys go (`turn`, `doubled`:
            generations.py)
lane        a row a lane: who appends to it (`owner`, one life of one process; `epoch` grows with every change of owner)
            and how far it is: `last` is its newest record, `total` the spans up to it, `commits` how often it was
            written. A commit of a replica changes this row, under the condition that it is as the replica left it: that
            makes the row the commit's marker, and fences a replica that was taken for dead
segment     what was accepted: a row a run of records committed together, body as `records.encode`. Sequence numbers are
            a lane's number times 2^40, and a count from 1: unique over all lanes, without gaps within one. `epoch` says
            which life of the lane has written it
seen_0 … 7  dedup keys by turn (the turn's number modulo 8), emptied by TRUNCATE
session     a row a session: as in SQLite. A new session's row is in its commit; its totals are added afterwards
            (`totals.py`). Indexes have only what seldom changes with them, and pages have room, so that each addition
            writes the row and nothing else (two fifths less of the server's log, a third less of its time): `due_us`
            is a time not after `last_us`, at which `idle.py` looks at a live session again; `long` says that it has
            filled half a part
usage       events and tokens by hour, GPT and user
sink        a cursor a consumer and lane, and how many spans it has delivered
parked      records that the consumer's endpoint refused
snapshot    a row a lane: what its replica saves (its own counters)
counted     a row a lane: up to where `session` and `usage` have its records
folded      a row a lane: up to where the steward's snapshot has its records
steward     one row: which replica counts for all, until when, and its snapshot of the shared metrics
"""

from __future__ import annotations

import re

VERSION = 1
"""The newest schema that this release knows."""
OLDEST = 1
"""The oldest schema that this release can work on: two releases may serve side by side during a rolling restart."""
LANE_SHIFT = 40
RING = 8
"""Tables of dedup keys."""

_SEEN = """
CREATE TABLE otel_bridge.seen_{slot} (
    key bytea NOT NULL, arrived_us bigint NOT NULL, digest bytea, part integer,
    PRIMARY KEY (key)
) WITH (autovacuum_vacuum_insert_scale_factor = 1);
"""

_FIRST = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'otel_bridge') THEN CREATE SCHEMA otel_bridge; END IF;
END $$;
CREATE TABLE otel_bridge.journal (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL, serves_from integer NOT NULL DEFAULT 1, id text NOT NULL, key_fingerprint bytea,
    turn integer NOT NULL DEFAULT 1, doubled boolean NOT NULL DEFAULT false,
    went_back text
);
CREATE TABLE otel_bridge.turn (
    turn integer PRIMARY KEY, started_us bigint NOT NULL, stretched boolean NOT NULL DEFAULT false,
    emptied boolean NOT NULL DEFAULT false
);
CREATE TABLE otel_bridge.lane (
    lane integer PRIMARY KEY, owner uuid, name text, epoch bigint NOT NULL DEFAULT 0,
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    last bigint NOT NULL, total bigint NOT NULL DEFAULT 0, commits bigint NOT NULL DEFAULT 0,
    turn integer NOT NULL, doubled boolean NOT NULL
) WITH (fillfactor = 20);
CREATE TABLE otel_bridge.segment (
    last bigint PRIMARY KEY, count integer NOT NULL, spans integer NOT NULL, arrived_us bigint NOT NULL,
    crc bigint NOT NULL, total bigint NOT NULL, epoch bigint NOT NULL, body bytea NOT NULL
);
ALTER TABLE otel_bridge.segment ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX segment_arrived ON otel_bridge.segment (arrived_us, last);
{"".join(_SEEN.format(slot=slot) for slot in range(RING))}
CREATE TABLE otel_bridge.session (
    id bytea PRIMARY KEY, gpt text NOT NULL, "user" text NOT NULL, started_us bigint NOT NULL,
    last_us bigint NOT NULL, first_event_us bigint, last_event_us bigint, events bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0, tokens_in bigint NOT NULL DEFAULT 0, tokens_out bigint NOT NULL DEFAULT 0,
    stretch_us bigint, stretch_events bigint NOT NULL DEFAULT 0, live boolean NOT NULL DEFAULT true, digest bytea,
    stretch_last_us bigint, active_us bigint, fill bigint NOT NULL DEFAULT 0,
    unmeasured_latency bigint NOT NULL DEFAULT 0, unmeasured_in bigint NOT NULL DEFAULT 0,
    unmeasured_out bigint NOT NULL DEFAULT 0,
    due_us bigint NOT NULL DEFAULT 0, long boolean GENERATED ALWAYS AS (fill > 1200000) STORED
) WITH (fillfactor = 60);
CREATE INDEX session_due ON otel_bridge.session (due_us) WHERE live;
CREATE INDEX session_long ON otel_bridge.session (id) WHERE live AND long;
CREATE TABLE otel_bridge.usage (
    hour bigint NOT NULL, gpt text NOT NULL, "user" text NOT NULL, events bigint NOT NULL, tokens bigint NOT NULL,
    PRIMARY KEY (hour, gpt, "user")
) WITH (fillfactor = 80);
CREATE TABLE otel_bridge.sink (
    name text NOT NULL, lane integer NOT NULL, cursor bigint NOT NULL, exported bigint NOT NULL,
    PRIMARY KEY (name, lane)
) WITH (fillfactor = 50);
CREATE TABLE otel_bridge.parked (
    seq bigint PRIMARY KEY, body bytea NOT NULL, spans integer NOT NULL, reason text NOT NULL, words text NOT NULL,
    parked_us bigint NOT NULL, replay boolean NOT NULL DEFAULT false
);
CREATE TABLE otel_bridge.snapshot (lane integer PRIMARY KEY, seq bigint NOT NULL, body bytea NOT NULL);
CREATE TABLE otel_bridge.counted (lane integer PRIMARY KEY, seq bigint NOT NULL);
CREATE TABLE otel_bridge.folded (lane integer PRIMARY KEY, seq bigint NOT NULL);
CREATE TABLE otel_bridge.steward (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    owner uuid, name text, epoch bigint NOT NULL DEFAULT 0, lease_until timestamptz NOT NULL DEFAULT '-infinity',
    body bytea
);
INSERT INTO otel_bridge.journal (version, id) VALUES (1, replace(gen_random_uuid()::text, '-', ''));
INSERT INTO otel_bridge.turn (turn, started_us) VALUES (1, 0);
INSERT INTO otel_bridge.steward DEFAULT VALUES;
"""

STEPS: dict[int, str] = {1: _FIRST}
"""What makes each version from the one before. A step that is released never changes. Each leaves a schema that the
release before can still work on."""
SERVES_FROM = {1: 1}
"""After each step, the oldest `VERSION` whose release can still work on the schema: what a release does not know it can
do without. The release of a step says so there, since older ones cannot know what it has changed."""


def base(lane: int) -> int:
    """The sequence number of a lane before its first record."""
    return lane << LANE_SHIFT


def lane_of(seq: int) -> int:
    """The lane of a sequence number; a lane's base is its own."""
    return seq >> LANE_SHIFT


def tables(version: int) -> list[str]:
    """Those that a schema of this version has."""
    return [
        name for step in range(1, version + 1) for name in re.findall(r"CREATE TABLE otel_bridge\.(\w+)", STEPS[step])
    ]
