"""The certificate that the API is served with, from the settings `tls_cert` and `tls_key`."""

from __future__ import annotations

import re
import ssl
import stat
import time
from datetime import UTC, datetime
from pathlib import Path

from otel_bridge.config.diagnostics import Diagnostics
from otel_bridge.config.settings import Config

SOON_DAYS = 7
"""Before its end a certificate is warned of for so long: one of Let's Encrypt is renewed a month before."""
_FIRST = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


def context(config: Config) -> ssl.SSLContext | None:
    """What TLS is spoken with, of the files as they are now; None where the API is plain HTTP. TLS 1.2 and 1.3, without
    renegotiation. Raises ValueError with what is wrong with the files, and nothing of what stands in them."""
    if config.tls_cert is None:
        if config.tls_key is not None:
            raise ValueError("tls_key: hay una clave sin su certificado; pon el certificado en tls_cert (--tls-cert)")
        return None
    certificate, key = Path(config.tls_cert), Path(config.tls_key or config.tls_cert)
    pem = _pem("tls_cert", certificate)
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise ValueError(f"tls_cert: {certificate} no tiene un certificado en forma PEM (-----BEGIN CERTIFICATE-----)")
    if b"PRIVATE KEY-----" not in (_pem("tls_key", key) if config.tls_key is not None else pem):
        advice = "" if config.tls_key is not None else "; si está en otro archivo, nómbralo en tls_key (--tls-key)"
        raise ValueError(
            f"{'tls_key' if config.tls_key else 'tls_cert'}: {key} no tiene una clave privada en PEM{advice}"
        )
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION
    made.set_alpn_protocols(["http/1.1"])
    encrypted = False

    def password() -> str:
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        made.load_cert_chain(certificate, key, password)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or "no se pueden leer"
        if encrypted:
            raise ValueError(f"tls_key: {key} pide una contraseña, y nadie está para escribirla: quítasela") from None
        if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            raise ValueError(f"tls_key: la clave de {key} no es la del certificado de {certificate}") from None
        raise ValueError(f"tls_cert: {certificate} y {key} no sirven como certificado y clave ({reason})") from None
    return made


def check(config: Config, diagnostics: Diagnostics) -> None:
    """Adds what is wrong with it."""
    if diagnostics.uncertain & {"tls_cert", "tls_key"}:
        return
    try:
        context(config)
    except ValueError as error:
        diagnostics.add(str(error))
        return
    if (said := ending(config)) is not None:
        diagnostics.warn(said)


def ending(config: Config) -> str | None:
    """What to say of a certificate that has ended or ends soon; None of any other, and where there is none."""
    if config.tls_cert is None:
        return None
    try:
        end = _not_after(Path(config.tls_cert).read_bytes())
    except (OSError, ValueError, IndexError):  # it is served: a form of date that is read nowhere else stops nothing
        return None
    left = end.timestamp() - time.time()
    if left > SOON_DAYS * 86_400:
        return None
    when = f"{end:%Y-%m-%d %H:%M} UTC"
    what = f"caducó el {when}: los clientes que lo comprueban lo rechazan" if left <= 0 else f"caduca el {when}"
    return f"tls_cert: el certificado de {config.tls_cert} {what}; renuévalo, y un SIGHUP lo toma sin reiniciar"


def _not_after(pem: bytes) -> datetime:
    """When the first certificate of a file ends. The standard library tells it of authorities alone, so it is read here
    (RFC 5280, 4.1). Raises ValueError, IndexError."""
    found = _FIRST.search(pem)
    if found is None:
        raise ValueError("no certificate")
    outer = _parts(ssl.PEM_cert_to_DER_cert(found[0].decode("ascii")))
    fields = _parts(_parts(outer[0][1])[0][1])  # of its signed part
    if fields[0][0] == 0xA0:  # the version, which the first one leaves out
        fields = fields[1:]
    _, _, _, (_, validity), *_ = fields  # after serial number, algorithm, issuer
    kind, text = _parts(validity)[1]
    year = text.decode("ascii")
    if kind == 0x17:  # UTCTime: two digits of the year
        year = ("20" if year < "50" else "19") + year
    return datetime.strptime(year, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """(tag, content) of each value that stands here, one after the other."""
    parts = []
    at = 0
    while at < len(der):
        tag, size, begin = der[at], der[at + 1], at + 2
        if size >= 0x80:
            begin += size & 0x7F
            size = int.from_bytes(der[at + 2 : begin])
        parts.append((tag, der[begin : begin + size]))
        at = begin + size
    return parts


def _pem(setting: str, path: Path) -> bytes:
    # Who mistakes the setting writes the key itself there.
    if "-----BEGIN" in str(path):
        raise ValueError(f"{setting}: se esperaba la ruta de un archivo, y está lo que va dentro (no se muestra)")
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"{setting}: {path} no es un archivo")
        return path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{setting}: no existe el archivo {path}") from None
    except OSError as error:
        raise ValueError(f"{setting}: el archivo {path} no se puede leer: {error.strerror}") from None
