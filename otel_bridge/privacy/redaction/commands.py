"""Passwords on command lines, whatever the program: flags that name them, pipes, files of logins, dialogues."""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.findings import PLACEHOLDER, Finding
from otel_bridge.privacy.redaction.labels import names_label
from otel_bridge.privacy.redaction.values import ARGUMENT, argument, has_digit, is_argument, is_reference

_FLAG = re.compile(
    r"(?:password|passwd|passphrase|passwort|token|secret(?:-string)?|api-?key|auth-?key|access-?key|pass|pwd)"
    rf"(?P<gap> {{1,3}}(?!--?[a-z])|[:=] ?)(?:{ARGUMENT})"
)
_PROSE = re.compile(
    r"(?:via|on|in|is|as|and|or|for|from|to|with|option|flag|parameter|argument|en|por|es|y|o|para|con|no|que)(?= )"
).match
_PIPED = re.compile(
    rf"(?:echo|printf)(?: -[a-zA-Z]{{1,3}})? {{1,3}}(?:'%s(?:\\n)?' )?"
    rf"{ARGUMENT}\s?\|\s?(?:sudo(?: -[a-zA-Z]{{1,2}})? )?"
    r"(?:passwd\b|chpasswd\b|(?<=sudo )-S|(?<=-S )\w|kinit\b|cryptsetup\b|(?:docker|podman|helm registry|oc|"
    r"skopeo|crane|oras|gh auth|"
    r"npm|az|nerdctl|buildah|flyctl auth|doctl auth) login|gcloud secrets|(?:docker|podman|kubectl) (?:-n \S{{1,40}} )?"
    r"(?:create )?secret|gpg\b|smbpasswd\b|saslpasswd2\b|openssl\b[^\n|"
    r"]{0,80}stdin|pscp\b|su\b)"
)
_SUDO = re.compile(rf"(?:echo|printf) {{1,3}}{ARGUMENT}\s?\|\s?sudo (?:-\w{{1,3}} ){{0,2}}?-\w{{0,2}}S")
# `kinit ana <<< 'x'`
_HERE = re.compile(
    rf"(?:kinit|cryptsetup|sudo -S|secret put|--with-token|--password-stdin|passwd|smbpasswd|"
    rf"\bsu)\b[^\n<]{{0,80}}<<<\s?{ARGUMENT}"
)
_CHPASSWD = re.compile(r"chpasswd[^\n<]{0,20}<<<\s?[\"']?()()[\w.-]{1,40}:([^\s\"']{1,128}+)")
_NETRC = re.compile(
    r"(?:machine\s{1,8}[^\s]{1,200}+|login\s{1,8}[^\s]{1,120}+|default)\s{1,16}"
    rf"(?:account\s{{1,8}}[^\s]{{1,100}}+\s{{1,8}})?password\s{{1,8}}(?!{PLACEHOLDER})()()([^\s]{{1,256}}+)"
)
_SECURE_STRING = re.compile(
    r"(?:convertto-securestring(?: -(?:string|asplaintext|force)){0,3}+|(?:networkcredential|"
    r"usernamepasswordcredentials|"
    r"passwordauthentication|httpbasicauth|basicauth|plaintextauthprovider|set_basic_auth|\.login|\bdb\.auth|"
    r"changeuserpassword|\bauth=)\([^,\n()]{1,60}+,|"
    # A host, a user and a password: how other languages open a database.
    rf"(?:getconnection|mysqli?_connect|mysqli|new pdo)\((?:[^,\n()]{{1,120}}+,){{2}})"
    rf" {{0,3}}{ARGUMENT}"
)
_SEND = re.compile(
    r"(?P<asked>assword|ontrase|clave|passphrase)|sendline\(\s?b?[\"'](?P<line>[^\s\"'\\$]{1,128}+)[\"']|"
    r"send(?:_user)?(?: --)? {1,3}[\"'](?P<sent>[^\s\"'\\$]{1,128}+)\\[rn]"
)
_DIRECTIVE = re.compile(
    rf"(?:^[ \t#>]{{0,8}}(?:masterauth|bindpw|rootpw|rocommunity|rwcommunity|stats auth [\w.-]{{1,40}}:|"
    rf"AUTH(?: \w{{1,20}}(?= ))?|"
    r"enable (?:secret|password)(?: [0-9])?|snmp-server community|"
    r"username \S{1,40}(?: privilege [0-9]{1,2})? (?:secret|"
    rf"password)(?: [0-9])?) ?|\brequirepass {{1,8}}|\b(?i:user|"
    rf"setuser) \S{{1,40}} on (?:\S{{1,40}} ){{0,4}}?>)(?![=:-]){ARGUMENT}",
    re.M,
)


def find_flags(text: str, low: str) -> Iterator[Finding]:
    """`--db-password x`, `-Password x`, `/pass:x`: of any program."""
    for match in _FLAG.finditer(low):
        word = match.start()
        if not word or not (low[word - 1] in "-/_" or low[word - 1].isalpha()):
            continue
        flag = low[max(0, word - 44) : word].rsplit(None, 1)[-1].lstrip("\"'`([")
        if flag[:1] not in ("-", "/") or not (flag.lstrip("-/").replace("-", "").replace("_", "") or "x").isalnum():
            continue
        start, end, quoted = argument(match, 2)
        value = text[start:end]
        if value.isupper() and names_label(value):
            continue  # `--token TOKEN` explains the flag
        if not quoted and _PROSE(low, start):
            continue  # «Using --password via the CLI is insecure»
        if not is_argument(text, start, end, quoted) or value[0] in "[<{" or len(value) < 3:
            continue
        marked = match["gap"][0] in ":="
        if marked != (flag[0] == "/"):
            continue  # what has a mark is for assignments.py, but for the flags of Windows
        if low.startswith(("pass", "pwd"), word) or not (
            value.startswith(("id=", "source=", "src=", "type=")) or (value.isdigit() and len(value) < 8)
        ):
            yield start, end, "api_key"


def _all(pattern: re.Pattern[str], text: str) -> Iterator[Finding]:
    for match in pattern.finditer(text):
        start, end, quoted = argument(match, 1)
        if is_argument(text, start, end, quoted) and (pattern is not _NETRC or _is_netrc(text, match, start, end)):
            yield start, end, "api_key"


def _is_netrc(text: str, match: re.Match[str], start: int, end: int) -> bool:
    """Whether it is an entry of .netrc, and not a sentence such as «login page password reset»."""
    if not text[start:end].islower() or not text[start:end].isalpha():
        return True
    return text.rfind("machine", max(0, match.start() - 200), match.start() + 7) >= 0


def find_piped(text: str) -> Iterator[Finding]:
    """`echo x | passwd --stdin`, `echo 'ana:x' | chpasswd`."""
    for pattern in (_PIPED, _SUDO, _CHPASSWD, _HERE):
        for match in pattern.finditer(text):
            start, end, quoted = argument(match, 1)
            name, colon, _ = text[start:end].partition(":")
            if pattern is _PIPED and colon and "chpasswd" in match[0]:
                start += len(name) + 1
            if start < end and is_argument(text, start, end, quoted):
                yield start, end, "api_key"


def find_netrc(text: str) -> Iterator[Finding]:
    yield from _all(_NETRC, text)


def find_secure_strings(text: str, low: str) -> Iterator[Finding]:
    for match in _SECURE_STRING.finditer(low):
        start, end, quoted = argument(match, 1)
        if quoted and not is_reference(text[start:end], quoted=True):
            yield start, end, "api_key"


def find_sent(text: str) -> Iterator[Finding]:
    """`send "x\\r"` of an expect script: after a prompt for a password, or where it looks like one."""
    asked = -1
    for match in _SEND.finditer(text):
        if match["asked"]:
            asked = match.end()
            continue
        start, end = match.span("line" if match["line"] else "sent")
        value = text[start:end]
        made_up = len(value) >= 6 and has_digit(value) and not value.isdigit()
        if (made_up or 0 <= asked >= start - 80) and not is_reference(value, quoted=True):
            yield start, end, "api_key"


def find_directives(text: str) -> Iterator[Finding]:
    for match in _DIRECTIVE.finditer(text):
        start, end, quoted = argument(match, 1)
        value = text[start:end]
        word = value.rstrip(".,;:")
        made_up = has_digit(word) or not word.isalpha() or word != word.lower()
        if is_argument(text, start, end, quoted) and made_up and len(value) >= 4:
            yield start, end, "api_key"


# The arguments of a command as a list: `["mysqladmin", "ping", "-px"]`
_ARGV = re.compile(
    r"[\"'](?:mysqladmin|mysql|mysqldump|mariadb-admin|mariadb)[\"'],[^\]\n]{0,200}?[\"']-p(?P<attached>[^\"'\n]{1,128}+)[\"']|"
    r"[\"']redis-cli[\"'],[^\]\n]{0,200}?[\"']-a[\"'],\s?[\"'](?P<next>[^\"'\n]{1,128}+)[\"']"
)


def find_argv(text: str) -> Iterator[Finding]:
    for match in _ARGV.finditer(text):
        start, end = match.span(match.lastgroup or 0)
        if not is_reference(text[start:end], quoted=True):
            yield start, end, "api_key"
