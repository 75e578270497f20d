"""What opens something: private keys, passwords, tokens, keys of an API.

All patterns here and in the other finders are linear in practice: possessive or bounded repeats, and a look-behind
that lets a run of the same class start only once. Where they can, they start with a literal or a class, never with a
look-behind: that lets the regex engine skip ahead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.redaction.findings import PLACEHOLDER, Finding

_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
# A key cut before its END: headers, whole base64 lines (also with a literal \n between), a last short one.
_PEM_BODY = re.compile(
    r"(?:\s|\\[rn])*+(?:(?:Proc-Type|DEK-Info|Version|Comment): ?[^\n\\]{0,200}(?:\s|\\[rn])*+)*+"
    r"(?:[A-Za-z0-9+/=]{16,}+(?:\s|\\[rn])*+)*+(?:[A-Za-z0-9+/=]{1,76}+\s*\Z)?"
)


def find_private_keys(text: str) -> Iterator[Finding]:
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
    r"://[^\s/?#:\"'<>]{0,256}+:(?!" + PLACEHOLDER + r"@)"
    r"(?:(?P<plain>[^\s/?#\"'<>]{1,256})@|(?![0-9]{1,5}[/?#])(?P<odd>[^\s\"'<>@:]{1,128}+)@)"
)


def find_url_passwords(text: str) -> Iterator[Finding]:
    for match in _URL_PASSWORD.finditer(text):
        start, end = match.span("plain" if match["plain"] else "odd")
        yield start, end, "url_password"


JWT = re.compile(r"eyJ(?:(?<![\w-]eyJ)|(?<=\\neyJ))[\w-]{5,}+\.[\w-]{5,}+(?:\.[\w-]*+){0,3}", re.ASCII)

# Over the lower-cased text: ignoring case instead would cost the engine its skipping ahead (4 times slower).
_ASSIGNMENT = re.compile(
    r"(?P<word>passwords?|passwd|passphrase|pass(?<![a-z]pass)|pwd|contrase[ñn]as?|"
    r"clave(?<![a-z]clave)|secreto?|token|api[_ -]?key|access[_-]?key|secret[_-]?(?:access[_-]?)?key|"
    r"account[_-]?key|private[_-]?key|encryption[_-]?key|signing[_-]?key|credential|sig(?<![a-z]sig))"
    r"(?: (?:de|del|de la|para|of|for) [\w.-]{1,40}){0,2}"
    r"(?:\\?[\"'`])?\]?"
    r"(?:\s{0,3}(?P<separator>[:=]{1,3}>?)\s{0,3}|[ ](?P<verb>es|is|era|was)[ :]{1,2})"
    rf"(?!(?:\\?[\"'`])?{PLACEHOLDER})"
    r"(?:\\?(?P<quote>[\"'`])(?P<quoted>[^\"'`\n\\]++)|(?P<bare>[^\s\"'`&\\]++))"
)
_FLAG = re.compile(
    r"--[\w-]{0,40}?(?:password|passwd|passphrase|token|secret|api-?key) +"
    r"[\"']?(?P<bare>(?![-\[$<{])[^\s\"'`]{3,}+)"
)
CURL_USER = re.compile(
    rf"curl\b[^\n]{{0,200}}?\s(?:-u|--user)[ =]?[\"']?[^\s:\"']{{1,128}}+:"
    rf"(?!{PLACEHOLDER})(?P<bare>[^\s\"'`$]{{1,256}}+)"
)
_AUTHORIZATION = re.compile(
    r"(?i:authorization)(?:\\?[\"'])?\s{0,3}[:=]\s{0,3}(?:\\?[\"'])?(?:(?i:bearer|basic|token|digest|apikey|negotiate)\s++)?+"
    rf"(?!{PLACEHOLDER})(?P<bare>(?![$<{{])[^\s\"'`\\,]{{6,}}+)"
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


def find_assignments(text: str, low: str) -> Iterator[Finding]:
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


def find_api_keys(text: str) -> Iterator[Finding]:
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
