"""`otel-bridge journal backup` and `restore`: what they print, what they refuse, what they leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.harness.bridge import Bridge

Make = Callable[..., Bridge]


def test_a_backup_is_made_while_it_serves_read_and_restored_with_its_key(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge().start()
    user = bridge.http.get(f"{bridge.api}/sessions/{bridge.session()}", timeout=5).json()
    folder = tmp_path / "backups"
    folder.mkdir()
    said = json.loads(bridge.run("journal", "backup", str(folder), "--json").stdout)
    file = Path(said["file"])
    assert file.parent == folder and file.name.startswith("otel-bridge-2") and file.stat().st_mode & 0o777 == 0o600
    assert (said["records"], said["exported_up_to"], said["has_key"]) == (1, 0, True)
    assert said["bytes"] == file.stat().st_size and [file] == list(folder.iterdir())
    status = json.loads(bridge.run("journal", "status", "--json", "--journal", f"sqlite:///{file}").stdout)
    assert status["records"] == status["pending"] == 1 and status["went_back"] is None
    assert [file] == list(folder.iterdir()), "reading a backup left a file beside it"
    served = bridge.run("journal", "restore", str(file), "--replace")
    assert served.returncode == 2 and "un otel-bridge lo está sirviendo. Páralo antes" in served.stderr
    bridge.event(str(user["id"]))
    assert bridge.stop() == 0

    there = bridge.run("journal", "restore", str(file))
    assert there.returncode == 2 and "--replace" in there.stderr and "Traceback" not in there.stderr
    key = bridge.journal.with_suffix(".key")
    kept = key.read_bytes()
    key.write_text("ab" * 32)
    done = bridge.run("journal", "restore", str(file), "--replace")
    assert done.returncode == 0, done.stderr
    for words in ("es ahora el diario", "lo que había es ahora", "había otra, y ahora es", "se envían otra vez"):
        assert words in done.stdout
    assert key.read_bytes() == kept
    assert [one.read_text() for one in key.parent.glob("*.key.before-*")] == ["ab" * 32]
    bridge.start()
    went_back = json.loads(bridge.run("journal", "status", "--json").stdout)["went_back"]
    assert (went_back["kind"], went_back["records"], went_back["records_before"]) == ("backup", 1, 2)
    assert bridge.http.get(f"{bridge.url}/readyz", timeout=5).status_code == 200


def test_a_key_that_is_lost_comes_back_alone_and_a_configured_one_is_not_backed_up(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    bridge.session()
    key = bridge.journal.with_suffix(".key")
    kept = key.read_bytes()
    assert bridge.stop() == 0
    assert bridge.run("journal", "backup", "b.db").returncode == 0
    key.unlink()
    assert "los usuarios parecerán nuevos" in bridge.run("journal", "backup", "keyless.db").stdout
    refused = bridge.run("journal", "restore", "keyless.db", "--key-only")
    assert refused.returncode == 2 and "no es una copia que contenga una clave" in refused.stderr
    assert "queda restaurada en" in bridge.run("journal", "restore", "b.db", "--key-only").stdout
    assert key.read_bytes() == kept
    bridge.environ["OTEL_BRIDGE_USER_HASH_KEY"] = "una-clave-configurada"
    assert "guarda también la configuración" in bridge.run("journal", "backup", "configured.db").stdout
    assert "no se usa: hay una configurada" in bridge.run("journal", "restore", "b.db", "--replace").stdout


def test_every_command_has_help_with_examples_and_says_what_it_cannot_do(make_bridge: Make) -> None:
    bridge = make_bridge()
    for command in ("backup", "restore"):
        done = bridge.run("journal", command, "--help")
        assert done.returncode == 0 and "ejemplos:" in done.stdout and "--replace" in done.stdout
    none = bridge.run("journal", "backup", "b.db")
    assert none.returncode == 2 and "aún no existe" in none.stderr
    assert not bridge.journal.parent.exists()
