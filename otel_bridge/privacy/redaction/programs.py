"""Programs that take a password as an argument, by a table: `sshpass -p x`, `redis-cli -a x`.

To add a program, add a row to `_PROGRAMS`, and an example to tests/redaction/test_secrets.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.findings import PLACEHOLDER, Finding
from otel_bridge.privacy.redaction.values import ARGUMENT, argument, is_argument


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


def find_programs(text: str) -> Iterator[Finding]:
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
