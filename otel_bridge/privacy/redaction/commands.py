"""Passwords on command lines, where a flag of one program is the only label: `sshpass -p x`, `redis-cli -a x`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.findings import PLACEHOLDER, Finding
from otel_bridge.privacy.redaction.labels import names_label
from otel_bridge.privacy.redaction.values import ARGUMENT, argument, has_digit, is_argument, is_reference


def _flag(flag: str, *, attached: str = "(?:=| {0,3})") -> re.Pattern[str]:
    """The pattern of a flag and its argument. `attached`: what stands between them."""
    return re.compile(rf"\s(?:{flag}){attached}{ARGUMENT}")


_SPACED = r"[ =]\s{0,3}"
_P = _flag("-p")
_P_SPACED = _flag("-p", attached=_SPACED)
_P_ATTACHED = _flag("-p", attached="")
_CAPITAL_P = _flag("-P")
_USER = re.compile(
    r"\s(?:-u|-U|-a|--user|--proxy-user|--auth|--creds|--src-creds|"
    r"--dest-creds)[ =]?[\"']?(?!\+)[^\s:\"'$]{1,128}:[\"']?"
    rf"(?!{PLACEHOLDER})(?:()()([^\s\"'`$]{{1,256}}+))"
)
_KEYSTORE = _flag(r"-(?:store|key|srcstore|deststore|srckey|destkey|new)pass(?:wd)?", attached=_SPACED)
_LOGINS = (
    "docker",
    "podman",
    "nerdctl",
    "helm registry",
    "oc",
    "buildah",
    "skopeo",
    "crane",
    "oras",
    "crane auth",
    "az",
    "az acr",
)
_MYSQLS = (
    "mysql",
    "mysqldump",
    "mysqladmin",
    "mysqlimport",
    "mysqlcheck",
    "mysqlpump",
    "mariadb",
    "mariadb-dump",
    "mycli",
)
_MONGOS = ("mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport", "mongostat")
_LDAPS = ("ldapsearch", "ldapadd", "ldapmodify", "ldapwhoami", "ldapdelete", "ldappasswd", "ldapcompare")
_SNMPS = ("snmpwalk", "snmpget", "snmpset", "snmpbulkwalk", "snmpgetnext", "snmptrap", "snmpstatus")

# By program: where its password stands. The case of flags matters: searched in the original text.
_PROGRAMS: dict[str, re.Pattern[str]] = {
    "sshpass": _P,
    "redis-cli": re.compile(rf"\s(?:-a|--pass|AUTH|auth) {{1,3}}{ARGUMENT}"),
    "smbclient": re.compile(r"\s(?:-U|--user)[ =]?()()[\"']?[^\s%\"']{1,80}%([^\s\"']{1,128}+)"),
    "rpcclient": re.compile(r"\s(?:-U|--user)[ =]?()()[\"']?[^\s%\"']{1,80}%([^\s\"']{1,128}+)"),
    "htpasswd": re.compile(
        rf"\s-[A-Za-z]{{0,6}}b[A-Za-z]{{0,6}} (?:-\S{{1,20}} (?:[0-9]{{1,2}} )?){{0,3}}"
        rf"\S{{1,120}} (?:\S{{1,60}} )?{ARGUMENT}"
        r"(?=\s*(?:\n|$|[|;&>)\"'`]))"
    ),
    "openssl": re.compile(
        rf"\s(?:-(?:passin|passout|pass|srp_pass) {{1,3}}[\"']?pass:|-k {{1,3}}|"
        rf"passwd(?: -(?:salt \S{{1,20}}|\w{{1,8}})){{0,3}} (?!-|[0-9]>)){ARGUMENT}"
    ),
    "keytool": _KEYSTORE,
    "jarsigner": _KEYSTORE,
    "curl": _USER,
    "http": _USER,
    "https": _USER,
    "net user": re.compile(rf"\s[\w.\\-]{{1,60}} (?![/*]){ARGUMENT}"),
    "net use": re.compile(
        rf"\s(?:[A-Za-z*]:? )?\\\\\S{{1,120}} (?![/*]){ARGUMENT}|\s/user:\S{{1,60}} (?![/*]){ARGUMENT}"
    ),
    "sqlcmd": _CAPITAL_P,
    "bcp": _CAPITAL_P,
    "isql": _CAPITAL_P,
    "osql": _CAPITAL_P,
    "tsql": _CAPITAL_P,
    "7z": _P_ATTACHED,
    "7za": _P_ATTACHED,
    "7zr": _P_ATTACHED,
    "7zz": _P_ATTACHED,
    "rar": _flag("-h?p", attached=""),
    "unrar": _P_ATTACHED,
    "zip": _CAPITAL_P,
    "unzip": _CAPITAL_P,
    "pdftotext": _flag("-[uo]pw", attached=_SPACED),
    "rabbitmqctl": re.compile(
        rf"\s(?:add_user|change_password|authenticate_user) {{1,3}}\S{{1,80}} {{1,3}}(?:-- )?{ARGUMENT}"
    ),
    "influx": _flag("--?(?:password|token|t|p)", attached=_SPACED),
    "mosquitto_pub": _CAPITAL_P,
    "mosquitto_sub": _CAPITAL_P,
    "mosquitto_passwd": re.compile(rf"\s-b \S{{1,120}} \S{{1,60}} {ARGUMENT}"),
    "ipmitool": _CAPITAL_P,
    "xfreerdp": _flag("/p:", attached=""),
    "xfreerdp3": _flag("/p:", attached=""),
    "wlfreerdp": _flag("/p:", attached=""),
    "rdesktop": _P_SPACED,
    "psexec": _P_SPACED,
    "evil-winrm": _P_SPACED,
    "twine": _P_SPACED,
    "cqlsh": _P_SPACED,
    "ftp": re.compile(r"\s-u ()()[^\s,]{1,60},([^\s\"']{1,128}+)"),
    "lftp": re.compile(r"\s-u ()()[^\s,]{1,60},([^\s\"']{1,128}+)"),
    "elasticsearch-users": _P_SPACED,
    "plink": _flag("-pw", attached=_SPACED),
    "pscp": _flag("-pw", attached=_SPACED),
    "putty": _flag("-pw", attached=_SPACED),
    "schtasks": _flag("/[rR][pP]", attached=_SPACED),
    "ssh-keygen": _flag("-[NP]", attached=_SPACED),
    "wpa_passphrase": re.compile(rf"\s(?:\"[^\"\n]{{1,40}}\"|\S{{1,40}}) {ARGUMENT}"),
    "rclone": re.compile(rf"\s(?:obscure|pass|password) {{1,3}}{ARGUMENT}"),
    "ngrok": re.compile(rf"\s(?:config )?(?:add-)?authtoken {ARGUMENT}"),
    "nmcli": re.compile(rf"\s(?:password|wifi-sec\.psk|802-11-wireless-security\.psk) {ARGUMENT}"),
    "svn": _flag("--password", attached=_SPACED),
    "skopeo": _USER,
    "buildah": _USER,
    "podman": _USER,
    "rabbitmqadmin": _P_SPACED,
    "ncftpput": _P_SPACED,
    "cypher-shell": _P_SPACED,
    "beeline": _P_SPACED,
    "dotnet nuget": _P_SPACED,
    "az sql": _P_SPACED,
    "useradd": _P_SPACED,
    "usermod": _P_SPACED,
    "net-snmp-create-v3-user": _flag("-[AX]"),
    "gitlab-runner": _flag("-r", attached=_SPACED),
    "ctr": _USER,
    "crictl": _USER,
    "etcdctl": _USER,
    "gh secret set": _flag("--body|-b"),
    "az keyvault secret set": _flag("--value", attached=_SPACED),
    "aws ssm put-parameter": re.compile(
        rf"\s--value[ =]{ARGUMENT}(?=[^\n]{{0,200}}SecureString)|SecureString[^\n]{{0,200}}?\s--value[ =]{ARGUMENT}"
    ),
    "ansible-vault": re.compile(
        rf"\sencrypt_string (?:--?[\w-]{{1,30}}(?:[ =][\w./@-]{{1,60}})? ){{0,3}}(?!-){ARGUMENT}"
    ),
    "vault": re.compile(
        rf"\s(?:login|operator unseal)(?: -[\w=./-]{{1,40}}){{0,4}} (?!-|\w{{1,20}}=)(?=\S{{0,80}}[0-9]){ARGUMENT}"
    ),
    "mc": re.compile(rf"\s(?:alias set|config host add)(?: \S{{1,120}}){{3}} {ARGUMENT}"),
    "consul": re.compile(rf"\skv put \S{{0,80}}(?:pass|secret|token|key)\S{{0,40}} {ARGUMENT}"),
    "neo4j-admin": re.compile(rf"\sset-initial-password {ARGUMENT}"),
    "composer": re.compile(
        rf"\sconfig (?:--?\w{{1,12}} )?(?:http-basic\S{{1,80}} \S{{1,60}}|(?:github-oauth|gitlab-token|"
        rf"bearer)\S{{1,80}}) {ARGUMENT}"
    ),
    "poetry": re.compile(
        rf"\sconfig (?:--?\w{{1,12}} )?(?:http-basic\S{{1,80}} \S{{1,60}}|pypi-token\S{{1,80}}) {ARGUMENT}"
    ),
    "bundle": re.compile(r"\sconfig (?:set )?(?:--\w{1,12} )?()()\S{1,120} [^\s:]{1,60}:([^\s\"']{1,128}+)"),
    "mysqladmin": re.compile(rf"\s(?:-p(?=\S)|password {{1,3}}){ARGUMENT}"),
}
# User and password are one word: ana/x@db.
_PROGRAMS |= dict.fromkeys(
    ("sqlplus", "sqlldr", "sqlcl", "expdp", "impdp", "rman", "exp", "imp"),
    re.compile(
        r"\s(?:target )?()()[\"']?[A-Za-z_]\w{0,40}/([^\s/@\"']{3,128}+)(?=@|[\"']?\s*$|[\"']?\s(?:@|\w{1,20}=))"
    ),
)
_PROGRAMS |= dict.fromkeys([f"{name} login" for name in _LOGINS], _P)
_PROGRAMS |= dict.fromkeys([name for name in _MYSQLS if name != "mysqladmin"], _P_ATTACHED)
_PROGRAMS |= dict.fromkeys(_MONGOS, _P)
_PROGRAMS |= dict.fromkeys(_LDAPS, _flag("-w"))
_PROGRAMS["ldappasswd"] = _flag("-[was]")
_PROGRAMS |= dict.fromkeys(_SNMPS, _flag("-[AX]"))


def _alternatives(names: list[str]) -> str:
    """Grouped by first letter, so that the engine skips most; the longest first: `az acr login`, `mysqldump`."""
    letters = sorted({name[0] for name in names})
    return "|".join(
        letter
        + "(?:"
        + "|".join(re.escape(n[1:]) for n in sorted(names, key=len, reverse=True) if n[0] == letter)
        + ")"
        for letter in letters
    )


_PROGRAM = re.compile(rf"\b(?:{_alternatives(list(_PROGRAMS))})(?:\.exe)?(?=\s)")
_WINDOW = 600
"""How far from its program a flag may stand, on the same line or the lines that a `\\` joins to it."""


def find_commands(text: str) -> Iterator[Finding]:
    # By program, where its last search ended: the pattern of a program reads each character once.
    searched: dict[str, int] = {}
    line_end = -1
    for match in _PROGRAM.finditer(text):
        start, end = match.span()
        name = match[0].removesuffix(".exe")
        if searched.get(name, 0) > start or (start and (text[start - 1].isalnum() or text[start - 1] in "_.-")):
            continue
        if line_end < end:
            line_end = _end_of_line(text, end)
        stop = min(line_end, end + _WINDOW)
        pattern = _PROGRAMS[name]
        position = end
        while flag := pattern.search(text, position, stop):
            position = flag.end()
            first = 4 if flag.lastindex and flag.lastindex > 3 else 1
            if first == 1 and pattern.groups > 3 and flag.lastindex is None:
                break
            at, until, quoted = argument(flag, first)
            if is_argument(text, at, until, quoted):
                yield at, until, "api_key"
            if name == "sshpass":  # what follows is the command it runs
                stop = position
                break
        searched[name] = stop


def _end_of_line(text: str, position: int) -> int:
    """Where the command ends: at a line break without a `\\` before it."""
    while True:
        end = text.find("\n", position)
        if end < 0:
            return len(text)
        if text[end - 1] != "\\":
            return end
        position = end + 1


# Not of one program: flags of any, pipes, files of logins, dialogues.
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
