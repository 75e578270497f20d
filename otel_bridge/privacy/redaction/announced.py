"""Secrets that something in the text announces: a label, a command, a kind of document.

Each finder runs only where the text has a word that it needs: on most texts only these cheap checks are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

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

_PIN = re.compile(r"(?:pin|nip|otp)[\"']?(?:\s?[:=]| es )").search


def _bare_command(text: str) -> bool:
    """Whether a program is named that takes a password without a flag. (One regex of them all takes thrice as long.)"""
    return (
        "net use" in text
        or "rabbitmqctl" in text
        or "rclone" in text
        or "ngrok" in text
        or "redis-cli" in text
        or "openssl passwd" in text
        or "nmcli" in text
        or "wpa_passphrase" in text
        or "mysqladmin" in text
        or "vault " in text
        or "mc " in text
        or "sqlplus" in text
        or "expdp" in text
        or "impdp" in text
        or "rman " in text
        or "exp " in text
        or "imp " in text
        or "sqlldr" in text
        or "consul " in text
        or "neo4j-admin" in text
        or "composer" in text
        or "poetry" in text
        or "bundle " in text
    )


def find_secrets(text: str, low: str) -> Iterator[Finding]:
    """From the most to the least specific; `low` is `view.lower(text)`."""
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
    if " -" in text or " /" in text or _bare_command(text):
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
        yield from find_assignments(text, low)
        yield from find_told(text, low)
        yield from find_behind(text, low)
        if '"' in text or "'" in text:
            yield from find_blocks(text, low)
        if strong and (" como " in low or " as " in low or " de " in low):
            yield from find_used(text, low)
    if "cred" in low or "login" in low or "acceso" in low or "usuario" in low or "user" in low:
        yield from find_pairs(text, low)
    if ("pin" in low or "nip" in low or "otp" in low) and _PIN(low):
        yield from find_pins(low)
        if not labelled:
            yield from find_told(text, low)
