"""Content with its secrets replaced: personal data and keys stay in (P6).

Redaction finds shapes and, where a number has a checksum, asks python-stdnum. Where the two errors compete,
it prefers to hide: a placeholder too many costs a reader a word, one too few costs a person their data. Only
plain measures (versions, ports, dates, counts with a unit, hashes, UUIDs) are defended from it.

Order of work, for one text: a prefilter (most texts end there), a normalised view of it (look-alike digits
and invisible characters undone, with a way back to the original), finders from the most to the least
specific, each claiming its characters, one splice. It repeats until nothing is found, which is what makes
redaction idempotent. Not handled, on purpose: homoglyphs from other alphabets, numbers spelled in words,
names, addresses, passwords written without any sign that they are one.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Literal

from stdnum import iban, luhn, numdb
from stdnum.ar import cuit
from stdnum.br import cnpj, cpf
from stdnum.cl import rut
from stdnum.co import nit
from stdnum.ec import ci as ec_ci
from stdnum.ec import ruc as ec_ruc
from stdnum.es import dni, nie
from stdnum.mx import curp, rfc
from stdnum.pe import ruc as pe_ruc
from stdnum.uy import rut as uy_rut

# Stable: they are the label values of `otel_bridge_redactions_total`.
_PLACEHOLDERS = {
    "email": "[correo]",
    "phone": "[telefono]",
    "card": "[tarjeta]",
    "iban": "[iban]",
    "ip": "[ip]",
    "national_id": "[documento]",
    "api_key": "[clave]",
    "jwt": "[jwt]",
    "private_key": "[clave-privada]",
    "url_password": "[contraseña]",
}
REDACTION_KINDS: tuple[str, ...] = tuple(_PLACEHOLDERS)

Finding = tuple[int, int, str]
"""Start and end in the text that was searched, and a kind."""

# --- prefilter -------------------------------------------------------------------------------------------

# A finding needs a digit, `@`, `:`, `=` or `_` (or a `--flag`): without one a text is clean. Measured on the
# guide's sentence (45 characters) and the same with 20 more: deleting these bytes from the Latin-1 form and
# comparing lengths takes 250 and 265 ns; one regex with the same class 270 and 345; the regex that also stops
# at characters above Latin-1, 400 and 540; 14 `in` checks 280 both; a set's `isdisjoint` 450 and 630.
# (Minimum of many runs, 2 busy cores.) Without a prefilter the finders' own gates need 1.7 µs for the first.
_SUSPECT_BYTES = b"0123456789@:=_"
# The slow twin, for texts with a character above Latin-1 (typographic quotes, emoji, full-width digits).
_SUSPECT = re.compile(r"[\d@:=_\uff1a\uff1d\uff20\uff3f\ufe55\ufe66\ufe6b]").search

# --- normalised view -------------------------------------------------------------------------------------

# Digits of other scripts, full-width ASCII, exotic spaces and dashes, and what has no width at all.
_ODD = re.compile(
    "[\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u2015\u2024\u2028-\u202f\u205f-\u206f\u2212"
    "\u3000\u3164\ufe00-\ufe0f\ufe52\ufe55\ufe63\ufe66\ufe6b\ufeff\uff01-\uff5e\uffa0\U0001d7ce-\U0001d7ff"
    "\U000e0000-\U000e0fff]"
    r"|(?![0-9])\d"
)


def _plain(char: str) -> str:
    """The ASCII character that an odd one passes for; nothing where it is invisible."""
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    if category == "Pd" or char == "\u2212":
        return "-"
    if category in ("Zl", "Zp"):
        return "\n"
    compatible = unicodedata.normalize("NFKC", char)
    return compatible if len(compatible) == 1 and compatible.isascii() else ""


def _normalised(text: str, latin: bool) -> tuple[str, list[int] | None]:
    """The text as a reader sees it, and for each of its characters where it stood (None: same places)."""
    # Of Latin-1 only the no-break space and the soft hyphen are odd.
    if latin and "\xa0" not in text and "\xad" not in text:
        return text, None
    if not latin and _ODD.search(text) is None:
        return text, None
    pieces: list[str] = []
    places: list[int] = []
    last = 0
    for match in _ODD.finditer(text):
        start = match.start()
        pieces.append(text[last:start])
        places.extend(range(last, start))
        last = match.end()
        plain = _plain(match[0])
        pieces.append(plain)
        if plain:
            places.append(start)
    pieces.append(text[last:])
    places.extend(range(last, len(text)))
    return "".join(pieces), places


# --- secrets ---------------------------------------------------------------------------------------------
# All patterns below are linear in practice: possessive or bounded repeats, and a look-behind that lets a run
# of the same class start only once. Where they can, they start with a literal or a class, never with a
# look-behind: that lets the regex engine skip ahead.

_PLACEHOLDER = r"\[(?:correo|telefono|tarjeta|iban|ip|documento|clave|jwt|clave-privada|contraseña)\]"

_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
# A key cut before its END: headers, whole base64 lines (also with a literal \n between), a last short one.
_PEM_BODY = re.compile(
    r"(?:\s|\\[rn])*+(?:(?:Proc-Type|DEK-Info|Version|Comment): ?[^\n\\]{0,200}(?:\s|\\[rn])*+)*+"
    r"(?:[A-Za-z0-9+/=]{16,}+(?:\s|\\[rn])*+)*+(?:[A-Za-z0-9+/=]{1,76}+\s*\Z)?"
)


def _find_private_keys(text: str) -> Iterator[Finding]:
    position = 0
    ended = True  # once no END follows, none follows any later BEGIN: do not search for it again
    while begin := _PEM_BEGIN.search(text, position):
        end = _PEM_END.search(text, begin.end()) if ended else None
        ended = end is not None
        if end is None:
            body = _PEM_BODY.match(text, begin.end())
            position = body.end() if body else begin.end()
        else:
            position = end.end()
        stop = position
        while text[stop - 1].isspace():
            stop -= 1
        yield begin.start(), stop, "private_key"


# The user stays (it tells which account fails), unless it is an e-mail: then the e-mail finder takes it.
# A password may hold a raw `/`, `#` or `?` (many tools write it so), unless what precedes it is a port.
_URL_PASSWORD = re.compile(
    r"://[^\s/?#:\"'<>]{0,256}+:(?!" + _PLACEHOLDER + r"@)"
    r"(?:(?P<plain>[^\s/?#\"'<>]{1,256})@|(?![0-9]{1,5}[/?#])(?P<odd>[^\s\"'<>@:]{1,128}+)@)"
)


def _find_url_passwords(text: str) -> Iterator[Finding]:
    for match in _URL_PASSWORD.finditer(text):
        start, end = match.span("plain" if match["plain"] else "odd")
        yield start, end, "url_password"


_JWT = re.compile(r"eyJ(?:(?<![\w-]eyJ)|(?<=\\neyJ))[\w-]{5,}+\.[\w-]{5,}+(?:\.[\w-]*+){0,3}", re.ASCII)

# Over the lower-cased text: ignoring case instead would cost the engine its skipping ahead (4 times slower).
_ASSIGNMENT = re.compile(
    r"(?P<word>passwords?|passwd|passphrase|pass(?<![a-z]pass)|pwd|contrase[ñn]as?|"
    r"clave(?<![a-z]clave)|secreto?|token|api[_ -]?key|access[_-]?key|secret[_-]?(?:access[_-]?)?key|"
    r"account[_-]?key|private[_-]?key|encryption[_-]?key|signing[_-]?key|credential|sig(?<![a-z]sig))"
    r"(?: (?:de|del|de la|para|of|for) [\w.-]{1,40}){0,2}"
    r"(?:\\?[\"'`])?\]?"
    r"(?:\s{0,3}(?P<separator>[:=]{1,3}>?)\s{0,3}|[ ](?P<verb>es|is|era|was)[ :]{1,2})"
    rf"(?!(?:\\?[\"'`])?{_PLACEHOLDER})"
    r"(?:\\?(?P<quote>[\"'`])(?P<quoted>[^\"'`\n\\]++)|(?P<bare>[^\s\"'`&\\]++))"
)
_FLAG = re.compile(
    r"--[\w-]{0,40}?(?:password|passwd|passphrase|token|secret|api-?key) +"
    r"[\"']?(?P<bare>(?![-\[$<{])[^\s\"'`]{3,}+)"
)
_CURL_USER = re.compile(
    rf"curl\b[^\n]{{0,200}}?\s(?:-u|--user)[ =]?[\"']?[^\s:\"']{{1,128}}+:"
    rf"(?!{_PLACEHOLDER})(?P<bare>[^\s\"'`$]{{1,256}}+)"
)
_AUTHORIZATION = re.compile(
    r"(?i:authorization)(?:\\?[\"'])?\s{0,3}[:=]\s{0,3}(?:\\?[\"'])?(?:(?i:bearer|basic|token|digest|apikey|negotiate)\s++)?+"
    rf"(?!{_PLACEHOLDER})(?P<bare>(?![$<{{])[^\s\"'`\\,]{{6,}}+)"
)
_BEARER = re.compile(r"\b(?i:bearer|basic)\s+(?P<bare>(?=[A-Za-z._~+/=-]*[0-9])[\w.~+/=-]{16,}+)", re.ASCII)
# What stands for a value without being one: references to a variable, a template, a mask, nothing.
_NOT_A_VALUE = re.compile(
    r"(?:\$[{(]|\$[A-Z_][A-Z0-9_]*$|\{\{|<[^>]*>?$|%[sdv({]|[*x.•]+$|[¿¡]|"
    r"(?:null|none|nil|true|false|undefined|required|obligatori[ao]|string)$|"
    r"(?:os\.(?:environ|getenv)|process\.env|getenv|env\.|secrets\.|vars\.|var\.|data\.|local\.|settings\.|config\.))",
    re.IGNORECASE,
).match


def _is_secret(value: str, match: re.Match[str]) -> bool:
    """Whether what follows a word such as «token» is a secret and not the rest of a sentence."""
    if _NOT_A_VALUE(value):
        return False
    length = len(value)
    strong = match["word"].startswith(("pass", "pwd", "contrase"))
    digit = any("0" <= char <= "9" for char in value)
    if match["verb"]:
        return digit and length >= (4 if strong else 8)
    if strong:
        return "=" in match["separator"] or length >= 3
    if value.isdigit() and length < 8:  # token=4096 is a count
        return False
    if "=" in match["separator"]:
        return length >= 4
    return length >= 8 and (digit or length >= 20 or match["quote"] is not None)


def _find_assignments(text: str, low: str) -> Iterator[Finding]:
    if "authorization" in low:
        for match in _AUTHORIZATION.finditer(text):
            yield *match.span("bare"), "api_key"
    if "bearer" in low or "basic" in low:
        for match in _BEARER.finditer(text):
            yield *match.span("bare"), "api_key"
    for match in _ASSIGNMENT.finditer(low):
        start, end = match.span("quoted" if match["quote"] else "bare")
        value = text[start:end]
        if not match["quote"]:
            value = value.rstrip(".,;:)]}>")
            end = start + len(value)
        if value and _is_secret(value, match):
            yield start, end, "api_key"
    if "--" in text:
        for match in _FLAG.finditer(text):
            yield *match.span("bare"), "api_key"


# Sources: each provider's documentation and the rules of gitleaks. A long enough tail is asked for, so that
# the name of a prefix in a sentence («las claves sk-proj-…») stays readable.
_API_KEY = re.compile(
    r"(?:"
    r"sk-(?:proj|ant|svcacct|admin|or|lf|None)-[\w-]{16,}+|sk-[A-Za-z0-9]{20,}+|"  # OpenAI, Anthropic
    r"xai-[\w-]{24,}+|gsk_[\w-]{24,}+|pplx-[\w-]{24,}+|nvapi-[\w-]{24,}+|r8_[\w-]{24,}+|tvly-[\w-]{24,}+|"
    r"hf_[A-Za-z0-9]{20,}+|"  # other model providers, Hugging Face
    r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}(?![A-Za-z0-9])|"  # AWS
    r"gh[opsur]_[A-Za-z0-9]{20,}+|github_pat_\w{20,}+|"
    r"gl(?:pat|oas|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct|wt)-[\w.-]{15,}+|"
    r"xox[a-z]-[A-Za-z0-9-]{10,}+|xapp-[0-9]-[A-Za-z0-9-]{20,}+|"
    r"hooks\.slack\.com/(?:services|workflows)/[\w/]{20,}+|"
    r"discord(?:app)?\.com/api/webhooks/[0-9]+/[\w-]{20,}+|"
    r"AIza[\w-]{35}|ya29\.[\w-]{20,}+|GOCSPX-[\w-]{20,}+|"  # Google
    r"sk_(?:live|test)_\w{10,}+|rk_(?:live|test)_\w{10,}+|whsec_[\w+/=]{10,}+|"  # Stripe
    r"sq0[a-z]{3}-[\w-]{22,}+|"  # Square
    r"npm_[A-Za-z0-9]{30,}+|pypi-[\w-]{40,}+|rubygems_[a-f0-9]{40,}+|dckr_(?:pat|oat)_[\w-]{20,}+|"
    r"SG\.[\w-]{16,}+\.[\w-]{16,}+|key-[0-9a-f]{32}|SK[0-9a-f]{32}|"  # SendGrid, Mailgun, Twilio
    r"do[opr]_v1_[a-f0-9]{32,}+|dp\.[a-z]{2,6}\.[\w.-]{30,}+|hv[sbr]\.[\w-]{20,}+|"
    r"gl(?:sa|c)_[A-Za-z0-9+/=_]{20,}+|sntry[su]_[\w=+/.-]{20,}+|pul-[a-f0-9]{40}|dapi[a-f0-9]{32}|"
    r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|lin_api_[A-Za-z0-9]{32,}+|figd_[\w-]{20,}+|ntn_[A-Za-z0-9]{30,}+|"
    r"AT(?:ATT|CTT|BB)[A-Za-z0-9_=-]{20,}+|NRAK-[A-Z0-9]{20,}+|PMAK-[a-f0-9-]{30,}+|AGE-SECRET-KEY-1[A-Z0-9]{20,}+"
    r")",
    re.ASCII,
)
# Those that start with no literal: behind a mark of their own. Telegram, Azure, Terraform Cloud.
_API_KEY_ODD = {
    ":AA": re.compile(r"(?<!\w)[0-9]{8,10}:AA[\w-]{33}(?![\w-])", re.ASCII),
    "Q~": re.compile(r"(?<![\w~.-])[\w~.-]{3}[0-9]Q~[\w~.-]{31,34}(?![\w~-])", re.ASCII),
    ".atlasv1.": re.compile(r"(?<!\w)[A-Za-z0-9]{14}\.atlasv1\.[\w-]{50,}+", re.ASCII),
}
_LONG_WORD = 16


def _find_api_keys(text: str) -> Iterator[Finding]:
    for match in _API_KEY.finditer(text):
        start = match.start()
        # In the middle of a word it is no prefix, unless the letter before belongs to an escaped line break.
        if start and text[start - 1].isalnum() and text[start - 2 : start - 1] != "\\":
            continue
        yield start, match.end(), "api_key"
    for mark, pattern in _API_KEY_ODD.items():
        if mark in text:
            for match in pattern.finditer(text):
                yield *match.span(), "api_key"


# --- people and machines ---------------------------------------------------------------------------------

# `git@github.com` names no one. `paquete@1.2.3` and systemd's `getty@tty1.service` are no addresses.
_EMAIL = re.compile(
    r"[\w.%+](?<![\w.%+-][\w.%+])[\w.%+'-]*+(?<!\bgit)@(?!v?[0-9]++\.[0-9])(?:[\w-]++\.)+"
    r"(?!(?:service|socket|timer|target|slice|scope|mount)\b)(?:xn--[a-z0-9-]+|[^\W\d_]{2,})(?![\w])"
)
_EMAIL_ENCODED = re.compile(r"[\w.+](?<![\w.+-][\w.+])[\w.+-]*+%40(?:[\w-]++\.)+[A-Za-z]{2,}")

_IPV4 = re.compile(
    r"[0-9](?<![\w.][0-9])(?<![A-Za-z]/[0-9])[0-9]{0,2}+(?:\.[0-9]{1,3}+){3}(?!\w|\.[0-9])(?P<prefix>/[0-9]{1,2}(?!\w))?",
    re.ASCII,
)
_IPV6 = re.compile(
    r"[0-9A-Fa-f:](?<![\w:.][0-9A-Fa-f:])[0-9A-Fa-f:]{2,39}+(?:\.[0-9]{1,3}){0,3}+(?:%\w{1,16}+)?(?!\w)",
    re.ASCII,
)
_VERSION_BEFORE = re.compile(r"(?:versi[oó]n|version|release|build|\bv\.?)[ :=]{0,2}\Z", re.IGNORECASE).search


def _find_ips(text: str) -> Iterator[Finding]:
    """Host addresses, private ones too: they draw the user's network.

    Left alone, for they name no one and half of the questions on networks are about them: loopback,
    0.0.0.0, netmasks, `::`, `::1`, and private networks in CIDR form (10.0.0.0/8).
    """
    if text.count(":") >= 2:
        for match in _IPV6.finditer(text):
            value = match[0].rstrip(":") if not match[0].endswith("::") else match[0]
            bare = value.partition("%")[0]
            # A digit is asked for: `dead::beef` is likelier a C++ or Perl name.
            if bare.count(":") < 2 or not any("0" <= char <= "9" for char in bare):
                continue
            try:
                host = ipaddress.IPv6Address(bare)
            except ValueError:
                continue
            if int(host) > 1:
                yield match.start(), match.start() + len(value), "ip"
    if text.count(".") >= 3:
        for match in _IPV4.finditer(text):
            start = match.start()
            end = match.start("prefix") if match["prefix"] else match.end()
            try:
                address = ipaddress.IPv4Address(text[start:end])
            except ValueError:
                continue
            first = address.packed[0]
            if first in (0, 127, 255) or _VERSION_BEFORE(text, max(0, start - 12), start):
                continue
            if match["prefix"] and address.is_private:
                length = int(match["prefix"][1:])
                if length < 32 and int(address) & ((1 << (32 - length)) - 1) == 0:
                    continue
            yield start, end, "ip"


_DIGIT = re.compile(r"[0-9]").search
_CHECKS = 4000


class _Budget:
    """How many candidates of one text get their checksum computed; the rest are taken for what they look like.

    A checksum costs 10 to 100 µs: a megabyte of well-shaped wrong numbers would hold a core for seconds.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _CHECKS

    def spent(self) -> bool:
        self._left -= 1
        return self._left < 0


_RUN = re.compile(r"[0-9](?:[ .\-/()]{0,2}[0-9]){5,}+")

_IBAN = re.compile(r"[A-Za-z]{2}(?<![^\W_][A-Za-z]{2})[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}+")


@functools.cache
def _iban_length(country: str) -> int:
    """How long an IBAN of this country is, by the registry that python-stdnum ships; 0 where it has none."""
    properties = numdb.get("iban").info(country)[0][1]
    lengths = re.findall(r"([0-9]+)!", properties.get("bban", ""))
    return 4 + sum(map(int, lengths)) if lengths else 0


def _find_ibans(text: str, position: int, stop: int, budget: _Budget) -> Iterator[Finding]:
    while (match := _IBAN.search(text, position, stop + 34)) and match.start() < stop:
        start = match.start()
        position = start + 4
        # The pattern runs on into the next words: cut by the country's length, keep where it ends.
        needed = _iban_length(match[0][:2].upper())
        if not needed:
            continue
        compact: list[str] = []
        end = start
        for end in range(start, match.end()):
            if text[end] not in " -":
                compact.append(text[end])
                if len(compact) == needed:
                    break
        number = "".join(compact).upper()
        following = text[end + 1 : end + 2]
        # The sum costs 3 µs here and 100 in the library, which then has the last word.
        if len(number) != needed or following.isalnum():
            continue
        if int("".join(str(int(char, 36)) for char in number[4:] + number[:4])) % 97 == 1 and (
            budget.spent() or iban.is_valid(number, check_country=False)
        ):
            position = end + 1
            yield start, position, "iban"


_CARD = re.compile(r"[2-6](?<![\w.][0-9])(?<![0-9a-f]{4}-[0-9])[0-9]{3}(?:[ .-]?[0-9]){8,15}(?!\w)")
_CARD_GROUPS = re.compile(
    r"[2-6][0-9]{3}(?:(?P<a>[ .-])[0-9]{4}(?P=a)[0-9]{4}(?P=a)[0-9]{4}|"
    r"(?P<b>[ .-])[0-9]{6}(?P=b)[0-9]{4,5})(?![0-9])"
)
# Issuer ranges by length: without them, one in ten of all long numbers is a card.
_CARD_ISSUER = re.compile(
    r"(?:4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|(?:5[1-5]|2[2-7]|35)[0-9]{14}|3[47][0-9]{13}|3[0689][0-9]{12}|"
    r"(?:6|5[0678])[0-9]{11,18})"
).fullmatch


def _is_card(value: str, budget: _Budget) -> bool:
    number = value.replace(" ", "").replace("-", "").replace(".", "")
    return _CARD_ISSUER(number) is not None and (budget.spent() or luhn.is_valid(number))


def _find_cards(text: str, start: int, stop: int, budget: _Budget) -> Iterator[Finding]:
    position = start
    while match := _CARD.search(text, position, stop):
        # Groups of a printed card first: what follows it (expiry, CVV) belongs to the same run of digits.
        groups = _CARD_GROUPS.match(text, match.start())
        if groups and _is_card(groups[0], budget):
            position = groups.end()
            yield groups.start(), position, "card"
        elif _is_card(match[0], budget):
            position = match.end()
            yield match.start(), position, "card"
        else:
            position = match.start() + 1


# A number with a unit, a currency or a counted noun behind is a measure.
_UNIT = (
    r"(?! ?(?:[kKMGTP]i?[Bb]\b|[Bb]ytes?\b|B\b|bits?\b|[mµun]?s\b|seg|min\b|hora|d[ií]as|%|€|\$|"
    r"USD|EUR|MXN|COP|ARS|CLP|"
    r"peticion|request|evento|event|token|registro|record|fila|row|l[ií]nea|line|usuario|user|ve(?:z|ces)|mensaje|"
    r"message|objeto|object|item|elemento|entrada|salida|byte|cliente|sesion|llamada|segundo|operacion|milisegundo))"
)
_BEFORE = r"(?<![\w.,+#$€/])(?<![0-9]-)(?<![0-9a-f]{4}-)(?<![0-9]:)"
_AFTER = r"(?!\w|[.,:/-][0-9])" + _UNIT

# By shape. The first group holds ids whose separators nothing else uses: a typing error in one is no less
# personal, so no checksum is asked. Then phones. Then bare digits, which only a checksum tells from a count.
_NUMBER = re.compile(
    r"(?=[0-9+(VEJGPXYZxyz])(?:"
    rf"(?P<id_shape>{_BEFORE}(?:"
    r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9kK]|"  # Chile (RUT), Uruguay (CI)
    r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{1,2}|"  # Brazil (CPF), Colombia (NIT)
    r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}|"  # Brazil (CNPJ)
    r"[0-9]{2}-[0-9]{8}-[0-9]|"  # Argentina (CUIT, CUIL)
    r"[0-9]{3}-[0-9]{7}-[0-9]|"  # Dominican Republic
    r"[0-9]{4}-[0-9]{4}-[0-9]{5}|[0-9]{4}-[0-9]{6}-[0-9]{3}-[0-9]|"  # Honduras, El Salvador (NIT)
    r"[VE]-[0-9]{1,2}\.?[0-9]{3}\.?[0-9]{3}(?:-?[0-9])?|[JGP]-[0-9]{8}-?[0-9]|"  # Venezuela
    r"(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}"  # United States (SSN)
    rf"){_AFTER})|"
    rf"(?P<id_check>{_BEFORE}(?:"
    r"[0-9]{8}(?:[A-Za-z]|[ -][A-Z])|[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}(?:[A-Za-z]|[ -][A-Z])|"  # Spain (DNI)
    r"[XYZxyz][ -]?[0-9]{7}[ -]?[A-Za-z]|"  # Spain (NIE)
    r"[0-9]{7,9}-[0-9kK]|[0-9]{7,8}[kK]"  # Chile, Ecuador, Colombia
    rf")(?!\w|-[0-9]))|"
    # International: from + or 00 on, up to the fifteen digits that E.164 allows.
    r"(?P<phone_plus>(?<![\w+])\+[1-9](?:[ .\-()/]{0,2}[0-9]){7,14}+|"
    rf"{_BEFORE}00[1-9](?:[ .()-]?[0-9]){{8,13}}+(?!\w))|"
    rf"(?P<phone>{_BEFORE}(?:"
    r"[679][0-9]{2}(?P<p1>[ -])[0-9]{3}(?P=p1)[0-9]{3}|"  # Spain, Peru, Chile
    r"[689][0-9]{2}(?P<p2>[ .-])[0-9]{2}(?P=p2)[0-9]{2}(?P=p2)[0-9]{2}|"  # Spain
    r"9[0-9](?P<p3>[ .-])[0-9]{3}(?P=p3)[0-9]{2}(?P=p3)[0-9]{2}|"  # Spain, landlines
    r"[67](?![0-9]*0000\b)[0-9]{8}|9[0-8](?![0-9]*0000\b)[0-9]{7}|"  # Spain, Chile, Peru
    r"\(0?[1-9][0-9]{0,3}\)[ .-]?[0-9]{3,5}[ .-]?[0-9]{4}|"  # (011) 4123-4567, (11) 91234-5678
    r"[2-9][0-9]{2}(?P<p4>[ .-])[0-9]{3}(?P=p4)[0-9]{4}|"  # Mexico, Colombia, North America
    r"0?(?:55|56|33|81|11|15)(?P<p5>[ -])[0-9]{4}[ -][0-9]{4}|"  # Mexico, Argentina
    r"0?[1-9][0-9]-[0-9]{4}-[0-9]{4}|"
    r"[1-9][0-9][ -]?9[0-9]{4}-[0-9]{4}|9(?P<p6>[ -])[0-9]{4}(?P=p6)[0-9]{4}|"  # Brazil, Chile
    r"0[24][0-9]{2}[ .-]?[0-9]{3}[ .-]?[0-9]{2}[ .-]?[0-9]{2}|"  # Venezuela
    r"09[0-9][ -]?[0-9]{3}[ -]?[0-9]{3,4}|"  # Ecuador, Uruguay
    r"3[0-5](?![0-9]*0000\b)[0-9]{8}|(?:55|33|81)(?![0-9]*0000\b)[0-9]{8}"  # Colombia, Mexico
    rf"){_AFTER})|"
    rf"(?P<id_bare>{_BEFORE}(?:[0-9]{{14}}|[0-9]{{11,13}}){_AFTER})"
    r")"
)
_CURP_RFC = re.compile(
    r"[A-ZÑ&]{4}[0-9]{6}[HM][A-Z]{5}[A-Z0-9][0-9](?!\w)|[A-ZÑ&]{3,4}[ -]?[0-9]{6}[ -]?[A-Z0-9]{3}(?!\w)"
)

Check = Callable[[str], bool]


def _is_national_id(value: str) -> bool:
    """Asks python-stdnum; the shape says which countries can be meant."""
    number = value.replace(".", "").replace("-", "").replace(" ", "").upper()
    checks: tuple[Check, ...]
    if number[0] in "XYZ":
        checks = (nie.is_valid,)
    elif number[-1] == "K":
        checks = (rut.is_valid,)
    elif not number[-1].isdigit():
        checks = (dni.is_valid,)
    elif "-" in value:
        checks = (ec_ci.is_valid, nit.is_valid) if len(number) == 10 else (rut.is_valid,)
    elif len(number) == 11:
        checks = (cuit.is_valid, cpf.is_valid, pe_ruc.is_valid)
    elif len(number) == 12:
        checks = (uy_rut.is_valid,) if number[8:11] == "001" else ()
    elif len(number) == 13:
        checks = (ec_ruc.is_valid,) if number.endswith("001") else ()
    else:
        checks = (cnpj.is_valid,)
    return any(check(number) for check in checks)


def _find_numbers(text: str, start: int, stop: int, budget: _Budget) -> Iterator[Finding]:
    position = start
    while match := _NUMBER.search(text, position, stop):
        group = match.lastgroup
        if match["id_check"] or match["id_bare"]:
            if not (budget.spent() or _is_national_id(match[0])):
                position = match.start() + 1
                continue
            group = "id"
        elif match["id_shape"]:
            group = "id"
        position = match.end()
        yield match.start(), position, "national_id" if group == "id" else "phone"


def _find_curps(text: str, position: int, before: int, stop: int) -> Iterator[Finding]:
    """A CURP or RFC whose letters stand just before a run of digits, which starts at `before`."""
    match = _CURP_RFC.search(text, position, stop)
    if match and match.start() < before:
        start, value = match.start(), match[0]
        if start and (text[start - 1].isalnum() or text[start - 1] in "_-"):
            return
        compact = value.replace("-", "").replace(" ", "")
        if len(compact) == 18:
            # Without the check digit: the shape has a birth date, a sex and a state, nothing else looks so.
            found = curp.is_valid(compact, validate_check_digits=False)
        else:
            found = rfc.is_valid(compact, validate_check_digits=True)
        if found:
            yield start, match.end(), "national_id"


# A bare number right behind its label. Looked for backwards from each run of digits, so that a text without
# one pays nothing. `run` and `ci` alone are no labels: they are words of this trade.
_FILLER = (
    r"(?![^\W\d_])(?:[\s:=#(\"'*/\-]|n[º°o]\.?|n[uú]mero|nro\.?|n[uú]m\.?|number|es|is|el|al|de|en|mi|contacto|"
    r"identidad|ciudadan[ií]a|extranjer[ií]a|nacional)*+\+?\Z"
)
_ID_LABEL = re.compile(
    r"(?:dni|nie|nif|cif|curp|cuit|cuil|rut|nit|cpf|cnpj|rif|ruc|c\.i\.|ci:|c\.c\.|cc|dui|dpi|nss|ssn|"
    r"c[eé]dula|documento|carn[eé]t? de identidad|pasaporte|passport|identificaci[oó]n)" + _FILLER
).search
_PHONE_LABEL = re.compile(
    r"(?:tel[eé]fonos?|tel[eé]f\.?|telf?\.?|tfno\.?|tlf\.?|m[oó]vil|cel(?:ular)?\.?|whats?app|wasap|wsp|fijo|"
    r"phone|mobile|ll[aá]m[ae](?:me|r|rme|nos)?|fax|wa\.me)" + _FILLER
).search
_LABELLED = re.compile(r"[0-9](?:[ .-]?[0-9]){5,12}+(?:-?[A-Za-z](?!\w))?")
_LABELLED_PHONE = re.compile(r"[0-9](?:[ .\-()/]{0,2}[0-9]){5,14}+")
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[-/.](?:0[1-9]|1[0-2])[-/.][0-3][0-9]|[0-3]?[0-9][-/.][01]?[0-9][-/.](?:19|20)[0-9]{2}"
).match
_WINDOW = 40


def _starts_word(text: str, match: re.Match[str] | None) -> bool:
    return match is not None and (match.start() == 0 or not text[match.start() - 1].isalnum())


def _find_labelled(text: str, low: str, start: int) -> Iterator[Finding]:
    if _DATE(text, start):
        return
    since = max(0, start - _WINDOW)
    if _starts_word(low, _ID_LABEL(low, since, start)):
        if match := _LABELLED.match(text, start):
            yield start, match.end(), "national_id"
    elif _starts_word(low, _PHONE_LABEL(low, since, start)) and (match := _LABELLED_PHONE.match(text, start)):
        first = start - 1 if text[start - 1] in "+(" else start
        yield first, match.end(), "phone"


def _find(text: str) -> Iterator[Finding]:
    """Every finding, from the most to the least specific: what comes first claims its characters."""
    low = _lower(text)
    at = "@" in text
    if "BEGIN" in text:
        yield from _find_private_keys(text)
    if at and "://" in text:
        yield from _find_url_passwords(text)
    if "eyJ" in text:
        for match in _JWT.finditer(text):
            yield *match.span(), "jwt"
    if (
        "pass" in low
        or "pwd" in low
        or "contrase" in low
        or "clave" in low
        or "secret" in low
        or "token" in low
        or "key" in low
        or "auth" in low
        or "bearer" in low
        or "basic" in low
        or "credential" in low
        or "sig=" in low
    ):
        yield from _find_assignments(text, low)
    if at:
        for match in _EMAIL.finditer(text):
            yield *match.span(), "email"
    if _DIGIT(text) is None:  # nothing below is without one, not even a key of random letters
        return
    if "curl" in text:
        for match in _CURL_USER.finditer(text):
            yield *match.span("bare"), "api_key"
    if len(max(text.split(), key=len, default="")) >= _LONG_WORD:
        yield from _find_api_keys(text)
    if "%40" in text:
        for match in _EMAIL_ENCODED.finditer(text):
            yield *match.span(), "email"
    if text.count(".") >= 3 or text.count(":") >= 2:
        yield from _find_ips(text)
    run = _RUN.search(text)
    if run is None:
        return
    yield from _find_runs(text, low, run)


def _lower(text: str) -> str:
    """In lower case with every character in its place: only İ becomes two."""
    low = text.lower()
    return low if len(low) == len(text) else text.replace("İ", "I").lower()


def _find_runs(text: str, low: str, run: re.Match[str] | None) -> Iterator[Finding]:
    """What has six digits or more, around each such run."""
    budget = _Budget()
    while run is not None:
        start, stop = run.span()
        # Some room around: letters that belong to an id before, units after.
        since, until = max(0, start - 3), min(len(text), stop + 16)
        yield from _find_curps(text, max(0, start - 5), start, min(len(text), stop + 12))
        yield from _find_ibans(text, max(0, start - 11), stop, budget)
        if stop - start >= 12:
            yield from _find_cards(text, since, until, budget)
        yield from _find_labelled(text, low, start)
        yield from _find_numbers(text, since, until, budget)
        run = _RUN.search(text, stop)


_PASSES = 8
"""A replacement can uncover another finding; a text that still has some after so many was made to."""


class Redactor:
    """Content as it may leave: redacted ('on'), as it came ('off'), or not at all ('full')."""

    __slots__ = ("_mode",)

    def __init__(self, mode: Literal["on", "off", "full"]) -> None:
        if mode not in ("on", "off", "full"):
            raise ValueError(f"unknown redaction mode: {mode!r}")
        self._mode = mode

    def redact(self, text: str, counts: dict[str, int]) -> str | None:
        """The text with placeholders for what it must not tell; adds to `counts`. None: send nothing."""
        if self._mode == "on":
            try:
                raw = text.encode("latin-1")
            except UnicodeEncodeError:
                if _SUSPECT(text) is None and "--" not in text:
                    return text
            else:
                if len(raw.translate(None, _SUSPECT_BYTES)) == len(raw) and "--" not in text:
                    return text
                return _redact(text, counts, latin=True)
            return _redact(text, counts, latin=False)
        return text if self._mode == "off" else None


def _redact(text: str, counts: dict[str, int], *, latin: bool) -> str | None:
    for _ in range(_PASSES):
        redacted = _redact_once(text, counts, latin)
        if redacted is None:
            return text
        text = redacted
    return None


def _redact_once(text: str, counts: dict[str, int], latin: bool) -> str | None:
    """The text with this round's findings replaced; None where there were none."""
    plain, places = _normalised(text, latin)
    claimed: bytearray | None = None
    found: list[Finding] = []
    for finding in _find(plain):
        start, end, kind = finding
        if claimed is None:
            claimed = bytearray(len(plain))
        elif claimed.find(1, start, end) >= 0:
            continue
        claimed[start:end] = b"\1" * (end - start)
        found.append(finding)
        counts[kind] = counts.get(kind, 0) + 1
    if not found:
        return None
    found.sort()
    pieces: list[str] = []
    last = 0
    for start, end, kind in found:
        if places is not None:
            start, end = places[start], places[end - 1] + 1
        pieces.append(text[last:start])
        pieces.append(_PLACEHOLDERS[kind])
        last = end
    pieces.append(text[last:])
    return "".join(pieces)
