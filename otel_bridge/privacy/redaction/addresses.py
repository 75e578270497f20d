"""E-mail and IP addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.budget import Budget
from otel_bridge.privacy.redaction.findings import Finding

# `git@github.com` names no one. `paquete@1.2.3` and systemd's `getty@tty1.service` are no addresses.
_EMAIL = re.compile(
    r"[\w.%+](?<![\w.%+-][\w.%+])[\w.%+'-]*+(?<!\bgit)@(?!v?[0-9]++\.[0-9])(?:[\w-]++\.)+"
    r"(?!(?:service|socket|timer|target|slice|scope|mount|automount|path|device|swap|conf|ya?ml|json|log|md|"
    r"txt)\b)(?:xn--[a-z0-9-]+|[^\W\d_]{2,})(?![\w])"
)
_EMAIL_ENCODED = re.compile(r"[\w.+](?<![\w.+-][\w.+])[\w.+-]*+%40(?:[\w-]++\.)+[A-Za-z]{2,}")

_DIGIT = re.compile("[0-9]").search
_IPV4 = re.compile(
    r"[0-9](?<![\w.][0-9])(?<![A-Za-z]/[0-9])[0-9]{0,2}+(?:\.[0-9]{1,3}+){3}(?!\w|\.[0-9])(?P<prefix>/[0-9]{1,2}(?!\w))?",
    re.ASCII,
)
_IPV6 = re.compile(
    r"[0-9A-Fa-f:](?<![\w:.-][0-9A-Fa-f:])[0-9A-Fa-f:]{2,39}+(?:\.[0-9]{1,3}){0,3}+(?:%\w{1,16}+)?(?!\w)",
    re.ASCII,
)
# A version of four parts has the shape of an address. The text before it tells them apart.
_VERSION_MARK = re.compile(
    # A word for a version, or an operator of one.
    r"(?:[a-z]{0,20}version|§|(?m:^#{1,4})|kernel|\bfw|ver\.|vers\.?|(?<![a-z])(?:versi[oó]n|versiones|version(?:s|"
    r"_id)?|oid|secci[oó]n|section|apartado|cap[ií]tulo|release|rel|build|tag|chart|revision|revisi[oó]n|"
    r"appversion|imagetag|"
    r"targetrevision|chartversion|engine_version|firmware|parche|patch|upgrade|update|bump|rollback|downgrade|v|ver))"
    r"(?:[\"'`*]{0,2} ?[:=]{0,2}>? ?[\"'`*v(\[]{0,2}| (?:to|a|de|from|del|es|is|la|the) v?)\Z|"
    r"(?:[=<>~!]=|===|\^|~>|(?<![\w~-])~|[,(] ?[<>=]) ?[\"']?v?\Z|"
    # «Upgrading foo from …», «actualicé de la … a la …», «fixed in …», «a partir de la …».
    r"\b(?:upgrad|downgrad|actuali[zc])[^\W\d_]{0,8}(?: [\w-]{1,20}){0,2} (?:from|to|de|a)(?: la)? \Z|"
    r"\b(?:(?:arreglad|corregid)[oa] en|fixed in|changes in|introduced in|a partir de|anterior(?:es)? a|"
    r"posterior(?:es)? a)(?: la)? v?\Z"
).search
# Right after the name of a package, an image or a file: app:2.4.1.7, nginx-4.10.1.2.tgz, npm's paquete@2.1.0.3.
_NAME_BEFORE = re.compile(r"(?P<name>[a-z][\w.+/-]{0,60})(?:[:_/-]v?)\Z").search
# A package pinned with one `=`, as apt has it (libssl3=3.0.11.1): a setting has no digit or hyphen in its name.
_PINNED = re.compile(
    r"(?<![\w.-])(?=[a-z+.]{0,40}[0-9-])(?![\w.-]{0,40}(?:ip|addr|host|server|node|src|dst|dns|gw|gateway|ping|target|dest|peer|client|remote|bind|listen|proxy|url|endpoint|nat)[\w.-]{0,20}=)"
    r"[a-z][a-z0-9+.-]{2,40}=\Z"
).search
_PRODUCT = re.compile(
    r"\b(?:sql server|windows server|firefox|chrom(?:e|ium)|chromedriver|edge|safari|opera|electron|thunderbird|webkit)"
    r"[ /]v?\Z"
).search
_PACKAGE_BEFORE = re.compile(
    r"\b(?:npm|pnpm|yarn|npx|bun|brew|go|pip|conda|asdf|nix|cargo|sdk|mise)\b[^\n]{0,40}@v?\Z"
).search
# `nginx 1.2.3.4`: the word before is a product. These words are none: an address may follow them.
_NO_PRODUCT_WORDS = """
    a al ante bajo con contra de del desde durante e el ella en entre es esta está este esto fue ha hacia hasta hay
    la las le les lo los mediante mi mis no o para pero por que se según ser si sí sin sobre son soy su sus también
    tras tu tus u un una uno y ya an and are as at be by for from has have his in into is it its my not of off on or
    our out over so that the their them then they this to up us via was we were with you your aquí allí ahora luego
    solo responde responden falla fallan resuelve apunta llega accede acceder conecta conectar conectado entra
    entrar abre usa uso usar tiene tengo veo va ver llama prueba intenta configura añade bloquea permite deniega
    allow deny block add ban banned drop accept reject connect connected connecting listening listen bind reached
    reach unreachable address addr addresses dirección direccion direcciones ip ips ipv4 host hosts hostname
    servidor servidores server servers nodo nodos node nodes máquina maquina máquinas equipo router gateway switch
    firewall proxy dns nameserver nameservers resolver cliente clientes client clients peer peers remote remoto
    remota local origen destino source destination src dst endpoint endpoints backend upstream maestro master worker
    workers réplica replica primary secondary bastion bastión instancia instance vm pod pods contenedor container
    interfaz interface eth0 eth1 ens3 wlan0 docker0 inet inet4 red redes network networks subred subnet rango range
    vpc vpn nat elb alb nlb balanceador loadbalancer lb ping ping6 ssh scp sftp rsync telnet traceroute tracepath
    mtr nc ncat netcat nmap dig nslookup whois curl wget http https ftp tcp udp icmp arp route ruta rutas metric dev
    pool usuario user forwarded-for x-forwarded-for x-real-ip real-ip atacante attacker visitante empresa oficina
    casa sede datacenter cámara camara impresora printer nas móvil teléfono pc laptop portátil ordenador computadora
    desktop record registro añadí añado google cloudflare quad9 opendns aws azure gcp
"""
_NO_PRODUCT = frozenset(_NO_PRODUCT_WORDS.split())
_WORD_BEFORE = re.compile(r"([^\W\d_][\w.+#-]{0,39})[ \t]{1,2}[\"'`(v]{0,2}\Z").search
_BETWEEN = re.compile(
    r"[\"'`)]{0,2}\s{0,2}(?:,|;|/|-|–|→|->|=>|a la|a|al|y|e|o|u|hasta|to|and|or|vs\.?|frente a)?\s{0,2}[\"'`(v]{0,2}"
).fullmatch
_TO = re.compile(r" a la v?[0-9]{1,3}\.[0-9]{1,3}\.").match
_NUMBERED = re.compile(r"[-_]?[0-9]{1,3}\Z")
_PORT = re.compile(r":[0-9]{2,5}(?![\w.])").match
_SUFFIX = re.compile(
    r"-(?:rc|alpha|beta|snapshot|pre|dev|ga|final|sp)[0-9.-]{0,4}(?![a-z])|-[0-9]{1,2}(?:ubuntu|[~+)]|\.el|deb)|"
    r"\+(?:build|[a-z0-9]{1,12}(?![\w@.]))|\.(?:release|final|ga|jar|t[ag][rz]|zip|deb|rpm|whl|gem)(?![a-z])"
).match
"""What follows the number of a version, and never an address."""
_LOOKED_AT = 48
_SMALL = 99
_FIRST = 40
"""Each part, and the first one, of a version that has no mark but the name before it."""


def _is_version(text: str, low: str, start: int, end: int, address: ipaddress.IPv4Address, last: int) -> bool:
    """Whether four numbers are a version. `last`: where the version before them ends, -1 if there was none."""
    since = max(0, start - _LOOKED_AT)
    if _SECTION(text, end) and (start == 0 or text[start - 1] == "\n") and max(address.packed) <= _SMALL:
        return True  # 17.7.5.4. Using DTrace
    if 0 <= last <= start and start - last <= 16 and _BETWEEN(text, last, start):
        return True  # «de 1.2.3.4 a 1.2.3.5»
    if address.is_private and not (address.packed[0] < 10):
        # Private networks start with 10, 172 and 192, as hardly a version does.
        return _VERSION_WORD(low, since, start) is not None
    if _VERSION_MARK(low, since, start) or _PACKAGE_BEFORE(low, since, start) or _PRODUCT(low, since, start):
        return True
    if _SUFFIX(low, end) or (low.startswith("de la ", start - 6) and _TO(low, end)):
        return True
    if max(address.packed) > _SMALL or address.packed[0] > _FIRST or _PORT(text, end):
        return False
    if _PINNED(low, since, start):
        return True
    if name := _NAME_BEFORE(low, since, start):
        return "://" not in low[max(0, name.start() - 3) : start] and name["name"].rstrip(":-_/") not in _NO_PRODUCT
    word = _WORD_BEFORE(text, since, start)
    if word is None or text[max(0, word.start() - 1) : word.start()] == "-":
        return False  # -h 1.2.3.4
    if _NUMBERED.sub("", word[1].lower()) in _NO_PRODUCT:
        return False  # worker-2 (1.2.3.4)
    return word[1].lower().strip(".-") not in _NO_PRODUCT


_VERSION_WORD = re.compile(
    r"(?:versi[oó]n|version|release|build|targetrevision|\bv\.?|==)[\"'`]?[ :=]{0,2}[\"'`]?\Z"
).search
_SECTION = re.compile(r"\. {1,3}[^\W\d_]").match
_METADATA = frozenset(int(ipaddress.IPv4Address(address)) for address in ("169.254.169.254", "169.254.170.2"))
_METADATA6 = int(ipaddress.IPv6Address("fd00:ec2::254"))
"""Metadata addresses of clouds: the same everywhere."""


def find_emails(text: str) -> Iterator[Finding]:
    """Searched for from the space before each `@` on: the whole text takes twice the time."""
    end = 0
    while (at := text.find("@", end)) >= 0:
        match = _EMAIL.search(text, max(end, text.rfind(" ", end, at) + 1))
        if match is None:
            return
        end = match.end()
        yield match.start(), end, "email"


def find_encoded_emails(text: str) -> Iterator[Finding]:
    for match in _EMAIL_ENCODED.finditer(text):
        yield *match.span(), "email"


# Host addresses, private ones too: they show the user's network.
#
# Left alone, since they identify nobody and half of the questions about networks are about them: loopback, 0.0.0.0,
# netmasks, multicast, `::`, `::1`, the metadata address of clouds, and in CIDR form private, reserved and shared
# networks (10.0.0.0/8, 2001:db8::/32). Versions of four parts are recognised by the text before them.


def find_ipv6(text: str, budget: Budget) -> Iterator[Finding]:
    for match in _IPV6.finditer(text):
        value = match[0].rstrip(":") if not match[0].endswith("::") else match[0]
        bare = value.partition("%")[0]
        prefix = _PREFIX6(text, match.start() + len(value))
        # A digit is needed: `dead::beef` is likelier a C++ or Perl name.
        if bare.count(":") < 2 or not _DIGIT(bare + (prefix[0] if prefix else "")):
            continue
        if budget.spent():
            yield match.start(), match.start() + len(value), "ip"
            continue
        try:
            host = ipaddress.IPv6Address(bare)
        except ValueError:
            continue
        mapped = host.ipv4_mapped
        if int(host) <= 1 or host.is_multicast or int(host) == _METADATA6 or (mapped and mapped.is_loopback):
            continue
        if prefix and _names_no_one(host, int(prefix[1]), 128):
            continue
        yield match.start(), match.start() + len(value), "ip"


def find_ipv4(text: str, low: str, budget: Budget) -> Iterator[Finding]:
    last = -1
    for match in _IPV4.finditer(text):
        start = match.start()
        end = match.start("prefix") if match["prefix"] else match.end()
        if budget.spent():
            yield start, end, "ip"
            continue
        try:
            address = ipaddress.IPv4Address(text[start:end])
        except ValueError:
            continue
        first = address.packed[0]
        if first in (0, 127) or first >= 224 or int(address) in _METADATA:
            continue
        if _is_version(text, low, start, end, address, last):
            last = end
            continue
        if match["prefix"] and _names_no_one(address, int(match["prefix"][1:]), 32):
            continue
        yield start, end, "ip"


_PREFIX6 = re.compile(r"/([0-9]{1,3})(?!\w)").match
_SHARED = ipaddress.IPv4Network("100.64.0.0/10")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _names_no_one(host: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int, bits: int) -> bool:
    """Whether an address with a prefix length is a network that belongs to nobody in particular."""
    if length >= bits or int(host) & ((1 << (bits - length)) - 1):
        return False  # a host, written with the length of its network
    return (
        host.is_private
        or host.is_link_local
        or host in _SHARED
        or length <= (8 if bits == 32 else 16)
        or host in _NAT64
    )
