"""A label, a mark and a value: `DB_PASSWORD=x`, `"clave": "x"`, `**Contraseña:** x`, `contraseña -> x`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.findings import PLACEHOLDER, Finding
from otel_bridge.privacy.redaction.labels import SUFFIX, WORD, is_label, is_strong, names_label, says_secret
from otel_bridge.privacy.redaction.values import has_digit, is_algorithm, is_reference

# Whose it is: «del staging», «para el usuario root», «for the server».
NOUN = r"wifi|wi-fi|root|admin|ssh|ftp|sftp|vpn|smtp|ldap|mysql|postgres|redis|sudo|bd|db|staging|prod|producci[oó]n"
OWNER = (
    rf"(?: (?:{NOUN}|de acceso|temporal|nuev[ao]|actual|viej[ao]|maestr[ao]|secreta|privada|inicial|por defecto|"
    r"(?:de|del|para|of|for|en|al|a|on|to|in)(?: (?:la|el|los|las|mi|tu|su|the|my|our|nuestro|nuestra))?"
    r"(?: (?:usuario|user|servidor|server|cuenta|base|red|cluster|entorno|rol|role|account|db|bd|servicio|service)"
    r"(?! (?:de|del|es) ))?(?! (?:es|is|era|was) ) [\w.@/-]{1,40}+"
    r"(?: (?!fall|caduc|expir|cambi|funcion|vence|sirve|fail)[a-záéíóúñ]{3,12}+(?= (?:es|is|era)[ :]|\s?[:=]))?)){0,3}+"
)
# What closes a label: quotes (escaped ones too), marks of Markdown, an index, a tag, an entity.
_CLOSE = r"(?:\\{0,3}[\"'`”»’]|\*{1,3}|_{1,2}(?![a-z0-9])|~~|\]|&quot;|&#0?3[49];|&apos;|</[a-z]{1,8}>|%22){0,3}+"
_TYPE = r"(?:\s?:?\s?(?:&'?(?:static )?str|str|string|std::string|secretstr|optional\[str\]|str \| none|any)\s?(?==))?"
# Searched in the lower-cased text: when it ignores case, the engine cannot skip ahead (4 times slower).
_ASSIGNMENT = re.compile(
    rf"(?P<word>{WORD}){SUFFIX}{OWNER}(?: ?\([^()\n]{{1,40}}\))?{_CLOSE}{_TYPE}"
    r"(?P<mark>\s{0,3}(?:[?+]?[:=](?:\s?[:=]){0,2}+>?|[-=]{1,2}(?:>|&gt;)|[→⇒⟶➜➔➡👉➤►▶⬇][\U0001f3fb-\U0001f3ff]?|"
    r"[.…]{2,40}+:|%3[ad](?:%20|%22){0,2}+)|(?P<dash> (?:--?|[>~»]|\.{3,40}+|_{2,40}+) |\t{1,4}+(?=\S))|(?P<comma>,))"
    r"(?P<bold>[*_]{1,3}(?=\s))?(?:</[a-z]{1,8}>|<br ?/?>)?"
    r"(?P<space>\s{0,16}+)(?P<block>[|>][-+]?[0-9]?[ \t]{0,4}\n[ \t]{1,24}+)?(?:```\w{0,10}\n)?"
    r"(?P<stars>\*{1,3}(?=[^\s*])|\|\|(?=[^\s|'\"])|<(?:b|code|strong|em|i|kbd|tt)>)?"
    rf"(?!(?:\\{{0,3}}[\"'`“«‘]|&quot;|&#0?3[49];)?{PLACEHOLDER})"
    r"(?:(?:n|b|r|u|f|@)?(?:\"(?P<double>(?:[^\"\\\n]|\\.){1,512}+)\"|'(?P<single>(?:[^'\\\n]|\\.|"
    r"(?<=\w)''(?=\w)){1,512}+)')|"
    r"`{1,2}(?P<tick>[^`\n]{1,512}+)`|"
    r"(?P<slashes>\\{1,3})[\"'](?P<escaped>(?:[^\"'\\\n]|(?!(?P=slashes)[\"'])\\{1,8}+[\"']?){1,512}+)\\|"
    r"“(?P<curly>[^“”\n]{1,256}+)”|«(?P<angled>[^«»\n]{1,256}+)»|‘(?P<curly_single>[^‘’\n]{1,256}+)’|"
    r"„(?P<low_quoted>[^„“”\n]{1,256}+)[“”]|"
    r"[”’´](?P<closing>[^”’´\n]{1,256}+)[”’´]|"
    r"(?:&quot;|&#0?3[49];|&#x2[27];|&apos;)(?P<entity>(?:[^&\n]|&(?!quot;|#0?3[49];|#x2[27];|apos;)){1,256}+)|"
    r"[\"'`“«‘]?(?P<bare>(?:[^\s\"'`&\\<,;”»’|%]|(?<=\w)[\"'](?=\w)|&(?![\w.-]{1,40}=|quot;|\#0?3[49];|apos;|lt;|"
    r"gt;|amp;)|"
    r"%(?!2[26])|\\(?![nrt\"'\\])|<(?!/|br)|\|(?!\|)(?=\S)|[,;](?!\s?[\w.-]{1,30}+[\"']?[=:])){1,512}+))"
)
_PARTS = ("word", "mark", "comma", "bold", "block", "space", "stars")
_REST_OF_LINE = re.compile(r"[ \t.]{0,8}+(?:\n|\Z)").match
_BULLET = re.compile(r"[-+#>]|[\w.-]{1,60}+:(?:\s|\Z)").match
_BLOCK_LINES = re.compile(r"[^\n]{1,400}+(?:\n[ \t]{2,24}+[^\s:][^\s:]{0,400}+(?=\n|\Z)){0,20}").match
# A reference with a default after it: `process.env.X || 'value'`.
_OTHERWISE = re.compile(
    r"[^\n|?'\"]{0,80}+(?:['\"][\w.-]{0,60}['\"][\])]{0,2}\s{0,2})?(?:\|\||\?\?|\bor\b|\?:)"
    r"\s{0,3}[\"'`]([^\"'`\n]{1,256}+)"
).match
# `password: ${NAME:value}`: here the label says that it is a secret, not the name.
_DEFAULT = re.compile(
    r"\$\{(?!(?:env|file|sm|ssm|vault|cf|self|opt|secret|sys|kv):)[\w.-]{1,80}+(?::?[-=]|:)(?![?+])([^\s{}$]{1,256}+)\}"
).match
_EXPANDED = re.compile(r"\$\{[\w.]{0,60}\Z").search
# «password: authentication failed for user»: three words in a row are a sentence.
_SENTENCE = re.compile(
    r"(?:est[aá]|ver|va|son|la|el|lo|debe|tiene|hay|p[ií]de\w{0,4}|pregunt\w{1,4}|mira|campo|misma) \w|"
    r"[a-záéíóúñ]{2,20}+ (?!(?:y|and|e|o|or|para|for|en|con|usuario|user|gracias|pero|no|que) )"
    r"[\wáéíóúñ]{1,20}+ [a-záéíóúñ]{2,20}+"
).match
_KEY_KINDS = re.compile(r"(?:valor|value|id_\w*|primar|for[aá]n|p[uú]blic)").match
_NEXT_NAME = re.compile(r"[A-Z][A-Z0-9_]{1,60}+=").match
_COMPARED = re.compile(r"\b(?:if|elif|while|assert|and|or|return)\b|&&|\|\||[(!]").search
_COUNTED = re.compile(r" ?(?:bit|byte|token|char|caract)").match
_PAIR_BEFORE = re.compile(r"(?:usuario|user(?:name)?|usr|login)s?\s?(?:/|\||:| y | and |,)\s?(?:la )?\Z").search
_JOINTS = ("/", "|", ":", "y ", "d ", "a ", ", ")
_PAIR = re.compile(r"[\w.@-]{1,60}\s?[/|:,]\s?").match


def _is_secret(value: str, word: str, mark: str, *, quoted: bool) -> bool:
    """Whether the value after a word such as «token» is a secret and not the rest of a sentence."""
    length = len(value)
    if mark == "," and not (has_digit(value) and length >= 4):
        return False  # a list of names: ["password", "email"]
    if mark[-1:] in "- \t" and not (has_digit(value) and length >= 4 and not value.isdigit()):
        return False  # «password - how to change it»
    if mark[-1:] in "→⇒⟶➜➔➡👉➤►▶⬇>" and not quoted and value.isalpha() and "=" not in mark:
        return False  # «contraseña -> hash -> base de datos»
    if is_strong(word):
        if value.lower() == word:  # login(password=password)
            return False
        return "=" in mark or length >= 3
    if word in ("clave", "contra"):
        if _KEY_KINDS(value.lower()) or is_algorithm(value):
            return False
        if quoted or _is_mixed(value):
            return length >= 8 or ("=" in mark and length >= 4)
        return ("=" in mark and length >= 4) or (has_digit(value) and length >= 4)
    if value.isdigit() and length < 8:  # token=4096 is a count
        return False
    if word == "sig":  # of a signed URL
        return length >= 16
    if "=" in mark:
        return length >= 4 and not names_label(value)
    return length >= 8 and (has_digit(value) or ((length >= 20 or quoted) and not names_label(value)))


def _is_mixed(value: str) -> bool:
    """Capitals within a word: `MiClaveSegura`. A name that starts with a small letter is likelier code."""
    return value[:1].isupper() and value.isalpha() and value[1:] != value[1:].lower() and not value.isupper()


def _is_name(value: str, text: str, start: int, end: int, mark: str) -> bool:
    """`password=db_password)`: code, where one name is given to another."""
    if has_digit(value) or not value.isidentifier() or not text[start].islower():
        return False
    if not says_secret(value) and not value.lower().endswith("_key"):
        return False
    return mark in (" = ", " =") or text[end : end + 1] in (")", ",", ";", "}") or text[end : end + 1] == "]"


def _closes(low: str, label: int, quote: int) -> bool:
    """Whether a quote closes a text that the label is part of (`expect 'password:' send`, `input("Clave: ")`)."""
    mark = low[quote]
    if low.find(mark, label, quote) >= 0:
        return False
    line = low.rfind("\n", max(0, label - 200), label) + 1 or max(0, label - 200)
    if mark == '"':
        return low.count(mark, line, label) % 2 == 1
    opened = low.rfind(mark, line, label)
    if opened + 1 == label > 0:
        return True
    # A quote that closes stands before the label in SQL: user='ana' AND password='x'.
    odd = low.count(mark, line, label) % 2 == 1
    return opened >= 0 and odd and low[opened + 1 : label].replace(" ", "").replace("_", "").isalnum()


def find_assignments(text: str, low: str, since: int = 0) -> Iterator[Finding]:
    otherwise = "||" in low or "??" in low or " or " in low or "?:" in low
    expanded = "${" in low
    for match in _ASSIGNMENT.finditer(low, since):
        kind = match.lastgroup
        assert kind is not None
        start, end = match.span(kind)
        word, mark, comma, bold, block, space, stars = match.group(*_PARTS)
        at = match.start()
        if at and not low[at - 1].isspace() and not is_label(text, low, at, word):
            continue
        quoted = kind != "bare"
        if comma and not (quoted and (low[match.start("mark") - 1] in "\"'" or low[at - 1 : at] == ":")):
            continue
        if expanded and mark in (":", "=", ":=") and _EXPANDED(low, max(0, at - 60), at):
            continue  # ${DB_PASSWORD:-x}: see defaults.py
        if kind in ("double", "single") and _closes(low, at, start - 1):
            continue
        if kind == "tick" and mark == "=" and " " in low[start:end]:
            continue  # what a shell puts there is what the command prints
        if bold and bold[0] not in low[max(0, at - 40) : at]:
            continue
        if block:
            lines = _BLOCK_LINES(text, start)
            if lines:
                end = max(end, lines.end())
        elif space and "\n" in space:
            # On the next line, and alone there. A key or a list is the next thing of a document.
            if not _REST_OF_LINE(low, match.end()) or (not quoted and _BULLET(low, start)):
                continue
            if not quoted and not has_digit(low[start:end]) and not is_strong(word):
                continue
        value = text[start:end]
        if kind == "bare":
            if mark in (":", " :") and value.islower() and _SENTENCE(low, start):
                continue
            if space and mark[-1:] == "=" and _NEXT_NAME(text, start):
                continue  # DB_PASSWORD= DB_HOST=x
            if mark.strip() in ("==", "===") and _COMPARED(low, max(0, at - 40), at):
                continue
            value = value.rstrip(".,;:)]}>*_|" if stars else ".,;:)]}>")
            end = start + len(value)
            if low[max(0, at - 2) : at].endswith(_JOINTS) and _PAIR_BEFORE(low, max(0, at - 16), at):
                both = _PAIR(text, start)
                if both and (behind := text[both.end() : both.end() + 200].split(None, 1)):
                    start = both.end()
                    end = max(end, start + len(behind[0].rstrip(".,;")))
                    value = text[start:end]
        if not value:
            continue
        if is_reference(value, quoted=quoted):
            default = _DEFAULT(text, start)
            if default is None and otherwise:
                default = _OTHERWISE(text, start)
            if default is not None and not is_reference(default[1], quoted=True):
                yield *default.span(1), "api_key"
        elif _is_secret(value, word, mark, quoted=quoted):
            if kind == "bare" and _is_name(value, text, at, end, mark):
                continue
            if word == "clave" and not quoted and _COUNTED(low, end):
                continue
            yield start, end, "api_key"
