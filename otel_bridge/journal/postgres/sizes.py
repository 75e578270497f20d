"""What the journal takes of the disk."""

from __future__ import annotations

from otel_bridge.journal.postgres.connection import Connection

SAMPLE_PAGES = 256
"""Of the segments' table, from which their size is reckoned: it is asked for once a second."""
_ROW_BYTES = 160
"""What a segment takes beside its body: its row, and its place in two indexes."""
_BESIDES = """SELECT coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'otel_bridge' AND relkind = 'r' AND relname <> 'segment'"""


def bytes_used(connection: Connection) -> int:
    """As `Reader.bytes_used`. A table keeps the room of deleted rows for new ones: the segments' is reckoned from the
    rows that are there, in a sample of its pages where it is large."""
    ((besides,),) = connection.execute(_BESIDES).fetchall()
    ((pages,),) = connection.execute(
        "SELECT pg_relation_size('otel_bridge.segment') / current_setting('block_size')::int"
    ).fetchall()
    share = min(1.0, SAMPLE_PAGES / max(1, pages))
    ((held,),) = connection.execute(
        "SELECT coalesce(sum(octet_length(body) + %s), 0)::bigint FROM otel_bridge.segment TABLESAMPLE SYSTEM (%s)",
        (_ROW_BYTES, 100 * share),
    ).fetchall()
    return int(besides) + int(held / share)


def bytes_of_segments(connection: Connection, consumer: str) -> tuple[int, int]:
    """As `Reader.bytes_of_segments`. A body that has a place of its own is not read for its length."""
    ((pending, everything),) = connection.execute(
        "SELECT coalesce(sum(octet_length(body)) FILTER (WHERE last > coalesce(cursor, -1)), 0)::bigint, "
        "coalesce(sum(octet_length(body)), 0)::bigint FROM otel_bridge.segment "
        "LEFT JOIN otel_bridge.sink ON name = %s AND sink.lane = last >> 40",
        (consumer,),
    ).fetchall()
    return pending, everything - pending
