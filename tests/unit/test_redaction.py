"""Redaction as tables of input and output, the promise of idempotence, bounded work, and the user hash."""

from __future__ import annotations

import multiprocessing
import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.errors import StartRefused
from otel_bridge.privacy.redaction import Redactor
from otel_bridge.privacy.redaction.findings import PLACEHOLDERS
from otel_bridge.privacy.users import UserHasher, load_or_create_key

REDACTOR = Redactor("on")


def redact(text: str) -> tuple[str | None, dict[str, int]]:
    counts: dict[str, int] = {}
    return REDACTOR.redact(text, counts), counts


# Assembled, so that no scanner of this repository takes an example for a leak.
B62 = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC2dF4hJ6kL8nP0rS2tU4wX6zA8cE0gI2kM4o"
HEX = "0123456789abcdef" * 5
OPENAI = "sk-" + "proj-" + B62
JWT = "eyJ" + "hbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
PEM_BODY = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"] * 3)
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{PEM_BODY}\n-----END RSA PRIVATE KEY-----"

# (what it is, input, output, kinds counted)
FOUND: list[tuple[str, str, str, list[str]]] = [
    ("e-mail", "escribe a ana.lopez+ci@ejemplo.com.mx, gracias", "escribe a [correo], gracias", ["email"]),
    ("e-mail with ñ", "soy peña@españa.es.", "soy [correo].", ["email"]),
    ("two e-mails", "a@b.co;c@d.io", "[correo];[correo]", ["email", "email"]),
    ("e-mail in a URL's query", "https://x.io/?u=ana%40x.com&a=1", "https://x.io/?u=[correo]&a=1", ["email"]),
    ("e-mail, full-width at", "ana＠ejemplo.com", "[correo]", ["email"]),
    ("e-mail, zero-width space", "ana\u200b@ejemplo.com —sí—", "[correo] —sí—", ["email"]),
    # Phones
    ("phone: international", "llama al +34 600 123 456 hoy", "llama al [telefono] hoy", ["phone"]),
    ("phone: 00 prefix", "marca 0034 912 345 678.", "marca [telefono].", ["phone"]),
    ("phone: E.164", "+5215512345678", "[telefono]", ["phone"]),
    ("phone: United States", "+1 (415) 555-2671 ok", "[telefono] ok", ["phone"]),
    ("phone: Spain, mobile", "mi número: 612345678", "mi número: [telefono]", ["phone"]),
    ("phone: Spain, threes", "el 612 345 678, por la tarde", "el [telefono], por la tarde", ["phone"]),
    ("phone: Spain, twos", "el 612 34 56 78", "el [telefono]", ["phone"]),
    ("phone: Spain, landline", "91 234 56 78", "[telefono]", ["phone"]),
    ("phone: Mexico", "55 1234 5678", "[telefono]", ["phone"]),
    ("phone: Mexico, parentheses", "al (55) 1234-5678", "al [telefono]", ["phone"]),
    ("phone: Argentina", "(011) 4123-4567", "[telefono]", ["phone"]),
    ("phone: Argentina, mobile", "+54 9 11 2345-6789", "[telefono]", ["phone"]),
    ("phone: Chile", "9 8765 4321", "[telefono]", ["phone"]),
    ("phone: Colombia", "300 123 4567 o 3001234567", "[telefono] o [telefono]", ["phone", "phone"]),
    ("phone: Peru", "987 654 321", "[telefono]", ["phone"]),
    ("phone: Ecuador", "0991234567", "[telefono]", ["phone"]),
    ("phone: Uruguay", "099 123 456", "[telefono]", ["phone"]),
    ("phone: Venezuela", "0414-1234567", "[telefono]", ["phone"]),
    ("phone: Brazil", "(11) 91234-5678", "[telefono]", ["phone"]),
    ("phone: labelled, short", "Tel.: 2123-4567", "Tel.: [telefono]", ["phone"]),
    ("phone: labelled, WhatsApp", "mi WhatsApp es 1123456789", "mi WhatsApp es [telefono]", ["phone"]),
    ("phone: link", "https://wa.me/34600123456", "https://wa.me/[telefono]", ["phone"]),
    ("phone: full-width digits", "móvil ６１２３４５６７８", "móvil [telefono]", ["phone"]),
    ("phone: zero-width inside", "el 612\u200b345\u200b678", "el [telefono]", ["phone"]),
    ("phone: no-break spaces", "el 612\xa0345\xa0678", "el [telefono]", ["phone"]),
    ("phone: Arabic-Indic digits", "+٣٤٦٠٠١٢٣٤٥٦", "[telefono]", ["phone"]),
    # Cards
    ("card: spaces", "pago con 4111 1111 1111 1111 hoy", "pago con [tarjeta] hoy", ["card"]),
    ("card: hyphens", "5500-0000-0000-0004", "[tarjeta]", ["card"]),
    ("card: bare", "4111111111111111", "[tarjeta]", ["card"]),
    ("card: American Express", "3782 822463 10005", "[tarjeta]", ["card"]),
    ("card: then its expiry", "4111 1111 1111 1111 12/27", "[tarjeta] 12/27", ["card"]),
    ("card: Mastercard, 2 series", "2223003122003222", "[tarjeta]", ["card"]),
    # IBAN
    ("iban: Spain", "a ES91 2100 0418 4502 0005 1332 ya", "a [iban] ya", ["iban"]),
    ("iban: bare", "ES9121000418450200051332", "[iban]", ["iban"]),
    ("iban: lower case", "es9121000418450200051332.", "[iban].", ["iban"]),
    ("iban: then capitals", "DE89 3704 0044 0532 0130 00 DEL BANCO", "[iban] DEL BANCO", ["iban"]),
    ("iban: letters inside", "GB82 WEST 1234 5698 7654 32", "[iban]", ["iban"]),
    # IP
    ("ip: version 4", "ssh a 83.45.12.7 falla", "ssh a [ip] falla", ["ip"]),
    ("ip: private", "el nodo 192.168.1.15:6443", "el nodo [ip]:6443", ["ip"]),
    ("ip: in a URL", "http://10.0.0.12:8080/x", "http://[ip]:8080/x", ["ip"]),
    ("ip: end of sentence", "Es 8.8.4.4.", "Es [ip].", ["ip"]),
    ("ip: public network", "83.45.12.0/24", "[ip]/24", ["ip"]),
    ("ip: host in CIDR form", "192.168.1.15/24", "[ip]/24", ["ip"]),
    ("ip: version 6", "de 2001:db8:85a3::8a2e:370:7334 no", "de [ip] no", ["ip"]),
    ("ip: version 6 with a port", "[2001:db8::1]:443", "[[ip]]:443", ["ip"]),
    ("ip: version 6 with a zone", "fe80::1ff:fe23:4567:890a%eth0", "[ip]", ["ip"]),
    ("ip: version 4 in 6", "::ffff:83.45.12.7", "[ip]", ["ip"]),
    # National ids
    ("id: Spain, DNI", "soy 12345678Z", "soy [documento]", ["national_id"]),
    ("id: Spain, DNI dotted", "12.345.678-Z", "[documento]", ["national_id"]),
    ("id: Spain, DNI lower case", "12345678z", "[documento]", ["national_id"]),
    ("id: Spain, NIE", "NIE X2482300W", "NIE [documento]", ["national_id"]),
    ("id: Spain, NIE hyphens", "X-2482300-W", "[documento]", ["national_id"]),
    ("id: Mexico, CURP", "CURP BOXW310820HNERXN09", "CURP [documento]", ["national_id"]),
    ("id: Mexico, RFC", "RFC: GODE561231GR8", "RFC: [documento]", ["national_id"]),
    ("id: Argentina, CUIT", "20-05536168-2", "[documento]", ["national_id"]),
    ("id: Argentina, CUIL bare", "20055361682", "[documento]", ["national_id"]),
    ("id: Argentina, DNI", "DNI: 30.123.456", "DNI: [documento]", ["national_id"]),
    ("id: Chile, RUT", "12.531.909-2", "[documento]", ["national_id"]),
    ("id: Chile, RUT without dots", "rut 12531909-2", "rut [documento]", ["national_id"]),
    ("id: Chile, RUT with K", "1000005-K", "[documento]", ["national_id"]),
    (
        "id: Colombia, cédula",
        "cédula de ciudadanía 1020304050",
        "cédula de ciudadanía [documento]",
        ["national_id"],
    ),
    ("id: Colombia, C.C.", "C.C. 52.123.456", "C.C. [documento]", ["national_id"]),
    ("id: Colombia, NIT", "213.123.432-1", "[documento]", ["national_id"]),
    ("id: Brazil, CPF", "390.533.447-05", "[documento]", ["national_id"]),
    ("id: Brazil, CPF bare", "39053344705", "[documento]", ["national_id"]),
    ("id: Brazil, CNPJ", "16.727.230/0001-97", "[documento]", ["national_id"]),
    ("id: Brazil, CNPJ bare", "16727230000197", "[documento]", ["national_id"]),
    ("id: Peru, DNI", "mi DNI es 41234567", "mi DNI es [documento]", ["national_id"]),
    ("id: Peru, RUC", "20512333797", "[documento]", ["national_id"]),
    ("id: Ecuador, cédula", "cédula: 1714307103", "cédula: [documento]", ["national_id"]),
    ("id: Ecuador, hyphen", "171430710-3", "[documento]", ["national_id"]),
    ("id: Uruguay, CI", "3.123.456-7", "[documento]", ["national_id"]),
    ("id: Uruguay, RUT", "211003420017", "[documento]", ["national_id"]),
    ("id: Venezuela", "V-12345678", "[documento]", ["national_id"]),
    ("id: Venezuela, RIF", "J-07013380-5", "[documento]", ["national_id"]),
    ("id: Dominican Republic", "001-1391820-5", "[documento]", ["national_id"]),
    ("id: United States", "536-90-4399", "[documento]", ["national_id"]),
    ("id: passport", "pasaporte nº 123456789", "pasaporte nº [documento]", ["national_id"]),
    # Keys
    ("key: OpenAI", f"uso {OPENAI} y falla", "uso [clave] y falla", ["api_key"]),
    ("key: OpenAI, old", f"sk-{B62[:48]}", "[clave]", ["api_key"]),
    ("key: Anthropic", f"sk-ant-api03-{B62}-xx", "[clave]", ["api_key"]),
    ("key: AWS id", "AKIA" + "IOSFODNN7EXAMPLE", "[clave]", ["api_key"]),
    (
        "key: AWS secret",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY",
        "aws_secret_access_key = [clave]",
        ["api_key"],
    ),
    ("key: GitHub", f"ghp_{B62[:36]}", "[clave]", ["api_key"]),
    ("key: GitHub OAuth", f"gho_{B62[:36]}", "[clave]", ["api_key"]),
    ("key: GitHub fine-grained", f"github_pat_{B62[:22]}_{B62[:40]}", "[clave]", ["api_key"]),
    ("key: GitLab", f"glpat-{B62[:20]}", "[clave]", ["api_key"]),
    ("key: Slack", "xoxb-" + "123456789012-123456789012-" + B62[:24], "[clave]", ["api_key"]),
    (
        "key: Slack webhook",
        f"https://hooks.slack.com/services/T00000000/B00000000/{B62[:24]}",
        "https://[clave]",
        ["api_key"],
    ),
    ("key: Google", "AIza" + B62[:35], "[clave]", ["api_key"]),
    ("key: Stripe", "sk_live_" + B62[:24], "[clave]", ["api_key"]),
    ("key: Stripe, restricted", "rk_live_" + B62[:24], "[clave]", ["api_key"]),
    ("key: npm", "npm_" + B62[:36], "[clave]", ["api_key"]),
    ("key: PyPI", "pypi-" + B62, "[clave]", ["api_key"]),
    ("key: Hugging Face", "hf_" + B62[:34], "[clave]", ["api_key"]),
    ("key: SendGrid", f"SG.{B62[:22]}.{B62[:43]}", "[clave]", ["api_key"]),
    ("key: Telegram", f"bot 123456789:AA{B62[:33]}", "bot [clave]", ["api_key"]),
    ("key: DigitalOcean", "dop_v1_" + HEX[:64], "[clave]", ["api_key"]),
    ("key: Azure", f"abc8Q~{B62[:34]}", "[clave]", ["api_key"]),
    ("key: Azure storage", f"AccountKey={B62}==;x", "AccountKey=[clave]", ["api_key"]),
    ("key: Docker Hub", f"dckr_pat_{B62[:27]}", "[clave]", ["api_key"]),
    ("key: Vault", f"hvs.{B62[:24]}", "[clave]", ["api_key"]),
    # Assignments
    ("assignment: environment", "DB_PASSWORD=hunter2 make run", "DB_PASSWORD=[clave] make run", ["api_key"]),
    ("assignment: Spanish", "contraseña: MiPerro2024!", "contraseña: [clave]", ["api_key"]),
    ("assignment: without ñ", "contrasena=abc", "contrasena=[clave]", ["api_key"]),
    ("assignment: sentence", "la contraseña es Perro2024, ok", "la contraseña es [clave], ok", ["api_key"]),
    ("assignment: whose", "contraseña de root: toor", "contraseña de root: [clave]", ["api_key"]),
    ("assignment: JSON", '{"password": "a b c", "u": 1}', '{"password": "[clave]", "u": 1}', ["api_key"]),
    ("assignment: JSON in JSON", r"{\"password\":\"abc1\"}", r"{\"password\":\"[clave]\"}", ["api_key"]),
    ("assignment: api_key", "api_key=abcd1234efgh", "api_key=[clave]", ["api_key"]),
    ("assignment: API key, prose", "API key: abcd1234efgh", "API key: [clave]", ["api_key"]),
    (
        "assignment: query",
        "https://x.io/a?token=abcd1234&b=1",
        "https://x.io/a?token=[clave]&b=1",
        ["api_key"],
    ),
    ("assignment: header", "Authorization: Bearer abc.def-1", "Authorization: Bearer [clave]", ["api_key"]),
    ("assignment: basic", "Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [clave]", ["api_key"]),
    ("assignment: X-API-Key", "-H 'X-API-Key: abcd1234'", "-H 'X-API-Key: [clave]'", ["api_key"]),
    ("assignment: flag", "docker login --password s3creto", "docker login --password [clave]", ["api_key"]),
    (
        "assignment: flag, letters only",
        "login --password secretisimo",
        "login --password [clave]",
        ["api_key"],
    ),
    ("assignment: curl", "curl -u ana:s3creto https://x.io", "curl -u ana:[clave] https://x.io", ["api_key"]),
    ("assignment: holds an e-mail", "password=a@b.com!x fin", "password=[clave] fin", ["api_key"]),
    # JWT, PEM, URL
    ("jwt", f"token {JWT} caduca", "token [jwt] caduca", ["jwt"]),
    ("jwt: bearer", f"Authorization: Bearer {JWT}", "Authorization: Bearer [jwt]", ["jwt"]),
    ("pem", f"mi clave:\n{PEM}\n¿vale?", "mi clave:\n[clave-privada]\n¿vale?", ["private_key"]),
    ("pem: truncated", PEM[:150], "[clave-privada]", ["private_key"]),
    (
        "pem: truncated, then prose",
        f"{PEM[:160]}\n\n¿Por qué falla?",
        "[clave-privada]\n\n¿Por qué falla?",
        ["private_key"],
    ),
    ("pem: escaped lines", PEM.replace("\n", "\\n"), "[clave-privada]", ["private_key"]),
    ("pem: OpenSSH", PEM.replace("RSA", "OPENSSH"), "[clave-privada]", ["private_key"]),
    ("url", "postgres://app:s3cr3t@db:5432/x", "postgres://app:[contraseña]@db:5432/x", ["url_password"]),
    ("url: no user", "redis://:s3cr3t@cache:6379/0", "redis://:[contraseña]@cache:6379/0", ["url_password"]),
    ("url: at in it", "amqp://u:p@ss@mq/", "amqp://u:[contraseña]@mq/", ["url_password"]),
    ("url: slash in it", "postgres://app:aB/cd+=@db/x", "postgres://app:[contraseña]@db/x", ["url_password"]),
    (
        "url: e-mail as user",
        "smtp://ana@x.com:pw1@smtp.x.com",
        "smtp://[correo]:[contraseña]@smtp.x.com",
        ["email", "url_password"],
    ),
]


@pytest.mark.parametrize(("text", "expected", "kinds"), [row[1:] for row in FOUND], ids=[row[0] for row in FOUND])
def test_replaces_and_counts(text: str, expected: str, kinds: list[str]) -> None:
    redacted, counts = redact(text)
    assert redacted == expected
    assert counts == {kind: kinds.count(kind) for kind in kinds}


def test_the_table_has_every_kind() -> None:
    assert {kind for row in FOUND for kind in row[3]} == set(PLACEHOLDERS)


LEFT_ALONE = {
    "the guide's sentence": "¿Cómo configuro un pipeline CI/CD con Docker?",
    "quotes and emoji": "“Hola” — ¿qué tal? 🚀",
    "a colon": "Ayuda: no arranca el contenedor",
    "version": "Python 3.11.4 y Node v20.9.0",
    "version of four parts": "versión 1.2.3.4 y Chrome/120.0.6099.109",
    "version range": ">=1.0,<2 o ~=2.31",
    "port mapping": "docker run -p 8080:80 -p 127.0.0.1:9464:9464 nginx:1.25.3",
    "ports": "abre 80 443 8080 y 9090",
    "loopback": "escucha en 127.0.0.1:8000, 0.0.0.0 y ::1",
    "private network": "VPC 10.0.0.0/16, subred 192.168.4.0/24, todo 0.0.0.0/0",
    "netmask": "255.255.255.0",
    "date": "el 29/06/2025, 2025-06-29 y 29-06-2025",
    "ISO timestamp": "2025-06-29T20:00:00.000Z y 2025-06-29T20:00:00+02:00",
    "time": "a las 12:30:45 y 12:30:45.123456",
    "log line": "2025-06-29 20:00:00,123 ERROR 1234 --- [main] timeout",
    "compact timestamp": "backup-20250629200000.tar.gz",
    "unix time": "1751227200 y 1751227200000 y 1751227200000000000",
    "year range": "2024-2025",
    "uuid": "550e8400-e29b-41d4-a716-446655440000",
    "uuid of digits": "41111111-1111-4111-8111-111111111111",
    "digest": f"nginx@sha256:{HEX[:64]}",
    "git sha": "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 y 9fceb02",
    "trace id": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "pod": "pod api-7d4b9c6f5d-x2x8z en kube-system",
    "node": "ip-interno gke-prod-pool-1-5c8f7d9b-abcd",
    "price": "cuesta 1.234,56 € o $1,234.56, son 12.500.000 COP",
    "http error": "error 404, luego 502 y 503",
    "Jenkins build": "Jenkins build #1234567 y job 20481",
    "GitHub run": "actions/runs/15957912345",
    "counts": "procesó 612345678 bytes y 600000000 peticiones",
    "powers": "2147483647, 4294967296 y 1073741824",
    "spaced thousands": "612 345 678 bytes",
    "memory": "limits: cpu 500m, memory: 512Mi",
    "token counts": "tokens_entrada: 25, max_tokens=4096, token=15",
    "percent": "p95=99.95% en 1500 ms",
    "cron": "*/5 0 1,15 * 1-5",
    "mac": "02:42:ac:11:00:02",
    "ssh to git": "git clone git@github.com:org/repo.git",
    "npm package": "npm i @types/node@18.0.0 lodash@4.17.21",
    "action": "uses: actions/checkout@v4",
    "systemd": "systemctl status getty@tty1.service",
    "namespaces": "std::vector<int> y Foo::Bar, dead::beef",
    "reference to a secret": "password=${DB_PASSWORD} token={{ secrets.TOKEN }} PASSWORD=$PASS",
    "workflow secret": "token: ${{ secrets.GITHUB_TOKEN }}",
    "code": 'password = os.environ["DB_PASSWORD"]',
    "kubernetes key": "secretKeyRef: {name: db, key: 1}",
    "question on passwords": "¿Cómo roto la contraseña de PostgreSQL 16?",
    "question on tokens": "Error 401: el token expiró a las 10:00",
    "prefix in a sentence": "las claves empiezan por sk-proj- o ghp_",
    "bearer in a sentence": "OAuth 2.0 usa Bearer authentication: ¿por qué?",
    "public key": "-----BEGIN CERTIFICATE-----\nMIIB1\n-----END CERTIFICATE-----",
    "url": "https://registry.example.com:5000/v2/app/manifests/1.0.0",
    "url with an at later": "https://x.io:8080/@ana/1",
    "ARN": "arn:aws:iam::123456789012:role/deploy",
    "RFC document": "RFC 9457 y RFC 2616",
    "coordinates": "lat 19.432608, lon -99.133209",
    "ratio": "3/4 de 1.500.000 eventos",
    "scientific": "1.5e-10 y 6.02e23",
    "semantic text with numbers": "tengo 3 nodos, 12 pods y 2 réplicas en 4 zonas",
    "matrix": "[1, 2, 3, 4, 5, 6, 7, 8, 9]",
    "a placeholder": "[correo] y [clave] a las 10:00",
}


@pytest.mark.parametrize("text", LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
def test_leaves_alone(text: str) -> None:
    redacted, counts = redact(text)
    assert redacted == text
    assert counts == {}


def test_off_changes_nothing_and_full_sends_nothing() -> None:
    counts: dict[str, int] = {}
    assert Redactor("off").redact("ana@x.com", counts) == "ana@x.com"
    assert Redactor("full").redact("hola", counts) is None
    assert counts == {}


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode"):
        Redactor("si")  # type: ignore[arg-type]


def test_counts_add_up_over_texts() -> None:
    counts = {"email": 3}
    REDACTOR.redact("a@b.co y c@d.io desde 83.45.12.7", counts)
    assert counts == {"email": 5, "ip": 1}


def test_what_is_around_a_finding_keeps_its_odd_characters() -> None:
    text = "👩‍💻 “dijo”\u200b ana@x.com — fin\u00a0１"
    assert redact(text)[0] == "👩‍💻 “dijo”\u200b [correo] — fin\u00a0１"


# --- idempotence -----------------------------------------------------------------------------------------

SNIPPETS = [row[1] for row in FOUND] + [row[2] for row in FOUND] + list(LEFT_ALONE.values())
JOINTS = [
    "",
    " ",
    "\n",
    ",",
    ".",
    ":",
    "-",
    "/",
    "=",
    "@",
    '"',
    "'",
    "(",
    "1",
    "a",
    "+",
    "\u200b",
    "password=",
    "://",
    "DNI ",
]
GLUED = st.lists(st.one_of(st.sampled_from(SNIPPETS), st.sampled_from(JOINTS)), max_size=7).map("".join)
NOISE = st.text(alphabet="0123456789 .-/:@=+()[]_%abcdefABCXYZñ\u200b１\n\"'", max_size=60)


@settings(max_examples=400, deadline=None)
@given(st.one_of(GLUED, NOISE, st.text(max_size=80)))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once, _ = redact(text)
    if once is not None:
        again, counts = redact(once)
        assert again == once
        assert counts == {}


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet="áéíóúñ¿?¡! ,.;abcdefghij()", max_size=60),
    st.text(alphabet=" \n,;()¿?", min_size=1, max_size=5),
)
def test_a_secret_is_found_in_any_company(around: str, edge: str) -> None:
    redacted, _ = redact(f"{around}{edge}{OPENAI}{edge}ana@ejemplo.com{edge}{around}")
    assert redacted is not None
    assert OPENAI not in redacted
    assert "ana@ejemplo.com" not in redacted


# --- bounded work ----------------------------------------------------------------------------------------

HOSTILE = {
    "letters": "a",
    "spaced digits": "1 ",
    "digits": "1",
    "ats": "@",
    "addresses without end": "a@a.",
    "dots": "a.",
    "begins": "-----BEGIN PRIVATE KEY-----1",
    "urls": "http://",
    "urls with users": "http://a:",
    "urls with a password": "http://a:b/c@d",
    "jwts": "eyJ",
    "jwts with hyphens": "-eyJa1b2c3",
    "jwts with dots": "eyJaaaaa.",
    "assignments": "password=",
    "words for passwords": "password de ",
    "weak words": "token: ",
    "flags": "--token ",
    "many hyphens": "--a-",
    "authorizations": "authorization: ",
    "bearers": "bearer a ",
    "curls": "curl -u a ",
    "key prefixes": "sk-proj-",
    "colons": "a:",
    "hex": "f",
    "ipv6 pieces": "1::2 ",
    "ipv4 pieces": "1.1.1.",
    "cards that are none": "4111 1111 1111 1112 ",
    "ids that are none": "12345678A ",
    "eleven digits": "20055361683 ",
    "ibans that are none": "ES91 2100 0418 4502 0005 1333 ",
    "ibans by letter": "ES91a",
    "curps": "BOXW310820",
    "phones": "+34 600 123 456 ",
    "labels": "dni: ",
    "labelled": "tel 123456 ",
    "zero widths": "1\u200b",
    "full width": "１",
    "azure": "abc8Q~",
    "plus signs": "+1",
    "parentheses": "(1",
    "hyphenated digits": "1-",
    "quotes": 'password="',
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("tail", ["", "1@:="], ids=["alone", "suspect"])
def test_work_grows_no_faster_than_the_text(unit: str, tail: str) -> None:
    """Four times the text may take about four times the work; a quadratic pattern would take sixteen.

    A ratio of processor times, taken in one run; the larger text is what a record may make the redactor look at.
    """

    def work(size: int) -> float:
        text = unit * (size // len(unit)) + tail
        best = float("inf")
        for _ in range(2):
            before = time.process_time()
            REDACTOR.redact(text, {})
            best = min(best, time.process_time() - before)
        return best

    small, large = work(4_096), work(16_384)
    # Below the resolution that matters, a ratio is noise.
    assert large < 0.02 or large < small * 10


def test_a_text_made_to_uncover_findings_for_ever_is_withheld_or_stable() -> None:
    text = "1"
    for _ in range(40):
        text = f"a@b.co{text}c@d.io"
    once, _ = redact(text)
    assert once is None or redact(once)[0] == once


# --- the user hash ---------------------------------------------------------------------------------------


def test_the_hash_of_a_user_is_stable() -> None:
    # Written down: a change of it makes every known user a new one.
    assert UserHasher(bytes(range(32)))("usuario123") == "74a1fed3e8c5ddd6"


def test_a_user_has_one_hash_and_another_under_another_key() -> None:
    hasher = UserHasher(b"k" * 32)
    assert hasher("ana") == hasher("ana") != hasher("eva")
    assert hasher("ana") != UserHasher(b"j" * 32)("ana")


@given(st.text())
def test_any_user_id_has_a_hash_of_sixteen_hex_digits(user_id: str) -> None:
    digest = UserHasher(b"k" * 32)(user_id)
    assert len(digest) == 16
    assert set(digest) <= set("0123456789abcdef")


def test_a_configured_key_wins_over_the_file_and_writes_none(tmp_path: Path) -> None:
    path = tmp_path / "user.key"
    key = load_or_create_key(path, "una-clave-de-prueba")
    assert len(key) == 32
    assert key == load_or_create_key(tmp_path / "other", "una-clave-de-prueba")
    assert key != load_or_create_key(path, "otra-clave-de-prueba")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("configured", ["", "corta", "x" * 15])
def test_a_short_configured_key_refuses_the_start(tmp_path: Path, configured: str) -> None:
    with pytest.raises(StartRefused, match="al menos 16"):
        load_or_create_key(tmp_path / "user.key", configured)


def test_a_new_key_is_kept_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "data" / "user.key"
    key = load_or_create_key(path, None)
    assert len(key) == 32
    assert load_or_create_key(path, None) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["user.key"]


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"abcd", b"0" * 62, b"z" * 64, b"\xff" * 64, b"0" * 63], ids=lambda c: repr(c[:6])
)
def test_a_damaged_key_refuses_the_start_and_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "user.key"
    path.write_bytes(content)
    with pytest.raises(StartRefused, match="Restáurala de una copia"):
        load_or_create_key(path, None)
    assert path.read_bytes() == content


def test_an_unreadable_key_refuses_the_start(tmp_path: Path) -> None:
    path = tmp_path / "user.key"
    path.mkdir()  # root reads any file, so a directory stands for what cannot be read
    with pytest.raises(StartRefused, match="no se pudo leer"):
        load_or_create_key(path, None)


def test_a_dangling_link_refuses_the_start(tmp_path: Path) -> None:
    path = tmp_path / "user.key"
    path.symlink_to(tmp_path / "gone")
    with pytest.raises(StartRefused, match="link"):
        load_or_create_key(path, None)


def test_a_place_that_cannot_be_written_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefused):
        load_or_create_key(tmp_path / "file" / "user.key", None)


def test_a_crash_before_the_link_leaves_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StartRefused, match="No space left"):
        load_or_create_key(tmp_path / "user.key", None)
    assert list(tmp_path.iterdir()) == []


def _race(path: str, start: float, results: multiprocessing.SimpleQueue[bytes]) -> None:
    while time.monotonic() < start:
        pass
    results.put(load_or_create_key(Path(path), None))


def test_processes_that_race_end_with_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        path = tmp_path / str(attempt) / "user.key"
        results: multiprocessing.SimpleQueue[bytes] = context.SimpleQueue()
        start = time.monotonic() + 0.05
        processes = [context.Process(target=_race, args=(str(path), start, results)) for _ in range(4)]
        for process in processes:
            process.start()
        keys = {results.get() for _ in processes}
        for process in processes:
            process.join()
        assert keys == {bytes.fromhex(path.read_text())}
        assert [entry.name for entry in path.parent.iterdir()] == ["user.key"]
