"""The words that announce a secret, as patterns over lower-cased text."""

from __future__ import annotations

import re

from otel_bridge.privacy.redaction.alternatives import by_first_letter

# After one of these nearly anything is a password.
_STRONG = (
    *("passwords?", "passwd", "passphrase", "passwort", "pass", "pwd", "psw", "pw", r"contrase(?:ñ|ny?)as?", "bindpw"),
    *("requirepass", "senha", "frase de paso"),
)
_KEYS = "api access account private encrypt(?:ion)? signing master shared auth storage app hmac aes jwt"
# After these only a value that looks like a secret is one: they have other uses (`token=4096`).
_WEAK = (
    *("secreto?", "token", *(f"{kind}[_ .-]?key" for kind in _KEYS.split()), "auth_salt", "logged_in_salt"),
    *("nonce_salt", "psk", "secret[_.-]?(?:access[_.-]?)?key", "credential", "sig", "client-key-data"),
    *("dockerconfigjson", "dockercfg"),
)
STRONG, WEAK = by_first_letter(_STRONG), by_first_letter(_WEAK)
# «la clave primaria es id_2»: these keys open nothing.
OTHER_KEYS = (
    r"(?! (?:primari|for[aá]ne|p[uú]blic|[uú]nic|compuest|princip|natural|subrogad|candidat|ajen|extern|"
    r"de (?:partici|orden|b[uú]squeda|cach|registro|idempot)|del? (?:[eé]xito|problema|asunto|tema|rendimiento|todo|"
    r"diccionario|mapa|json|registro)))"
)
CLAVE = rf"clave(?<!palabra clave)(?<!palabras clave){OTHER_KEYS}"
WORD = by_first_letter((*_STRONG, CLAVE, r"contra(?= ?[:=]| del? \w)", *_WEAK))
LONGEST = 24
"""No label is longer."""
# What may follow the word in a name without making it the name of something else (`password_file`, `token_url`).
SUFFIX = (
    r"(?:[_-]?[0-9]{1,3}|[_-](?:prod|produccion|production|pro|pre|dev|test|qa|staging|stg|local|root|admin|user|app|"
    r"db|old|new|backup|plain|text|value|hash|base|base64|b64|github|gitlab|slack))?"
)

_SAYS_SECRET = re.compile(rf"(?:{WORD}){SUFFIX}[_*]{{0,2}}\Z").search
_MAYBE = re.compile(r"pass|pwd|psw|pw\Z|contras|clave|secret|token|key|credential|sig\Z|docker|senha|psk|_salt").search
_DIGIT = re.compile("[0-9]").search
_ENDS_WITH_WORD = re.compile(rf"(?:\A|[_.-])(?:{WORD}|creds|credentials|secrets|tokens|cert|tls|regcred)\Z").search
_EMBEDDED = frozenset({"pass", "clave", "contra", "sig", "psw", "pw", "psk"})
_OWNERS = re.compile(
    r"(?:db|mysql|pg|postgres|root|user|admin|smtp|ftp|ssh|ldap|redis|mail|my|sudo|become|login|store|key|wifi|bd)\Z"
).search
# These tokens open nothing: of the next page of a list, of a request that is not to be made twice, of an assembly.
_OTHER_TOKENS = tuple(
    "next page continuation starting sync request cancellation idempotency creation lock publickey public_key".split()  # noqa: SIM905
)
# The name of a Kubernetes Secret stands behind these, not what is in it.
_NAMES_OBJECT = re.compile(
    r"(?:existing|image[_-]?pull|pull|tls|auth|credentials?|password|pass|token|cert(?:ificate)?s?|from|ca|ssl|"
    r"registry|"
    r"docker|basic|target|ref|named?)[_.-]?\Z"
).search

HAS_PLACEHOLDER = re.compile(r"\[(?:correo|telefono|tarjeta|iban|ip|documento|clave|jwt|contraseña)(?=[\]-]|\Z)").search


def is_label(text: str, low: str, start: int, word: str) -> bool:
    """Whether the word at `start` stands alone, and is not the end of another (`bypass`, `enclave`, `[clave]`)."""
    if start == 0:
        return True
    before = low[start - 1]
    if before == "[" and word in ("clave", "contraseña") and low.startswith("]", start + len(word)):
        return False
    if before.isalpha():
        if word in _EMBEDDED:
            camel = text[start].isupper() and not text[start - 1].isupper()
            return camel or _OWNERS(low, max(0, start - 10), start) is not None
        if word == "passwd" and low.endswith("no", max(0, start - 2), start):
            return False  # NOPASSWD of sudo
        if word == "token" and low[max(0, start - 16) : start].endswith(_OTHER_TOKENS):
            return False
        if word.startswith("secret"):
            return not _NAMES_OBJECT(low, max(0, start - 16), start)
    elif before in "_-.":
        if word.startswith("secret") and (before != "." or word == "secret"):
            return not _NAMES_OBJECT(low, max(0, start - 16), start)
        if word == "token":
            return not low[max(0, start - 16) : start - 1].endswith(_OTHER_TOKENS)
    elif before == ":" and word == "secret":
        return low.rfind("arn:", max(0, start - 80), start) < 0
    return True


def says_secret(name: str) -> bool:
    """Whether a name, such as `DB_PASSWORD` or `db.clientSecret`, is the name of a secret."""
    low = name.lower()
    if _MAYBE(low) is None:
        return False
    match = _SAYS_SECRET(low)
    return match is not None and is_label(name, low, match.start(), match[0].rstrip("_*"))


def is_strong(word: str) -> bool:
    return word.startswith(("pass", "pw", "psw", "contrase", "bindpw", "requirepass", "senha", "frase"))


def names_label(value: str) -> bool:
    """Whether a value is itself such a name (`db-password`), without a digit: then the secret is elsewhere."""
    low = value.lower()
    return _DIGIT(low) is None and _ENDS_WITH_WORD(low) is not None
