"""The statement that a commit in PostgreSQL is."""

from __future__ import annotations

import time
from itertools import groupby
from pathlib import Path

from otel_bridge.journal import Append
from otel_bridge.records import Event, Session
from tests.journal.backends import PostgresBackend


def test_the_lane_comes_first_and_keys_before_sessions(tmp_path: Path) -> None:
    backend = PostgresBackend(tmp_path)
    try:
        store = backend.open()
        now_us = time.time_ns() // 1000

        def group(number: int) -> list[Append]:
            session = Session(bytes([number]) * 16, "gpt", "user", now_us, now_us)
            event = Event(b"e" * 16, session.id, "gpt", "user", "consulta", None, 1.0, 1, 1, now_us, now_us)
            return [Append([session], [None], {0: b"d" * 16}), Append([event], [b"g" + session.id], {0: b"d" * 16})]

        store.write_alone(group(1))  # begins the turn of the day, with statements of its own
        backend.sql("CREATE TABLE seen (number serial, what text)")
        backend.sql(
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO seen (what) VALUES (tg_table_name); RETURN NEW; END $$"
        )
        keys = [f"seen_{slot}" for slot in store.generations.tables]  # type: ignore[attr-defined]
        for table in ("lane", "segment", "session", *keys):
            backend.sql(
                f"CREATE TRIGGER noted BEFORE INSERT OR UPDATE ON otel_bridge.{table} FOR EACH ROW "
                "EXECUTE FUNCTION note()"
            )
        assert len(store.write_alone(group(2))) == 2
        noted = [what for what, _ in groupby(what for (what,) in backend.sql("SELECT what FROM seen ORDER BY number"))]
        assert noted == ["lane", *keys, "session", "segment"]
    finally:
        backend.close()
