"""API keys: made once, kept as hashes, compared in constant time. Also: who may post without one.

A key is 32 random bytes, so one round of SHA-256 is enough to keep it: there is nothing to guess that a slow hash
would protect. The `otb_` in front lets secret scanners, and this project's own redaction, recognise one in a text.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path

from otel_bridge.config import Config
from otel_bridge.config.readers import is_loopback
from otel_bridge.errors import StartRefused

PREFIX = "otb_"
MAX_KEY_BYTES = 512


def new_key() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(key: bytes) -> str:
    """A key as the configuration holds it."""
    return "sha256:" + hashlib.sha256(key).hexdigest()


def bearer(headers: Mapping[bytes, bytes]) -> bytes:
    """What a request carries in `Authorization: Bearer …`; empty where there is none."""
    scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
    return rest.strip() if scheme.lower() == b"bearer" else b""


def presented(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The key that a request carries: `Authorization: Bearer …`, else `X-API-Key`. None where there is none that
    could be one."""
    key = bearer(headers) or headers.get(b"x-api-key", b"").strip()
    return key if key and len(key) <= MAX_KEY_BYTES else None


def among(found: str, hashes: Collection[str]) -> bool:
    """Whether a hash is one of these, in a time that says nothing of which or how nearly."""
    same = False
    for one in hashes:
        same |= hmac.compare_digest(found, one)
    return same


# --- without a key ----------------------------------------------------------------------------------------------


def refuse_keyless(config: Config) -> None:
    """Raises StartRefused where anyone on the network could post for a GPT and nobody has said that they may."""
    keyless = [gpt.id for gpt in config.gpts.values() if not gpt.closed]
    if keyless and not is_loopback(config.host) and not config.allow_keyless:
        raise StartRefused(
            f"{config.source}: host: se encontró {config.host!r}, a donde otros pueden llegar, y "
            f"{', '.join(keyless)} sin clave de API. Crea una con `otel-bridge keys new {keyless[0]}`, o escucha "
            "en 127.0.0.1, o escribe allow_keyless = true donde un proxy o un cortafuegos decida quién entra."
        )


# --- a new key in the configuration -------------------------------------------------------------------------------

_TABLE = re.compile(r"^[ \t]*\[[^\n]*$", re.MULTILINE)


def add_hash(path: Path, gpt_id: str, digest: str) -> None:
    """Adds a hash to a GPT in a configuration file and changes nothing else of it. Raises StartRefused where the
    file is written in a way that cannot be edited with certainty; it is then as it was."""
    try:
        text = path.read_text(encoding="utf-8")
        before = tomllib.loads(text)
        edited = _with_hash(text, gpt_id, digest, bool(before["gpts"][gpt_id].get("api_key_hashes")))
        after = tomllib.loads(edited) if edited is not None else None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError) as error:
        raise StartRefused(f"{path}: no se puede editar: {type(error).__name__}. Pega la línea a mano.") from None
    wanted: list[str] = [digest, *before["gpts"][gpt_id].get("api_key_hashes", [])]
    before["gpts"][gpt_id]["api_key_hashes"] = wanted
    if edited is None or after != before:
        raise StartRefused(
            f"{path}: [gpts.{gpt_id}] está escrito de una forma que no es segura de editar. Pega la línea a mano."
        )
    _replace(path, edited)


def _with_hash(text: str, gpt_id: str, digest: str, has_some: bool) -> str | None:
    """The text with the hash in it; whether that is right, the caller sees by reading it."""
    head = re.search(rf"^[ \t]*\[gpts\.[\"']?{re.escape(gpt_id)}[\"']?\][^\n]*(\n|$)", text, re.MULTILINE)
    if head is None:
        return None
    following = _TABLE.search(text, head.end())
    end = following.start() if following else len(text)
    body = text[head.end() : end]
    if not has_some and re.search(r"^[ \t]*api_key_hashes[ \t]*=", body, re.MULTILINE) is None:
        newline = "" if head[0].endswith("\n") else "\n"
        return f'{text[: head.end()]}{newline}api_key_hashes = ["{digest}"]\n{text[head.end() :]}'
    opened = re.search(r"^[ \t]*api_key_hashes[ \t]*=[ \t]*\[", body, re.MULTILINE)
    if opened is None:
        return None
    at = head.end() + opened.end()
    return f'{text[:at]}"{digest}"{", " if has_some else ""}{text[at:]}'


def _replace(path: Path, text: str) -> None:
    """The new file takes the old one's place at once, with its mode and owner: no reader ever sees half of it."""
    name = None
    try:
        target = path.resolve()
        stat = target.stat()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(name).chmod(stat.st_mode & 0o7777)
        if os.geteuid() == 0:
            os.chown(name, stat.st_uid, stat.st_gid)
        Path(name).replace(target)
    except OSError as error:
        if name is not None:
            Path(name).unlink(missing_ok=True)
        raise StartRefused(f"{path}: no se puede escribir: {error.strerror}. Pega la línea a mano.") from None
