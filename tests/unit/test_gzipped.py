"""Requests in gzip, with ISA-L and without it."""

from __future__ import annotations

import gzip
import importlib
import sys
import zlib
from collections.abc import Iterator
from types import ModuleType

import pytest

from otel_bridge import gzipped as module


@pytest.fixture(params=["isal", "zlib"])
def made_with(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    yield importlib.reload(module)
    monkeypatch.undo()
    importlib.reload(module)


@pytest.mark.parametrize(
    "body", [b"", b"x", "¿Cómo configuro un pipeline?".encode() * 40_000], ids=["none", "one", "MB"]
)
def test_any_reader_of_gzip_has_the_body_back(made_with: ModuleType, body: bytes) -> None:
    packed = made_with.gzipped(body)
    assert gzip.decompress(packed) == body
    assert len(packed) < max(64, len(body) // 20)


def test_the_same_body_gives_the_same_bytes(made_with: ModuleType) -> None:
    assert made_with.gzipped(b"a request")[4:8] == bytes(4), "no time"
    assert made_with.gzipped(b"a request") == made_with.gzipped(b"a request")


def test_either_is_what_its_name_says(made_with: ModuleType, request: pytest.FixtureRequest) -> None:
    assert made_with.compress.__module__.partition(".")[0] == request.node.callspec.params["made_with"]


@pytest.mark.parametrize("first", [[], [b""], [b"# HELP a\n", b"a 1.0\n" * 50_000]], ids=["none", "empty", "many"])
@pytest.mark.parametrize("rest", [[], [b"b 2.0\n", b"# EOF\n" * 9_000]], ids=["none", "some"])
def test_what_another_process_has_begun_is_one_gzip(
    made_with: ModuleType, first: list[bytes], rest: list[bytes]
) -> None:
    packed = b"".join(made_with.gzipped_parts(rest, made_with.begun(first)))
    reader = zlib.decompressobj(31)
    assert reader.decompress(packed) == b"".join(first + rest)
    assert reader.eof and reader.unused_data == b"", "a reader of the first member alone has all of it"
    assert gzip.decompress(packed) == b"".join(first + rest)
