"""The words that announce a secret, as patterns over lower-cased text."""

from __future__ import annotations

import re

# Behind one of these nearly anything is a password.
STRONG = r"passwords?|passwd|passphrase|passwort|pass|pwd|psw|contrase(?:ñ|ny?)as?|bindpw|requirepass|senha"
# Behind these only what looks like a secret is one: they have other uses (`token=4096`).
WEAK = (
    r"secreto?|token|(?:api|access|account|private|encryption|signing|master|shared|auth|storage|app|hmac|aes|jwt)"
    r"[_ .-]?key|secret[_.-]?(?:access[_.-]?)?key|credential|sig|client-key-data|dockerconfigjson|dockercfg"
)
WORD = rf"{STRONG}|clave|{WEAK}"
# What may follow the word in a name without making it the name of something else (`password_file`, `token_url`).
SUFFIX = (
    r"(?:[_-]?[0-9]{1,3}|[_-](?:prod|produccion|production|pro|pre|dev|test|qa|staging|stg|local|root|admin|user|app|"
    r"db|old|new|backup|plain|text|value|hash|base|base64|b64|github|gitlab|slack))?"
)

_SAYS_SECRET = re.compile(rf"(?:{WORD}){SUFFIX}[_*]{{0,2}}\Z").search
_MAYBE = re.compile(r"pass|pwd|psw|pw\Z|contras|clave|secret|token|key|credential|sig\Z|docker|senha").search
_ENDS_WITH_WORD = re.compile(rf"(?:\A|[_.-])(?:{WORD}|creds|credentials|secrets|tokens|cert|tls|regcred)\Z").search
_EMBEDDED = frozenset({"pass", "clave", "sig", "psw"})
_OWNERS = re.compile(
    r"(?:db|mysql|pg|postgres|root|user|admin|smtp|ftp|ssh|ldap|redis|mail|my|sudo|become|login|store|key|wifi|bd)\Z"
).search
# The name of a Kubernetes Secret stands behind these, not what is in it.
_NAMES_OBJECT = re.compile(
    r"(?:existing|image[_-]?pull|pull|tls|auth|credentials?|password|pass|token|cert(?:ificate)?s?|from|ca|ssl|"
    r"registry|"
    r"docker|basic|target|ref|named?)[_.-]?\Z"
).search

HAS_PLACEHOLDER = re.compile(r"\[(?:correo|telefono|tarjeta|iban|ip|documento|clave|jwt|contraseña)(?=[\]-]|\Z)").search


def is_label(text: str, low: str, start: int, word: str) -> bool:
    """Whether the word at `start` is one of its own, and not the end of another (`bypass`, `enclave`, `[clave]`)."""
    if start == 0:
        return True
    before = low[start - 1]
    if before == "[" and word in ("clave", "contraseña") and low.startswith("]", start + len(word)):
        return False
    if before.isalpha():
        if word in _EMBEDDED:
            camel = text[start].isupper() and not text[start - 1].isupper()
            return camel or _OWNERS(low, max(0, start - 10), start) is not None
        if word == "token" and low.startswith(("next", "page", "tion"), max(0, start - 4)):
            return False  # of the next page of a list
        if word.startswith("secret"):
            return not _NAMES_OBJECT(low, max(0, start - 16), start)
    elif before in "_-." and word.startswith("secret"):
        return not _NAMES_OBJECT(low, max(0, start - 16), start)
    return True


def says_secret(name: str) -> bool:
    """Whether a name, such as `DB_PASSWORD` or `db.clientSecret`, promises a secret behind it."""
    low = name.lower()
    if _MAYBE(low) is None:
        return False
    match = _SAYS_SECRET(low)
    return match is not None and is_label(name, low, match.start(), match[0].rstrip("_*"))


def is_strong(word: str) -> bool:
    return word.startswith(("pass", "pwd", "psw", "contrase", "bindpw", "requirepass", "senha"))


def names_label(value: str) -> bool:
    """Whether a value is itself such a name (`db-password`), without a digit: what it names is the secret."""
    low = value.lower()
    return _ENDS_WITH_WORD(low) is not None and not any("0" <= char <= "9" for char in low)
