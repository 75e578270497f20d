"""E-mail and IP addresses as they appear in questions."""

from __future__ import annotations

import ipaddress
import random
import unicodedata

Rng = random.Random

_MAILS = (
    "ana.lopez{n}@ejemplo.es", "jose+ci{n}@gmail.com", "maría.nuñez{n}@correo.com.mx", "p.garcía{n}@compañía.es",
    "j_perez{n}@sub.dominio.com.ar", "soporte-{n}@mi-empresa.io", "x{n}@y.co", "JUAN.PEREZ{n}@EMPRESA.COM",
    "o'brien{n}@example.ie", "user%{n}@example.org", "{n}@qq.com", "ana{n}@xn--espaa-rta.es",
    "luis{n}@mail.dept.universidad.edu.pe", "a.b.c{n}@outlook.com", "first.last{n}@startup.dev",
    "ana{n}%40ejemplo.com", "juan{n}@hotmail.cl",
)  # fmt: skip
_MAIL_TEXTS = (
    "{}",
    "mi correo es {}",
    "<{}>",
    "mailto:{}",
    "email: {},",
    '"email": "{}"',
    "git config user.email {}",
    "({})",
    "usuario={}&x=1",
)


def mails(rng: Rng) -> list[tuple[str, str, str]]:
    made = []
    for shape in _MAILS:
        for text in _MAIL_TEXTS:
            value = shape.replace("{n}", str(rng.randrange(10, 999)))
            made.append(("email", value, text.format(value)))
    for _ in range(8):
        value = unicodedata.normalize("NFD", f"maría.peña{rng.randrange(99)}@compañía.es")
        made.append(("email, decomposed accents", value, f"escribe a {value}"))
    return made


_IP_TEXTS = (
    "{}", "{}:8080", "http://{}/health", "ssh root@{}", "({})", "host={}", '"ip": "{}"', "inet {}/24 brd", "{}, 3 ms",
    "ping {}.", "server {} down", "connect to {} port 22: Connection refused", "--bind {}",
)  # fmt: skip
_IP6_TEXTS = (
    "{}",
    "[{}]:443",
    "http://[{}]/x",
    "inet6 {}/64 scope global",
    "desde {}.",
    '"ip": "{}"',
    "{},",
    "ping6 {}",
    "addr={}",
)


def addresses(rng: Rng) -> list[tuple[str, str, str]]:
    made = []
    for first in (10, 172, 192, 8, 34, 52, 185, 200, 190, 203):
        for text in _IP_TEXTS:
            second = {172: 16, 192: 168}.get(first, rng.randrange(256))
            value = f"{first}.{second}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
            made.append(("ip, v4", value, text.format(value)))
    for prefix in ("2001:db8", "2a01:4f8", "fe80", "fd00", "2600:1f18", "2800:3f0"):
        for text in _IP6_TEXTS:
            parts = prefix.split(":")
            middle = [f"{rng.randrange(65536):x}" for _ in range(8 - len(parts))]
            if rng.random() < 0.5:
                middle[:-2] = ["0"] * (len(middle) - 2)
            address = ipaddress.IPv6Address(":".join(parts + middle))
            value = rng.choice((address.compressed, address.exploded, address.compressed.upper()))
            made.append(("ip, v6", value, text.format(value)))
    for _ in range(6):
        value = f"::ffff:{rng.randrange(11, 200)}.{rng.randrange(256)}.3.{rng.randrange(1, 255)}"
        made.append(("ip, v6", value, f"client {value}"))
    return made
