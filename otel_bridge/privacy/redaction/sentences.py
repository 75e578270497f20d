"""Passwords in a sentence: «la clave del wifi es x», «usuario ana contraseña x», «credenciales: ana/x»."""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.assignments import NOUN, OWNER
from otel_bridge.privacy.redaction.findings import PLACEHOLDER, Finding
from otel_bridge.privacy.redaction.labels import CLAVE, STRONG, is_label, is_strong
from otel_bridge.privacy.redaction.values import has_digit, is_algorithm, is_reference

_WORD = rf"{STRONG}|{CLAVE}|contra|token|secreto?|api[ -]?key|pin|nip|otp|frase de paso|credencial"
# After the verb only a word that looks made up is a password: most sentences go on without one.
_TOLD = re.compile(
    rf"(?P<word>{_WORD}){OWNER}(?: que(?: (?!es |fue |era )[a-záéíóúñ]{{2,12}}+){{1,3}})? "
    r"(?:es|is|era|was|ser[aá]|ser[ií]a|fue|é|qued[oó] (?:en|como)|sigue siendo|ahora es|pas[oó] a ser|cambi[oó] a|"
    r"is now|will be)[ :]{1,2}+"
    r"(?:(?:el|la|this|esta|este|la siguiente)[ :]{1,2}+)?"
    rf"(?![\"'`“«‘*]{{0,2}}{PLACEHOLDER})\*{{0,2}}"
    r"(?:[\"'`“«‘](?P<quoted>[^\"'`“”«»‘’\n]{1,128}+)[\"'`”»’]|(?P<bare>[^\s\"'`“”«»‘’]{1,256}+))"
)


def _says(low: str) -> bool:
    """Whether one of the verbs of `_TOLD` may stand in a text: a sixth of its search's time."""
    return (
        " es " in low
        or " es:" in low
        or " is " in low
        or " is:" in low
        or " era" in low
        or " was" in low
        or " ser" in low
        or " fue" in low
        or " é" in low
        or " qued" in low
        or " sigue siendo" in low
        or " pas" in low
        or " cambi" in low
        or " will be" in low
    )


# Without a mark: the value needs a letter and a digit, and a word about logging in must stand before it.
_BEHIND = re.compile(
    rf"(?P<word>{STRONG}|{CLAVE}|contra|token|api[ -]?key)(?P<noun> (?:{NOUN}))?[*_`]{{0,3}}"
    r"(?P<gap> (?:(?:a|por|to|como|as|de) )?|[ \t]{1,3}|[ \t]?\n[*_`]{0,3})"
    r"(?P<quote>[\"'`«“])?"
    r"(?P<bare>(?=[^\s\"'`,;:=(){}<>|]{0,40}?[0-9])(?=[^\s\"'`,;:=(){}<>|]{0,40}?[a-z])"
    r"[^\s\"'`,;:=(){}<>|«»“”]{6,512}+)(?(quote)[\"'`»”])"
)
# «uso Perro2024 como contraseña»: the password stands before the label.
_AS = re.compile(rf" (?:como|as|de) (?:(?:la|mi|su|the|my|a) )?(?:{STRONG}|clave)(?=[\s,.;:!?)]|\Z)")
_USED = re.compile(r"(?:\A|\s|[\"'`«“(])(?P<bare>[^\s\"'`«»“”,;:=(){}<>|/]{6,64}+)[\"'`»”]?\Z").search
# A label of a block, with its value in quotes and no mark: `password "x"` in HCL and Gradle.
_BLOCK = re.compile(
    rf"(?P<word>{STRONG}|token|secret|(?:api|shared|secret)[_-]?key)[ \t]{{1,8}}+"
    r"(?:\"(?P<double>[^\"\n]{3,256}+)\"|'(?P<single>[^'\n]{3,256}+)')[ \t]{0,4}+(?:[;}),]|$)",
    re.M,
)
_LOGIN = re.compile(
    r"\b(?:usuario|user(?:name)?|usr|login|con|with|mi|my|usando|using|es|entrar?|acced[eo]\w*|us[aoeé]\w{0,4}|"
    r"p[ou]ng?[oae]\w{0,2}|pus[eo]|met[ioeí]\w{0,2}|introdu\w{2,6}|escrib\w{1,4}|tecle\w{1,3}|prob\w{1,4}|prueb\w{1,3}|"
    r"try|tried|typed?|enter\w{0,3}|set|cambi\w{1,4}|change\w?|reset\w{0,4}|wifi|ssid|pas[eo]|dej[eo]|va|lleva|tiene)\b"
).search
_ALGORITHM = re.compile(
    r"(?:sha-?[0-9]|md[45]|oauth|ed25519|rsa|aes|base64|argon2|pbkdf2|scram|utf|v[0-9]|mysql|postgres|win|x509|ssh|"
    r"id_|http|tls|ssl|jwt|python|node|bcrypt|java|k8s|s3(?![a-z])|ec2|ipv|md5|des3|3des|log4j|oauth2)"
).match
_PAIR = re.compile(
    r"(?:credencial(?:es)?|credentials?|creds|accesos?|usuario(?:/| y | )(?:clave|contraseña|password|pass)|"
    r"user(?:name)?"
    r"(?:/|:| and )pass(?:word)?|login)(?: [a-z]{2,12}){0,3}?(?:\s?[:=]| (?:son|are|es|"
    r"is):?)\s{0,2}(?!https?:)(?:[\w.@-]{1,60})(?:\s?[/:|]\s?| (?:y|and|-|–) )"
    rf"(?!{PLACEHOLDER})(?P<bare>[^\s\"'`,;]{{3,128}}+)"
)
_BEGINS = re.compile(r"(?:\A|[\n{;])[ \t]{0,40}[a-z_.-]{0,30}\Z").search
_ENDS = re.compile(r"[ \t.*_`]{0,6}(?:\n|\Z)").match
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


def find_told(text: str, low: str, since: int = 0) -> Iterator[Finding]:
    if not _says(low):
        return
    for match in _TOLD.finditer(low, since):
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
        if is_reference(value, quoted=True) or is_algorithm(value):
            continue
        if _looks_made_up(value, word) or (kind == "quoted" and is_strong(word) and len(value) >= 3):
            yield start, start + len(value), "api_key"


def find_pins(low: str) -> Iterator[Finding]:
    for match in _PIN.finditer(low):
        yield *match.span("bare"), "api_key"


_PIN = re.compile(
    r"(?:pin|nip|otp)(?<![\w-]pin)(?<![\w-]nip)(?<![\w-]otp)[\"']?\s?[:=]\s{0,2}[\"']?(?P<bare>[0-9]{4,8})(?![\w.,:-])"
)


def find_behind(text: str, low: str, since: int = 0) -> Iterator[Finding]:
    """«usuario ana contraseña Perro2024»."""
    for match in _BEHIND.finditer(low, since):
        start, end = match.span("bare")
        if not is_label(text, low, match.start(), match["word"]) or _ALGORITHM(low, start, end):
            continue
        if match["word"].startswith(("token", "api")) and (
            end - start < 16 or low[match.start() - 1 : match.start()] == "-"
        ):
            continue  # a flag is for commands.py
        # Alone on its line it needs no word about logging in.
        line = low.rfind("\n", max(0, match.start() - 40), match.start()) + 1
        before = low[line : match.start()].strip(" \t*_`>-#")
        alone = (not before or before.isalnum()) and _ENDS(low, match.end()) is not None
        if "\n" in match["gap"] and not alone:
            continue
        if (
            not alone
            and not (match["quote"] and is_strong(match["word"]))
            and not match["noun"]
            and _LOGIN(low, max(0, match.start() - 40), match.start()) is None
        ):
            continue
        value = text[start:end].rstrip(_TRAIL)
        if len(value) >= 6 and not is_reference(value, quoted=True):
            yield start, start + len(value), "api_key"


def find_blocks(text: str, low: str) -> Iterator[Finding]:
    """`password "x"` on a line of its own or in braces."""
    for match in _BLOCK.finditer(low):
        assert match.lastgroup is not None
        start, end = match.span(match.lastgroup)
        if _BEGINS(low, max(0, match.start() - 80), match.start()) is None:
            continue
        if not is_label(text, low, match.start("word"), match["word"]) or is_reference(text[start:end], quoted=True):
            continue
        if is_strong(match["word"]) or has_digit(text[start:end]):
            yield start, end, "api_key"


def find_used(text: str, low: str) -> Iterator[Finding]:
    """«uso Perro2024 como contraseña»."""
    for match in _AS.finditer(low):
        used = _USED(low, max(0, match.start() - 70), match.start())
        if used is None:
            continue
        start, end = used.span("bare")
        value = text[start:end]
        made_up = has_digit(value) and not value.isdigit() and not _ALGORITHM(low, start, end)
        if made_up and not is_reference(value, quoted=True):
            yield start, end, "api_key"


def find_pairs(text: str, low: str) -> Iterator[Finding]:
    """«credenciales: ana/Perro2024»."""
    for match in _PAIR.finditer(low):
        start, end = match.span("bare")
        value = text[start:end].rstrip(".,;:)]}>")
        if (has_digit(value) or not value.isalpha()) and not value.isdigit() and not is_reference(value, quoted=True):
            yield start, start + len(value), "api_key"
