"""`Host`: a request has one that is one, and it is a name that the listener answers to."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_bridge import config
from otel_bridge.access import hosts
from otel_bridge.access.hosts import Hosts
from otel_bridge.config import Config
from otel_bridge.errors import Problem


@pytest.mark.parametrize(
    "host",
    [b"", b"x", b"localhost:8000", b"127.0.0.1", b"[::1]:9464", b"[fe80::1%25eth0]", b"otel_bridge:9464",
     b"bridge.svc.cluster.local.", b"a%20b", b" x ", b"x:", b"a,b"],
)  # fmt: skip
def test_a_host_is_a_name_or_an_address_with_or_without_a_port(host: bytes) -> None:
    assert hosts.the_one([host], "1.1") == host.strip()


@pytest.mark.parametrize(
    "values",
    [[], [b"x", b"x"], [b"a", b"b"], [b"a b"], [b"a/b"], [b"user@x"], [b"http://x"], [b"x:port"], [b"x:1:2"], [b"::1"],
     [b"[::1"], [b"[zz]"], [b"a%2"], [b'evil"}<script>'], ["ñandú".encode()], [b"a\x00"], [b"x\\y"], [b"x?y"]],
)  # fmt: skip
def test_none_two_or_what_is_none_is_refused(values: list[bytes]) -> None:
    with pytest.raises(Problem) as refused:
        hosts.the_one(values, "1.1")
    assert refused.value.kind.status == 400
    assert all(value.decode("latin-1") not in refused.value.detail for value in values if len(value) > 2)


def test_http_1_0_does_without() -> None:
    assert hosts.the_one([], "1.0") is None
    with pytest.raises(Problem):
        hosts.the_one([b"x", b"x"], "1.0")


def settings(tmp_path: Path, **environ: str) -> Config:
    (tmp_path / "c.toml").write_text("[gpts.g]\n")
    return config.load(str(tmp_path / "c.toml"), {f"OTEL_BRIDGE_{name}": value for name, value in environ.items()})


def admits(names: Hosts, host: bytes | None) -> bool:
    try:
        names.check(host)
    except Problem as problem:
        assert problem.kind.status == 403
        return False
    return True


def test_on_loopback_it_answers_to_loopback_names_and_to_the_public_one(tmp_path: Path) -> None:
    names = Hosts(settings(tmp_path, PUBLIC_URL="https://Koomtai.com/api"), lambda now: now.metrics_host)
    for host in (b"localhost", b"LocalHost:1", b"127.0.0.1:9464", b"127.8.9.1", b"[::1]:9464", b"koomtai.COM", None):
        assert admits(names, host), host
    for host in (b"", b"evil.example", b"localhost.evil.example", b"127.0.0.1.nip.io", b"10.0.0.1", b"[::2]", b"[::1"):
        assert not admits(names, host), host
    names.configure(settings(tmp_path))
    assert not admits(names, b"koomtai.com")


def test_beyond_loopback_it_answers_to_any_name(tmp_path: Path) -> None:
    names = Hosts(settings(tmp_path, METRICS_HOST="0.0.0.0"), lambda now: now.metrics_host)
    assert admits(names, b"otel-bridge:9464") and admits(names, b"bridge.default.svc")
