"""The certificate that the API is served with, from the settings `tls_cert` and `tls_key`."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

from otel_bridge.config.diagnostics import Diagnostics
from otel_bridge.config.settings import Config


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
