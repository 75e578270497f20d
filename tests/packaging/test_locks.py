"""requirements/*.txt: what pyproject.toml asks for, for every Python and machine that the README names."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.markers import Environment, Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ("run.txt", "dev.txt")
# Debian 12 has 3.11.2, Debian 13 has 3.13; a marker can turn on the third part (async-timeout: below 3.11.3).
NOT_SERVED = ("parquet",)
"""Extras that no bridge needs to serve: 50 MB that an image goes without."""
PYTHONS = ("3.11.0", "3.11.2", "3.11.9", "3.12.0", "3.13.0", "3.13.5", "3.14.0", "3.14.7")
MACHINES = ("x86_64", "aarch64")


@dataclass(frozen=True)
class Locked:
    version: str
    marker: Marker | None
    hashes: int


def locked(lock: str) -> dict[str, list[Locked]]:
    """What a lock has, by canonical name; a name can stand more than once, for different markers."""
    found: dict[str, list[Locked]] = {}
    text = re.sub(r"\s*\\\n\s*", " ", (ROOT / "requirements" / lock).read_text(encoding="utf-8"))
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        requirement, *hashes = line.split(" --hash=")
        parsed = Requirement(requirement)
        version = re.fullmatch(r"==(\S+)", str(parsed.specifier))
        assert version, f"{lock}: {requirement} is no exact version"
        found.setdefault(canonicalize_name(parsed.name), []).append(Locked(version[1], parsed.marker, len(hashes)))
    return found


def environment(python: str, machine: str, platform: str = "linux") -> Environment:
    environment = default_environment()
    environment["python_full_version"] = python
    environment["python_version"] = python.rpartition(".")[0]
    environment["platform_machine"] = machine
    environment["sys_platform"] = platform
    environment["platform_system"] = {"linux": "Linux", "win32": "Windows"}.get(platform, "")
    return environment


def asked(lock: str) -> list[Requirement]:
    """What pyproject.toml asks for in this lock; the commands of scripts/lock."""
    groups = {"run.txt": ("build",), "dev.txt": ("build", "dev")}[lock]
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [name for name in extras if lock == "dev.txt" or name not in NOT_SERVED]
    texts = [*PROJECT["project"]["dependencies"], *(text for name in wanted for text in extras[name])]
    for group in groups:
        texts += PROJECT["dependency-groups"][group]
    asked = [Requirement(text) for text in texts]
    return [requirement for requirement in asked if requirement.name != PROJECT["project"]["name"]]  # `all`: the others


def applies(requirement: Requirement, environment: Environment, extras: frozenset[str] = frozenset()) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({**environment, "extra": extra}) for extra in (*extras, ""))


def walk(lock: str, environment: Environment) -> Iterator[tuple[str, Requirement]]:
    """Each requirement that holds in `environment` and who asks for it: those of pyproject.toml, and by the metadata
    of what is installed here, theirs. What is not installed here (another Python's) is seen by pip, below."""
    waiting = [("pyproject.toml", requirement) for requirement in asked(lock)]
    met: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        who, requirement = waiting.pop()
        if not applies(requirement, environment):
            continue
        yield who, requirement
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in met:
            continue
        met.add((name, extras))
        try:
            texts = requires(name) or []
        except PackageNotFoundError:
            continue
        for text in texts:
            inner = Requirement(text)
            if applies(inner, environment, extras):
                inner.marker = None  # judged here, with the extras that were asked for
                waiting.append((name, inner))


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_everything_asked_for_is_locked_for_this_python(lock: str, machine: str, python: str) -> None:
    there = environment(python, machine)
    lines = locked(lock)
    for who, requirement in walk(lock, there):
        here = [
            line
            for line in lines.get(canonicalize_name(requirement.name), [])
            if line.marker is None or line.marker.evaluate({**there})
        ]
        assert len(here) == 1, f"{who} asks for {requirement}; {lock} has {here} for Python {python} on {machine}"
        assert requirement.specifier.contains(here[0].version, prereleases=True), f"{who}: {requirement}, {here[0]}"


@pytest.mark.parametrize("lock", LOCKS)
def test_nothing_is_locked_that_nobody_asks_for(lock: str) -> None:
    reached = {
        canonicalize_name(requirement.name)
        for python in PYTHONS
        for platform in ("linux", "win32", "emscripten")
        for _, requirement in walk(lock, environment(python, "x86_64", platform))
    }
    assert set(locked(lock)) <= reached


def test_what_the_tests_use_is_what_is_served() -> None:
    run, dev = locked("run.txt"), locked("dev.txt")
    assert {name: dev.get(name) for name in run} == run


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_has_hashes_and_no_address(lock: str) -> None:
    assert all(line.hashes for lines in locked(lock).values() for line in lines)
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    assert not re.search(r"://|^\s*-(?!-hash)|/tmp|/home", text, re.MULTILINE)
    assert "make lock" in text.splitlines()[1], "made by scripts/lock"


# What a user's pip does with them. dev.txt has all of run.txt (above), so that each Python is asked once.
RESOLVED = [(python, "x86_64", "dev.txt") for python in ("3.11.0", "3.12.0", "3.13.0", "3.14.0")] + [
    (python, "aarch64", "run.txt") for python in ("3.11.0", "3.14.0")
]


@pytest.mark.slow
def test_pip_resolves_the_locks_for_every_python_without_compiling() -> None:
    def resolve(case: tuple[str, str, str]) -> tuple[tuple[str, str, str], subprocess.CompletedProcess[str]]:
        python, machine, lock = case
        command = [sys.executable, "-m", "tests.packaging.resolve", python, machine, f"requirements/{lock}"]
        return case, subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)

    with ThreadPoolExecutor(2) as pool:
        for case, done in pool.map(resolve, RESOLVED):
            if "connection broken by" in done.stderr and "NewConnectionError" in done.stderr:
                pytest.skip("no package index is reached from here")
            assert done.returncode == 0, f"{case}: {done.stderr[-2000:]}"


def test_pip_refuses_a_lock_that_lacks_what_one_python_needs(tmp_path: Path) -> None:
    """The check above can fail: the lock that Debian 12 met, without async-timeout."""
    short = tmp_path / "run.txt"
    text = (ROOT / "requirements" / "run.txt").read_text(encoding="utf-8")
    short.write_text(re.sub(r"^async-timeout==(.*\\\n)*.*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
    command = [sys.executable, "-m", "tests.packaging.resolve", "3.11.2", "x86_64", str(short)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    if "NewConnectionError" in done.stderr:
        pytest.skip("no package index is reached from here")
    assert done.returncode != 0 and "async-timeout" in done.stderr
