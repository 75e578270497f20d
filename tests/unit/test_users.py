"""Where the key of the user hash is: beside the journal's file, by whatever name that is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_bridge import config
from otel_bridge.config import Config
from otel_bridge.errors import StartRefused
from otel_bridge.privacy.users import keep_key, key_file, user_hash_key

ONE, OTHER = bytes(range(32)), bytes(range(32, 64))


def by(path: Path, **environ: str) -> Config:
    return config.load(str(config.SHIPPED), {"OTEL_BRIDGE_JOURNAL": f"sqlite:///{path}", **environ})


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A link to a journal in a folder of its own."""
    (tmp_path / "disk").mkdir()
    made = tmp_path / "journal.db"
    made.symlink_to(tmp_path / "disk" / "the-journal.db")
    return made


def test_by_a_link_and_by_its_own_name_a_journal_has_one_key(link: Path) -> None:
    key = user_hash_key(by(link), False)
    assert user_hash_key(by(link.resolve()), False) == key
    assert sorted(path.name for path in link.resolve().parent.iterdir()) == ["the-journal.key"]
    assert not link.with_suffix(".key").exists()


def test_a_key_that_an_earlier_release_left_beside_the_link_is_used(link: Path) -> None:
    link.with_suffix(".key").write_text(ONE.hex())
    assert user_hash_key(by(link), True) == ONE
    assert not link.resolve().with_suffix(".key").exists()
    link.resolve().with_suffix(".key").write_text(ONE.hex())
    assert user_hash_key(by(link), True) == ONE


def test_two_keys_of_one_journal_stop_the_start(link: Path) -> None:
    link.with_suffix(".key").write_text(ONE.hex())
    link.resolve().with_suffix(".key").write_text(OTHER.hex())
    with pytest.raises(StartRefused, match="hay dos claves del hash de usuarios"):
        user_hash_key(by(link), True)
    user_hash_key(by(link, OTEL_BRIDGE_USER_HASH_KEY="a key of at least sixteen"), True)


def test_a_folder_that_is_a_link_is_not_a_second_place(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    key = user_hash_key(by(tmp_path / "data" / "journal.db"), False)
    assert user_hash_key(by(tmp_path / "data" / "journal.db"), True) == key
    assert key_file(by(tmp_path / "data" / "journal.db")) == tmp_path / "disk" / "journal.key"


def test_a_key_that_was_removed_is_written_again_and_only_that(tmp_path: Path) -> None:
    path = tmp_path / "journal.key"
    keep_key(path, ONE)
    assert path.read_text().strip() == ONE.hex() and path.stat().st_mode & 0o777 == 0o600
    keep_key(path, OTHER)
    assert path.read_text().strip() == ONE.hex()
    keep_key(tmp_path / "moved away" / "journal.key", ONE)
    assert not (tmp_path / "moved away").exists()


def test_a_bridge_over_a_database_with_a_configured_key_makes_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"OTEL_BRIDGE_JOURNAL": "postgresql://u@localhost/d", "OTEL_BRIDGE_USER_HASH_KEY": "k" * 20}
    user_hash_key(config.load(str(config.SHIPPED), environ), True)
    assert [*tmp_path.iterdir()] == []
