"""User ids: the keyed hash that replaces them, and its key."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import tempfile
import time
from pathlib import Path

from otel_bridge.config import Config, postgres_url
from otel_bridge.errors import StartRefused

log = logging.getLogger(__name__)


class UserHasher:
    """A user id as it may leave the process: 64 bits of a keyed hash.

    Keyed, since ids such as `usuario123` or an e-mail are found in seconds with a dictionary when the hash is plain.
    Of the user id alone, so that a user has the same hash in every GPT.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, user_id: str) -> str:
        return hmac.digest(self._key, user_id.encode("utf-8", "surrogatepass"), "sha256")[:8].hex()


def fingerprint(key: bytes) -> bytes:
    """Tells a key from others, and nothing of it."""
    return hashlib.blake2b(key, digest_size=16, person=b"user-hash-key").digest()


def key_file(config: Config) -> Path | None:
    """Where the key of the user hash is, or will be; None: it is configured. Raises StartRefused: by the journal's two
    names there are two."""
    path, linked = config.key_path, config.linked_key_path
    if config.user_hash_key:
        return None
    if not linked.exists() or (path.exists() and path.samefile(linked)):
        return path
    if not path.exists():
        return linked
    if _read_key(path) != _read_key(linked):
        raise StartRefused(
            f"El diario {config.journal_shown} es un enlace, y hay dos claves del hash de usuarios: {path} y "
            f"{linked}. Un diario tiene una sola: aparta la otra (las versiones anteriores a esta usaban la del "
            "enlace)."
        )
    return path


def user_hash_key(config: Config, has_journal: bool, carried: bytes | None = None) -> bytes:
    """The key of the user hash, made where there is none. `has_journal`: there is a journal already, whose users were
    hashed with a key; `carried`: with this one, that came with a backup of it. Raises StartRefused."""
    path = key_file(config) or config.key_path
    if carried is not None and (config.user_hash_key or _key_in(path) != carried):
        log.warning("%s", put_key(config, carried))
    if not config.user_hash_key and has_journal and not path.exists():
        if postgres_url.is_postgres(config.journal):
            raise StartRefused(
                f"diario {config.journal_shown}: sus réplicas calculan el hash de los usuarios con una clave que "
                f"no está aquí. Cópiala de una de ellas a {path}, o define user_hash_key como allí: con una "
                "clave propia, esta tomaría a cada usuario y cada reintento por nuevo."
            )
        log.warning(
            "journal %s has no key beside it (%s): a new one is made, and every user will look new. "
            "If you have a backup of the key, stop now and restore it; one of the journal holds it, too "
            "(`otel-bridge journal restore FILE --key-only`).",
            config.journal_shown, path.name,
        )  # fmt: skip
    if config.user_hash_key and config.in_database:
        return load_or_create_key(path, config.user_hash_key)  # no file of this bridge goes into a folder
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartRefused(
            f"diario {config.journal_shown}: no se puede crear {folder}: {error.strerror}. Créala para este "
            "usuario, o nombra otro lugar con --journal."
        ) from None
    return load_or_create_key(path, config.user_hash_key)


def keep_key(path: Path, key: bytes) -> None:
    """Writes the key's file again where it was removed since the start: the next start would make another, and every
    user would look new. Raises OSError."""
    if not path.exists() and path.parent.is_dir():
        _create_key(path, key)
        log.warning("the user hash key %s was removed while the bridge ran: it is written again", path)


def kept_key(config: Config) -> bytes | None:
    """The key in its file, to go with a backup; None: there is no file, or the key is configured. Raises StartRefused
    where the file cannot be used."""
    path = key_file(config)
    return None if path is None else _read_key(path)


def put_key(config: Config, key: bytes) -> str:
    """Makes this key, which came with a backup, the one in the file; says what became of it. Another that is there is
    moved aside: the users of the journal that was restored were hashed with this one. Raises StartRefused, OSError."""
    path = key_file(config)
    if path is None:
        return (
            "la clave del hash de usuarios de la copia no se usa: hay una configurada (user_hash_key). Si no es "
            "la misma, todos los usuarios parecerán nuevos"
        )
    there = _key_in(path)
    if there == key:
        return f"la clave del hash de usuarios es la que ya está ahí, {path}"
    said = f"la clave del hash de usuarios queda restaurada en {path}"
    if there is not None:
        aside = path.with_name(f"{path.name}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        path.rename(aside)
        said += f"; había otra, y ahora es {aside}"
    _create_key(path, key)
    return said


def _key_in(path: Path) -> bytes | None:
    """None: there is no file; empty: it cannot be used."""
    try:
        return _read_key(path)
    except StartRefused:
        return b""


_KEY_BYTES = 32
_CONFIGURED_LENGTH = 16


def load_or_create_key(path: Path, configured: str | None) -> bytes:
    """The key of the user hash: the configured one, else the file's, else a new one written to the file.

    A file that is there and cannot be used stops the start. A new key in its place would silently make every
    known user a new one, and so would a lost file: a backup of the journal holds it, too.
    """
    if configured is not None:
        if len(configured) < _CONFIGURED_LENGTH:
            raise StartRefused(
                f"La clave configurada del hash de usuarios tiene {len(configured)} caracteres; hacen falta al menos"
                f" {_CONFIGURED_LENGTH}. Genera una con:"
                " python -c 'import secrets; print(secrets.token_hex(32))'"
            )
        # Any text will do as a key; hashing it gives all keys one length.
        return hashlib.sha256(configured.encode("utf-8", "surrogatepass")).digest()
    key = _read_key(path)
    if key is not None:
        return key
    try:
        _create_key(path, secrets.token_bytes(_KEY_BYTES))
    except OSError as error:
        raise StartRefused(
            f"La clave del hash de usuarios no se pudo escribir en {path}: {error.strerror or error}. Haz sitio "
            "ahí, o permite a este proceso escribir la carpeta, o configura una clave."
        ) from error
    # Read back even after writing it: when two processes race, both must end with the one that won.
    key = _read_key(path)
    if key is None:
        raise StartRefused(f"La clave del hash de usuarios {path} desapareció durante el arranque. Arranca otra vez.")
    return key


def _read_key(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise StartRefused(
                f"La clave del hash de usuarios {path} es un enlace a un archivo que no existe. Restáuralo, o "
                "quita el enlace."
            ) from None
        return None
    except OSError as error:
        raise StartRefused(
            f"La clave del hash de usuarios {path} no se pudo leer: {error.strerror or error}. Permite leerla a "
            "este proceso (modo 0600, mismo dueño)."
        ) from error
    try:
        key = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) < _KEY_BYTES:
        raise StartRefused(
            f"La clave del hash de usuarios {path} está dañada: se esperaban al menos {_KEY_BYTES * 2} cifras "
            f"hexadecimales, y se encontraron {len(content)} bytes que no lo son. Restáurala de una copia del "
            "diario (`otel-bridge journal restore ARCHIVO --key-only`). Solo si no hay ninguna, bórrala: se "
            "crea otra, y cada usuario conocido contará como nuevo."
        )
    return key


def _create_key(path: Path, key: bytes) -> None:
    """Writes a key so that a crash leaves a whole file or none, and a race leaves one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp gives mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key.hex().encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike a rename, it never replaces what another process just wrote
        except FileExistsError:
            pass
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
