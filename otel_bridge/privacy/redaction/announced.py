"""Secrets that something in the text announces: a label, a command, a kind of document.

Each finder runs only where the text has a word that it needs: on most texts only these cheap checks are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from otel_bridge.privacy.redaction.alternatives import by_rarest_letter
from otel_bridge.privacy.redaction.assignments import find_assignments
from otel_bridge.privacy.redaction.commands import (
    find_argv,
    find_directives,
    find_flags,
    find_netrc,
    find_piped,
    find_secure_strings,
    find_sent,
)
from otel_bridge.privacy.redaction.defaults import find_defaults
from otel_bridge.privacy.redaction.findings import Finding
from otel_bridge.privacy.redaction.headers import find_authorizations, find_cookies
from otel_bridge.privacy.redaction.labels import LONGEST
from otel_bridge.privacy.redaction.manifests import (
    find_declared,
    find_docker_auths,
    find_named_values,
    find_secret_objects,
)
from otel_bridge.privacy.redaction.markup import find_markup
from otel_bridge.privacy.redaction.programs import find_programs
from otel_bridge.privacy.redaction.sentences import (
    find_behind,
    find_blocks,
    find_pairs,
    find_pins,
    find_told,
    find_used,
)
from otel_bridge.privacy.redaction.statements import find_sql
from otel_bridge.privacy.redaction.tables import find_cells, find_columns
from otel_bridge.privacy.redaction.values import has_digit

# Programs that take a password without a flag.
_BARE_COMMANDS = (
    *("net use", "rabbitmqctl", "rclone", "ngrok", "redis-cli", "openssl passwd", "nmcli", "wpa_passphrase"),
    *("mysqladmin", "vault ", "mc ", "sqlplus", "expdp", "impdp", "rman ", "exp ", "imp ", "sqlldr", "consul "),
    *("neo4j-admin", "composer", "poetry", "bundle "),
)
_BARE_COMMAND = re.compile(by_rarest_letter(_BARE_COMMANDS)).search
# A finding needs one of these in the lower-cased text: no condition of `_announced` holds without. Most texts end here,
# after a third of the time that all those conditions take.
_HINTS = (
    *("pass", "pw", "contra", "clave", "psw", "senha", "frase de"),
    *("secret", "token", "key", "cred", "sig=", "psk", "_salt", "dockerc", "auth", "bearer", "basic", "cookie"),
    *("identified", "crypt(", "md5(", "conn", "pragma", "sp_"),
    *_BARE_COMMANDS,
    *(" -", " /", "echo ", "printf ", "<<<", "securestring", "pdo("),
    *("community", "snmp-server", " on >", '["', "['", "send"),
    *("login", "acceso", "user", "usuario", "pin", "nip", "otp"),
)
_HINT = re.compile(by_rarest_letter(_HINTS)).search
_PIN = re.compile(r"(?:pin|nip|otp)[\"']?(?:\s?[:=]| es )").search


def find_secrets(text: str, low: str) -> Iterable[Finding]:
    """From the most to the least specific; `low` is `view.lower(text)`."""
    hint = _HINT(low)
    return () if hint is None else _announced(text, low, max(0, hint.start() - LONGEST))


def _announced(text: str, low: str, since: int) -> Iterator[Finding]:
    """`since`: no label begins before, but for `sig`: those are searched for from there on."""
    strong = (
        "pass" in low
        or "pw" in low
        or "contra" in low
        or "clave" in low
        or "psw" in low
        or "senha" in low
        or "frase de" in low
    )
    labelled = (
        strong
        or "secret" in low
        or "token" in low
        or "key" in low
        or "credential" in low
        or "sig=" in low
        or "psk" in low
        or "_salt" in low
        or "dockerc" in low
    )
    auth = "auth" in low
    if auth or "bearer" in low or "basic" in low:
        yield from find_authorizations(text, low)
    if "cookie" in low or " -b " in text:
        yield from find_cookies(text, low)
    if (
        "identified" in low
        or "crypt(" in low
        or "md5(" in low
        or (
            (strong or "secret" in low or "token" in low)
            and (
                "create" in low
                or "alter" in low
                or "grant" in low
                or "set" in low
                or "('" in low
                or "where" in low
                or "insert" in low
            )
        )
        or ("@" in text and "conn" in low)
        or "pragma" in low
        or "sp_" in low
    ):
        yield from find_sql(text, low)
    if " -" in text or " /" in text or _BARE_COMMAND(text):
        yield from find_programs(text)
        if labelled or auth:
            yield from find_flags(text, low)
    if ("|" in text and ("echo " in text or "printf " in text)) or "chpasswd" in text or "<<<" in text:
        yield from find_piped(text)
    if "securestring" in low or (
        "(" in text
        and (auth or "credential" in low or "login(" in low or "conn" in low or "pdo(" in low or "changeuser" in low)
    ):
        yield from find_secure_strings(text, low)
    if (
        "requirepass" in low
        or "masterauth" in low
        or "pw " in low
        or "AUTH " in text
        or "stats auth" in low
        or "rocommunity" in low
        or "rwcommunity" in low
        or "snmp-server" in low
        or " on >" in low
        or (("secret" in low or "password" in low) and ("enable" in low or "username" in low))
    ):
        yield from find_directives(text)
    if '["' in text or "['" in text:
        yield from find_argv(text)
    if "send" in text and ("\\" in text or "sendline" in text):
        yield from find_sent(text)
    if "Secret" in text and "kind" in text and "ata" in text:
        yield from find_secret_objects(text)
    if auth:
        yield from find_docker_auths(text)
    if "<" in text and labelled:
        yield from find_markup(text, low)
    if labelled:
        if "password" in low and ("login" in low or "machine" in low or "default" in low):
            yield from find_netrc(text)
        if (
            "$" in text
            or "(" in text
            or "||" in text
            or "??" in text
            or " or " in low
            or "default" in low
            or "{{" in text
        ):
            yield from find_defaults(text, low)
        yield from find_named_values(text, low)
        if "env " in low or "arg " in low or "set" in low:
            yield from find_declared(text, low)
        if "|" in text:
            yield from find_cells(text, low)
        if "\n" in text and strong:
            yield from find_columns(text, low)
        sig = low.find("sig", 0, since + 2)
        yield from find_assignments(text, low, since if sig < 0 else sig)
        yield from find_told(text, low, since)
        if has_digit(low):
            yield from find_behind(text, low, since)
        if '"' in text or "'" in text:
            yield from find_blocks(text, low)
        if strong and (" como " in low or " as " in low or " de " in low):
            yield from find_used(text, low)
    if "cred" in low or "login" in low or "acceso" in low or "usuario" in low or "user" in low:
        yield from find_pairs(text, low)
    if ("pin" in low or "nip" in low or "otp" in low) and _PIN(low):
        yield from find_pins(low)
        if not labelled:
            yield from find_told(text, low, since)
