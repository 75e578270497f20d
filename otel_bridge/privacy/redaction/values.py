"""Values in the place of a secret that are none: references, code, masks, words that ask for a value."""

from __future__ import annotations

import re

from otel_bridge.privacy.redaction.labels import HAS_PLACEHOLDER, says_secret

# One value of a command line or of SQL. Groups have no names: a pattern may contain it more than once.
ARGUMENT = r"(?:\"((?:[^\"\\\n]|\\.){1,256}+)\"|'([^'\n]{1,256}+)'|([^\s\"'`|;&<>()]{1,256}+))"

# A reference has its own form, with quotes around or without. Here and in `_ASKS` the dearest form looks at the last
# character first: for a key 0.9 → 0.5 and 1.3 → 0.5 µs.
_REFERENCE = re.compile(
    r"\$[{($]?$|\$[{(]|\$[A-Z_][A-Z0-9_]*+$|\$[A-Za-z_]++(?:$|[:.\[]|->)|\$[0-9]$|"
    r"\{\{|\{%|\{[A-Za-z_0-9.]*+\}$|[#@]\{|\[\[|<{1,2}[^>]*+>{0,2}$|&lt;|"
    r"%[A-Za-z_]\w*+%|%[sdvqr@]$|%[({]|\?$|@[A-Za-z_]*(?i:password|pwd|token|secret|clave)$|:[a-z_]\w*+$|"
    r"@(?i:microsoft\.keyvault)|!(?:Ref|Sub|GetAtt|ImportValue|Join|Select|FindInMap|Base64|vault|secret|env|"
    r"reference|include|lookup|Transform|If|Cidr)\b|"
    r"(?:arn|vault|op|ref\+\w+|file|secretref|secret|secrets|keyvault|env|ssm|sm|awssm|gcpsm|gsm|kms|aws-sm|bw|"
    r"doppler|akv|keychain|keyring|aws-secretsmanager|gcp-secretmanager|azurekeyvault|conjur|env_var|prompt)"
    r"(?::/{0,3}[\w/.{$-]|\+[\w-]++:)|"
    r"projects/[\w-]++/secrets/|ENC[(\[]|\{cipher\}|\$ANSIBLE_VAULT|(?i:https?)://|"
    r"[*x.•●…_#-]++$|[:=|>,;!?&+]{1,3}$|[*xX•●]{4,}|(?i:x{3,}(?:[-_]?x{2,}){0,8})$|[¿¡]|\[\w+=|\$\[|[\[{(]$|\(\(|"
    r"__\w+__$|"
    r"@\w+\(|"
    r"\[(?i:redacted|oculto|hidden|filtered|masked|secret|password|token|removed|censored|(?:tu|su|your|the|la|el|"
    r"inserte?|enter)\b)|\[[\"']|[\"']{2}$|@@\w|(?:required|nullable|sometimes)\||"
    r"(?=(?s:.*+)(?<=[x*.…\n]))(?i:[a-z][a-z0-9]{1,7}[-_]){1,3}(?:x{4,}|\*{3,}|\.{3}|…)$|"
    r"\((?i:sensitive|known|hidden|oculto|redacted|(?:la|el|los|las|the|see|ver|no|un|una|it|optional|opcional)$)|"
    r"(?i:n/a)$"
).match
# Words that say there is no value, that one is needed, or of what type it is.
_WORDS = frozenset(
    (  # noqa: SIM905
        "yes no on off sí si "
        "null none nil true false undefined required optional opcional obligatorio obligatoria string str bytes int "
        "integer boolean bool text char varchar any redacted hidden oculto vacío vacía vacio vacia empty todo tbd "
        "placeholder sensitive secretstr securestring redactado omitted omitido pendiente"
    ).split()
)
_KEYWORDS = frozenset(
    (  # noqa: SIM905
        "await new return not if async lambda func function def self this input getpass yield throw typeof let const "
        "var include lookup env file valuefrom value_from secretkeyref from_secret and or is in for the de del es"
    ).split()
)
# A file: its roots or its ending. A key in base64 may start with a slash, so a slash alone says nothing.
_PATH = re.compile(
    r"(?:~|\.{1,2})/[\w.@/${}-]|[A-Za-z]:\\[\w.]|%\w++%\\|"
    r"/(?:etc|run|var|opt|home|root|usr|tmp|mnt|srv|secrets?|vault|app|keys?|certs?|users|path|ruta|data|config|"
    r"private|"
    r"dev|proc|sys|workspace|github|ssl|pki|bitnami|certificates?)(?:/|$)|"
    r"(?-i:/[a-z0-9_.-]++(?:/[a-z0-9_.-]++){1,12}+/?$)|"
    r"[\w./@-]{1,200}\.(?:key|pem|crt|cer|txt|json|ya?ml|env|p12|pfx|jks|kdbx|conf|asc|gpg|pub|ppk|tf|enc|ini|cfg|"
    r"properties|age|sops|xml|toml)$",
    re.IGNORECASE,
).match
_ASKS = re.compile(
    r"(?:tu|su|your|my_?own|inserte?|ingres[ae]|escrib[ae]|replace|reempla[a-z]{2,6}|sustituy[ae]|pon|put|enter|"
    r"add|here|"
    r"aqu[ií]|example|ejemplo|dummy|fill|paste|pega)"
    r"(?:[-_ ](?:tu|su|your|de|la|el|the|256|128|bit|512|[a-záéíóúñ]{2,16}))++$|"
    r"(?:your|tu)(?:api)?(?:password|token|secret|key|contraseña|clave)(?:here|aqui)?$|"
    r"(?=(?s:.*+)(?<=[eiíro\n]))"
    r"[a-zñ]{2,16}(?:[-_][a-zñ]{2,16}){0,4}[-_](?:here|aqu[ií]|placeholder|example|ejemplo|goes[-_]here)$",
    re.IGNORECASE,
).match
# Code, where there are no quotes around it.
_CODE = re.compile(
    r"[A-Za-z_][\w]*+(?:(?:\.|::|->)[A-Za-z_]\w*+)++\(|"
    r"[A-Za-z_$][\w$]*+(?:(?:\.|::|->|\?\.)[A-Za-z_$][\w$]*+)*+!?"
    r"(?:\((?![0-9])|\[(?![0-9][^\]]*+[^\]0-9])|<[\w, ]*>|\?$|[({\[]$)|"
    r"(?:valuefrom|value_?from|secretkeyref):|"
    r"(?:&(?:'static )?)?(?:mut )?(?:\[\]byte|std::string|(?:var)?char\([0-9]{1,5}\)?|text)|&[a-z]|\[\]|"
    r"\.[Vv]alues\.|@\w++\.",
    re.IGNORECASE,
).match
_DOTTED = re.compile(
    r"\.?[A-Za-z_$][\w$-]*+(?:\[[\w\"'*]*+\])?(?:\??\.[A-Za-z_][\w-]*+(?:\[[\w\"'*]*+\])?)++\[?"
).fullmatch
_OWNERS = frozenset(
    (  # noqa: SIM905
        "var vars data local locals each self this module config settings args opts options params param req request "
        "ctx context env process os secrets secret user users props state form body values cfg conf app db session "
        "credentials event input output inputs outputs steps needs github kwargs environ dotenv rails application "
        "model account auth client server service result response res item row obj parent count path terraform input "
        "parameters variables resource each job matrix runner matrix vault"
    ).split()
)
_LAST = frozenset(
    ("value result values results id ids arn name plaintext key data content output secret_string").split()  # noqa: SIM905
)


def _is_dotted(value: str) -> bool:
    """`module.db.password`, `user.token`: names with dots between, each of which begins with a letter."""
    if "." not in value or not _DOTTED(value):
        return False
    parts = value.strip(".[").replace("?", "").split(".")
    if len(parts) >= 3 and not any(part[:1].isupper() for part in parts[1:-1]):
        return True
    first, last = parts[0].partition("[")[0].lower(), parts[-1].partition("[")[0].lower()
    return first in _OWNERS or last in _LAST or says_secret(last)


def is_reference(value: str, *, quoted: bool) -> bool:
    """Whether a value only says where the secret is, or that there should be one."""
    if value.isalnum():
        if not value.isalpha():
            return False
        low = value.lower()
        return (
            low in _WORDS
            or low.strip("x") == ""
            or (low.startswith(("your", "tu")) and _ASKS(low) is not None)
            or (not quoted and low in _KEYWORDS)
        )
    if not value or _REFERENCE(value) or ("[" in value and HAS_PLACEHOLDER(value)):
        return True
    if ("/" in value or "\\" in value or "." in value) and _PATH(value):
        return True
    if _ASKS(value):
        return True
    return not quoted and (value.lower() in _KEYWORDS or _CODE(value) is not None or _is_dotted(value))


# «clave SSH: ed25519», «the password is base64 encoded»: the algorithm, not the secret.
is_algorithm = re.compile(
    r"(?:sha|md|aes|rsa|dsa|des|3des|hmac|argon|bcrypt|pbkdf|scram|oauth|base|ed|ecdsa|x|utf|http|ssh|ssl|tls|jwt|uuid|"
    r"python|node|java|k8s|s3|ec2|ipv)(?:[-_]?[0-9]{1,5}){0,2}(?:id|[-_][a-z]{2,6})?",
    re.IGNORECASE,
).fullmatch


_DIGIT = re.compile("[0-9]").search


def has_digit(value: str) -> bool:
    return _DIGIT(value) is not None


def argument(match: re.Match[str], first: int) -> tuple[int, int, bool]:
    """The span of an ARGUMENT whose groups start at `first`, and whether it had quotes."""
    for group in (first, first + 1):
        if match[group]:
            return *match.span(group), True
    return *match.span(first + 2), False


def is_argument(text: str, start: int, end: int, quoted: bool) -> bool:
    """Whether an argument of a command is a secret: no next flag, no reference."""
    value = text[start:end]
    return not (value[0] == "-" and not quoted) and not is_reference(value, quoted=True)
