"""URLs of a journal in PostgreSQL: what libpq reads is read, and no password is shown."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.config import postgres_url
from tests.harness.postgres import libpq

SECRET = "s3cr3t-word"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///data/a.db", "sqlite:///data/a.db"),
        ("postgresql://h/db", "postgresql://h/db"),
        ("postgres://u@h:5433/db", "postgres://u@h:5433/db"),
        (f"postgresql://u:{SECRET}@h/db", "postgresql://u:***@h/db"),
        (f"postgresql://u:a:b?{SECRET}@h/db", "postgresql://u:***@h/db"),
        (f"postgresql://:{SECRET}@h", "postgresql://:***@h"),
        ("postgresql://u:@h/db", "postgresql://u:***@h/db"),
        (
            f"postgresql://u:{SECRET}@h1,h2:5433/db?target_session_attrs=read-write",
            "postgresql://u:***@h1,h2:5433/db?target_session_attrs=read-write",
        ),
        ("postgresql://u@[::1]:5432/db", "postgresql://u@[::1]:5432/db"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///db?host=/run/postgresql"),
        ("postgresql://u@%2Frun%2Fpostgresql/db", "postgresql://u@%2Frun%2Fpostgresql/db"),
        (f"postgresql://h/db?user=a&password={SECRET}", "postgresql://h/db?user=a&password=***"),
        (f"postgresql://h/db?pass%77ord={SECRET}&sslmode=require", "postgresql://h/db?pass%77ord=***&sslmode=require"),
        (f"postgresql://h?sslpassword={SECRET}&passfile=/a", "postgresql://h?sslpassword=***&passfile=/a"),
        (f"postgresql://h?oauth_client_secret={SECRET}", "postgresql://h?oauth_client_secret=***"),
    ],
)
def test_a_url_is_shown_without_its_passwords(url: str, shown: str) -> None:
    assert postgres_url.shown(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:p@{SECRET}@h/db",
        f"postgresql://u:p/{SECRET}@h/db",
        f"postgresql://u:{SECRET}%zz@h/db",
        f"postgresql://u:{SECRET}@h:port/db",
        f"postgresql://u:{SECRET}@h:0/db",
        f"postgresql://u:{SECRET}@h:65536/db",
        f"postgresql://h/db?password{SECRET}",
        f"postgresql://h/db?password={SECRET}=",
        f"postgresql://h/{SECRET}/b",
        f"postgresql://u:{SECRET} x@h/db",
        f"postgresql://u:{SECRET}\n@h/db",
        f"postgresql://u:{SECRET}%00@h/db",
        f"postgresql://u:{SECRET}%a1@h/db",
    ],
)
def test_what_libpq_would_not_read_or_would_read_otherwise_is_no_url_and_is_not_shown(url: str) -> None:
    assert postgres_url.parts(url) is None
    assert SECRET not in postgres_url.shown(url)


_WORD = st.text("ab1@:/?%#&=,[]é", min_size=1, max_size=6)


@given(user=_WORD, password=_WORD, host=st.sampled_from(["h", "a.b,c", "[::1]", ""]), database=_WORD, value=_WORD)
def test_whatever_is_written_with_its_signs_encoded_is_read_as_libpq_does(
    user: str, password: str, host: str, database: str, value: str
) -> None:
    def quoted(text: str) -> str:
        return quote(text, safe="")

    url = f"postgresql://{quoted(user)}:{quoted(password)}@{host}/{quoted(database)}?application_name={quoted(value)}"
    found, read = postgres_url.parts(url), libpq(url)
    assert found is not None
    assert read is not None
    assert (found.user, found.password) == (quoted(user), quoted(password))
    assert (unquote(found.user or ""), unquote(found.password or "")) == (read["user"], read["password"])
    assert unquote(found.database) == read["dbname"]


@given(st.text("ab1@:/?%2=&,[]", max_size=14))
def test_nothing_is_taken_that_libpq_refuses_nor_read_otherwise(rest: str) -> None:
    url = f"postgresql://{rest}"
    found = postgres_url.parts(url)
    if found is None or found.parameters:  # which names there are is libpq's to say
        return
    read = libpq(url)
    assert read is not None
    assert unquote(found.password or "") == (read.get("password") or "")
    assert unquote(found.user or "") == (read.get("user") or "")
