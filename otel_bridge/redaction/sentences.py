"""Passwords told in a sentence: «la clave del wifi es x», «usuario ana contraseña x», «credenciales: ana/x»."""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.redaction.assignments import NOUN, OWNER
from otel_bridge.redaction.findings import PLACEHOLDER, Finding
from otel_bridge.redaction.labels import STRONG, is_label, is_strong
from otel_bridge.redaction.values import has_digit, is_reference

_WORD = rf"{STRONG}|clave|token|secreto?|api[ -]?key|pin|nip|otp|frase de paso|credencial"
# «la clave primaria es id_2»: these keys open nothing.
_OTHER_KEYS = (
    r"(?! (?:primari|for[aá]ne|p[uú]blic|[uú]nic|compuest|princip|natural|subrogad|candidat|ajen|extern|"
    r"de (?:partici|orden|b[uú]squeda|cach)|del? (?:[eé]xito|problema|asunto|tema|rendimiento|todo|diccionario|"
    r"mapa|json)))"
)
# After the verb only a word that looks made up: the rest of most sentences is none.
_TOLD = re.compile(
    rf"(?P<word>{_WORD}){_OTHER_KEYS}{OWNER} "
    r"(?:es|is|era|was|ser[aá]|fue|sigue siendo|ahora es|pas[oó] a ser|cambi[oó] a|is now|will be)[ :]{1,2}+"
    r"(?:(?:el|la|this|esta|este|la siguiente)[ :]{1,2}+)?"
    rf"(?![\"'`“«‘*]{{0,2}}{PLACEHOLDER})\*{{0,2}}"
    r"(?:[\"'`“«‘](?P<quoted>[^\"'`“”«»‘’\n]{1,128}+)[\"'`”»’]|(?P<bare>[^\s\"'`“”«»‘’]{1,256}+))"
)
# No mark at all: a letter and a digit are asked for, and a word before that tells of logging in.
_BEHIND = re.compile(
    rf"(?P<word>{STRONG}|clave){_OTHER_KEYS}(?P<noun> (?:{NOUN}))? "
    r"(?P<bare>(?=[^\s\"'`]{0,40}?[0-9])(?=[^\s\"'`]{0,40}?[a-z])[^\s\"'`,;:=(){}<>|]{6,128}+)"
)
_LOGIN = re.compile(
    r"\b(?:usuario|user(?:name)?|usr|login|con|with|mi|my|usando|using|es|entrar?|acced[eo]\w*)\b"
).search
_ALGORITHM = re.compile(
    r"(?:sha-?[0-9]|md[45]|oauth|ed25519|rsa|aes|base64|argon2|pbkdf2|scram|utf|v[0-9]|mysql|postgres|win|x509|ssh|"
    r"id_|http|tls|ssl|jwt|python|node|bcrypt|java|k8s|s3|ec2|ipv|md5|des3|3des|log4j|oauth2)"
).match
_PAIR = re.compile(
    r"(?:credencial(?:es)?|credentials?|creds|acceso|usuario(?:/| y | )(?:clave|contraseña|password|pass)|user(?:name)?"
    r"(?:/|:| and )pass(?:word)?|login)(?: [a-z]{2,12}){0,3}?\s?[:=]\s{0,2}(?:[\w.@-]{1,60})\s?[/:|]\s?"
    rf"(?!{PLACEHOLDER})(?P<bare>[^\s\"'`,;]{{3,128}}+)"
)
_TRAIL = ".,;:)]}>!?*"


def _looks_made_up(value: str, word: str) -> bool:
    """Whether it is likelier a password than the next word of the sentence."""
    if word in ("pin", "nip", "otp"):
        return value.isdigit() and 4 <= len(value) <= 8
    if has_digit(value):
        return len(value) >= (4 if is_strong(word) or word == "clave" else 8) and not value.lower().startswith("id_")
    if not is_strong(word) or len(value) < 6:
        return False
    inside = value[1:]
    mixed = inside != inside.lower() and value != value.upper() and value.isalpha()
    return mixed or any(char in "@#$%^&*+=~!" for char in inside[:-1])


def find_told(text: str, low: str) -> Iterator[Finding]:
    for match in _TOLD.finditer(low):
        kind = match.lastgroup
        assert kind is not None
        start, end = match.span(kind)
        word = match["word"]
        if not is_label(text, low, match.start(), word):
            continue
        value = text[start:end]
        if kind == "bare":
            # «Perro2024!» keeps its mark: it is likelier part of the password than of the sentence.
            value = value.rstrip(".,;:)]}>?*")
        elif " " in value and not is_strong(word):
            continue
        if is_reference(value, quoted=True):
            continue
        if _looks_made_up(value, word) or (kind == "quoted" and is_strong(word) and len(value) >= 3):
            yield start, start + len(value), "api_key"


def find_pins(low: str) -> Iterator[Finding]:
    for match in _PIN.finditer(low):
        yield *match.span("bare"), "api_key"


_PIN = re.compile(
    r"(?:pin|nip|otp)(?<![\w-]pin)(?<![\w-]nip)(?<![\w-]otp)[\"']?\s?[:=]\s{0,2}[\"']?(?P<bare>[0-9]{4,8})(?![\w.,:-])"
)


def find_behind(text: str, low: str) -> Iterator[Finding]:
    """«usuario ana contraseña Perro2024»."""
    for match in _BEHIND.finditer(low):
        start, end = match.span("bare")
        if not is_label(text, low, match.start(), match["word"]) or _ALGORITHM(low, start, end):
            continue
        # Alone on its line it needs no such word.
        alone = low[match.start() - 1 : match.start()] in ("", "\n") and low[match.end() : match.end() + 1] in (
            "",
            "\n",
        )
        if not alone and not match["noun"] and _LOGIN(low, max(0, match.start() - 40), match.start()) is None:
            continue
        value = text[start:end].rstrip(_TRAIL)
        if len(value) >= 6 and not is_reference(value, quoted=True):
            yield start, start + len(value), "api_key"


def find_pairs(text: str, low: str) -> Iterator[Finding]:
    """«credenciales: ana/Perro2024»."""
    for match in _PAIR.finditer(low):
        start, end = match.span("bare")
        value = text[start:end].rstrip(".,;:)]}>")
        if (has_digit(value) or not value.isalpha()) and not value.isdigit() and not is_reference(value, quoted=True):
            yield start, start + len(value), "api_key"
