"""Whether certificate files can be used: what would else show at the first request."""

from __future__ import annotations

import re
import ssl
import stat
from pathlib import Path

from otel_bridge.config.diagnostics import Diagnostics

_CERTIFICATE = re.compile(rb"-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----")
_KEY = b"PRIVATE KEY-----"
_SIZE_LIMIT = 16 << 20
"""Bytes of a file that is read: the system's whole list of authorities has a quarter of a million."""


def check_authorities(place: str, path: str, diagnostics: Diagnostics) -> None:
    """Adds what is wrong with a file of authorities."""
    text = _pem(place, path, diagnostics)
    if text is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
        good = _CERTIFICATE.search(text) is not None
    except (OSError, ValueError):
        good = False
    if not good:
        _wrong(diagnostics, place, "un archivo de certificados en formato PEM (-----BEGIN CERTIFICATE-----)")


def check_own(
    certificate: tuple[str, str], key: tuple[str, str], diagnostics: Diagnostics
) -> tuple[str | None, str | None]:
    """(place, path) of the client's certificate and of its key, empty where there is none → the two paths. Adds what is
    wrong with them. One file may hold both."""
    if not certificate[1] and not key[1]:
        return None, None
    if not certificate[1]:
        diagnostics.add(
            f"{key[0]}: la clave de un cliente sin su certificado; se esperaba en OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"
        )
        _pem(*key, diagnostics)
        return None, None
    text = _pem(*certificate, diagnostics)
    if not key[1] and text is not None and _KEY in text:
        key = certificate
    elif not key[1]:
        diagnostics.add(
            f"{certificate[0]}: el certificado de un cliente sin su clave; se esperaba en OTEL_EXPORTER_OTLP_CLIENT_KEY"
        )
        return None, None
    key_text = _pem(*key, diagnostics) if key != certificate else text
    if text is None or key_text is None:
        return None, None
    if not _CERTIFICATE.search(text):
        _wrong(diagnostics, certificate[0], "un certificado en formato PEM (-----BEGIN CERTIFICATE-----)")
        return None, None
    encrypted = False

    def password() -> str:
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate[1], key[1], password)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None)
        if encrypted:
            _wrong(diagnostics, key[0], "una clave privada sin contraseña: no hay nadie que la escriba")
        elif reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            _wrong(diagnostics, key[0], f"la clave privada de {certificate[0]}: esta es de otro")
        elif _KEY not in key_text:
            _wrong(diagnostics, key[0], "una clave privada en formato PEM (-----BEGIN PRIVATE KEY-----)")
        else:
            what = f"un certificado y una clave en formato PEM que se puedan leer ({reason or 'dañados'})"
            _wrong(diagnostics, certificate[0], what)
    return certificate[1], key[1]


def _wrong(diagnostics: Diagnostics, place: str, expected: str) -> None:
    """Adds that the file named at `place` is not what is expected. What stands there is never shown: who mistakes the
    variable writes the key itself there."""
    diagnostics.add(f"{place}: se esperaba {expected} (lo encontrado no se muestra)")


def _pem(place: str, path: str, diagnostics: Diagnostics) -> bytes | None:
    """What a file holds; None where it is no file in PEM form, which is then added."""
    if "-----BEGIN" in path:
        diagnostics.add(f"{place}: se esperaba la ruta de un archivo y se encontró su contenido (no se muestra)")
        return None
    try:
        file = Path(path)
        if not stat.S_ISREG(file.stat().st_mode):
            _wrong(diagnostics, place, "un archivo: esto no lo es")
            return None
        with file.open("rb") as opened:
            text = opened.read(_SIZE_LIMIT)
    except FileNotFoundError:
        _wrong(diagnostics, place, "un archivo: no existe")
        return None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no es una ruta"
        _wrong(diagnostics, place, f"un archivo que este usuario pueda leer: {why}")
        return None
    if b"-----BEGIN " not in text:
        _wrong(diagnostics, place, "un archivo en formato PEM (-----BEGIN …)")
        return None
    return text
