"""The variables that Kubernetes gives every pod of a namespace for a Service: for one named `otel-bridge`, or
`otel-bridge-…`, they begin as our settings do.

https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and int(text) <= 65_535


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_url(text: str) -> bool:
    """`tcp://10.0.0.1:8000`."""
    url = re.fullmatch(r"(?:tcp|udp|sctp)://\[?([0-9A-Fa-f.:]+?)\]?:([0-9]{1,5})", text)
    return url is not None and _is_address(url[1]) and _is_port(url[2])


_PORT = r".*_PORT_[0-9]{1,5}_(?:TCP|UDP|SCTP)"
_FORMS: Mapping[re.Pattern[str], Callable[[str], bool]] = {
    re.compile(r".*_SERVICE_HOST"): _is_address,
    re.compile(r".*_SERVICE_PORT(?:_[A-Z0-9_]+)?"): _is_port,
    re.compile(r".*_PORT"): _is_url,
    re.compile(_PORT): _is_url,
    re.compile(_PORT + "_PROTO"): lambda text: text in ("tcp", "udp", "sctp"),
    re.compile(_PORT + "_PORT"): _is_port,
    re.compile(_PORT + "_ADDR"): _is_address,
}


def is_of_a_service(name: str, text: str) -> bool:
    """Whether a variable is Kubernetes': by its name and by what it holds, so that a misspelt setting is none."""
    return any(form.fullmatch(name) and holds(text) for form, holds in _FORMS.items())
