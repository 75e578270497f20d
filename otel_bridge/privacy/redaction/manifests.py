"""Kubernetes Secrets, whose every value is secret, and pairs of a name and a value in YAML, JSON and Dockerfiles."""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.findings import Finding
from otel_bridge.privacy.redaction.labels import says_secret
from otel_bridge.privacy.redaction.values import is_reference

_KIND = re.compile(
    r"^(?P<indent>[ \t]*+)(?P<item>- )?[\"']?kind[\"']?\s{0,3}:\s{0,3}[\"']?Secret[\"']?\s*?,?(?:[ \t]#[^\n]*+)?$",
    re.MULTILINE,
)
_KIND_JSON = re.compile(r"[\"']kind[\"']\s{0,3}:\s{0,3}[\"']Secret[\"']")
# Where the next object of a text begins.
_OBJECT = re.compile(r"^(?:---|[ \t]*+- (?=(?:apiVersion|kind|metadata|data|stringData|type):))", re.MULTILINE)
_OBJECT_JSON = re.compile(r"[\"']apiVersion[\"']")
_DATA = re.compile(
    r"^(?P<indent>[ \t]*+)(?P<item>- )?[\"']?(?:data|stringData)[\"']?:[ \t]*+(?P<flow>\{[^\n]*+)?(?:#[^\n]*+)?$",
    re.MULTILINE,
)
_DATA_JSON = re.compile(r"[\"'](?:data|stringData)[\"']\s{0,3}:\s{0,3}\{(?P<body>[^{}]*+)")
_ENTRY = re.compile(
    r"(?P<indent>[ \t]*+)(?P<comment>#)?(?:(?P<key>[\"']?[\w./-]+[\"']?)[ \t]*+:(?:[ \t]++|$)"
    r")?(?P<value>[^\n]*+)(?:\n|\Z)"
)
_PAIR_JSON = re.compile(
    r"[\"']?[\w./-]{1,100}+[\"']?\s{0,3}:\s{0,3}(?:\"((?:[^\"\\]|\\.){1,8000}+)\"|'([^'\n]{1,8000}+)'|"
    r"([^\s,\"'{}]{1,8000}+))"
)
_TAG = re.compile(r"!![a-z]{1,10} +").match
_SCALAR = re.compile(r"[|>][-+0-9]{0,2}\s*\Z").match


def find_secret_objects(text: str) -> Iterator[Finding]:
    for begin, end in _objects(text, _OBJECT):
        kinds = list(_KIND.finditer(text, begin, end))
        if kinds:
            yield from _yaml_data(text, begin, end, {len(kind["indent"]) + 2 * bool(kind["item"]) for kind in kinds})
    if _KIND_JSON.search(text):
        several = len(_OBJECT_JSON.findall(text)) > 1
        for begin, end in _objects(text, _OBJECT_JSON) if several else [(0, len(text))]:
            if _KIND_JSON.search(text, begin, end):
                for data in _DATA_JSON.finditer(text, begin, end):
                    yield from _json_pairs(text, *data.span("body"))


def _objects(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    begin = 0
    for match in pattern.finditer(text):
        if match.start() > begin:
            yield begin, match.start()
        begin = match.start()
    yield begin, len(text)


def _json_pairs(text: str, start: int, end: int) -> Iterator[Finding]:
    for pair in _PAIR_JSON.finditer(text, start, end):
        assert pair.lastindex is not None
        at, until = pair.span(pair.lastindex)
        if not is_reference(text[at:until], quoted=True):
            yield at, until, "api_key"


def _yaml_data(text: str, begin: int, end: int, indents: set[int]) -> Iterator[Finding]:
    position = begin
    while data := _DATA.search(text, position, end):
        position = data.end()
        own = len(data["indent"]) + 2 * bool(data["item"])
        if own not in indents:
            continue
        if data["flow"]:
            yield from _json_pairs(text, *data.span("flow"))
            continue
        position += 1
        block = -1  # the indent of a key whose value is the lines below it
        while position < end and (line := _ENTRY.match(text, position, end)):
            indent = len(line["indent"])
            if line["value"] or line["key"]:
                if indent <= own and not line["comment"]:
                    break
                if block >= 0 and indent > block:
                    at, until = line.end("indent"), line.end("value")
                else:
                    at, until = line.span("value")
                    block = indent if line["key"] and (_SCALAR(line["value"]) or not line["value"]) else -1
                    if block >= 0 or not line["key"] or line["comment"]:
                        at = until
                yield from _value(text, at, until)
            position = line.end()


def _value(text: str, at: int, until: int) -> Iterator[Finding]:
    value = text[at:until].rstrip()
    if tag := _TAG(value):
        at, value = at + tag.end(), value[tag.end() :]
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        at, value = at + 1, value[1:-1]
    if len(value) > 0 and not is_reference(value, quoted=True) and value not in ("|", ">", "|-", ">-", "{}"):
        yield at, at + len(value), "api_key"


_VALUE = r"(?:\\?\"((?:[^\"\\\n]|\\(?!\")){1,512}+)|'([^'\n]{1,512}+)'|([^\s\"',;{}\\]{1,512}+))"
_NAME_FIRST = re.compile(
    r"(?:name|key|option|setting)[\"'\\]{0,3}\s{0,3}[:=]\s{0,3}[\"'\\]{0,3}(?P<name>[\w.:/-]{2,80}+)"
    r"[\"'\\]{0,3}[\s,;]{0,30}+(?:#[^\n]{0,120}+\n[ \t]{0,24}+)?(?:[\"']?(?:type|description|sensitive|secret|"
    r"slot_?setting|isSecret)"
    r"[\"']?\s?[:=]\s?[\"']?\w{1,12}[\"']?[\s,;]{1,30}+){0,2}[\"'\\]{0,3}"
    r"(?:(?:parameter_?|default_?|string_?|option_?|set)?value|default)[\"'\\]{0,3}\s{0,3}[:=]\s{0,3}" + _VALUE
)
_VALUE_FIRST = re.compile(
    r"value[\"'\\]{0,3}\s{0,3}[:=]\s{0,3}"
    r"(?:\\?\"((?:[^\"\\\n]|\\(?!\")){1,128}+)\\?\"|'([^'\n]{1,128}+)'|([^\s\"',;{}\\]{1,128}+))"
    r"[\s,;]{1,30}+(?:- )?[\"'\\]{0,3}(?:parameter_?|option_?)?(?:name|key)"
    r"[\"'\\]{0,3}\s{0,3}[:=]\s{0,3}[\"'\\]{0,3}(?P<name>[\w.:/-]{2,80}+)"
)
_NAMED = re.compile(
    r"(?:^|[\s\"'`])(?:env|arg|setenv|setx|set -\w{1,4}|(?:config|configure|secrets?|variable)"
    r" set(?: --\w{1,20})?|config set|user-secrets set|store-secret \S{1,40})[ \t]{1,4}"
    r"[\"']?(?P<name>[\w.:/-]{2,80}+)[\"']?[ \t]{1,4}(?:\"((?:[^\"\\\n]|\\.){1,512}+)\"|'([^'\n]{1,512}+)'|"
    r"([^\s\"'`,;]{1,512}+))"
)


def _named(text: str, pattern: re.Pattern[str], low: str) -> Iterator[Finding]:
    for match in pattern.finditer(low):
        if not says_secret(text[slice(*match.span("name"))]):
            continue
        for group in range(1, pattern.groups + 1):
            start, end = match.span(group)
            if start < 0 or group == pattern.groupindex["name"]:
                continue
            value = text[start:end]
            if value.lower() != "valuefrom" and not is_reference(value, quoted=False):
                yield start, end, "api_key"


def find_named_values(text: str, low: str) -> Iterator[Finding]:
    """The name of a secret beside its value, in either order: `- name: DB_PASSWORD` and below `value: x`."""
    if "value" in low or "default" in low:
        yield from _named(text, _NAME_FIRST, low)
        yield from _named(text, _VALUE_FIRST, low)


def find_declared(text: str, low: str) -> Iterator[Finding]:
    """`ENV DB_PASSWORD x` in a Dockerfile, `setx DB_PASSWORD x`, `config set api_key x`."""
    yield from _named(text, _NAMED, low)


_DOCKER_AUTH = re.compile(
    r"auth(?:(?<![\w-]auth)|(?<![\w-]_auth)(?<=_auth))[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<value>[A-Za-z0-9+/_-]{8,}+={0,2})(?![\w.:/-])"
)


def find_docker_auths(text: str) -> Iterator[Finding]:
    """`"auth": "dXNlcjpwYXNz"`, and `_auth=` of .npmrc: a user and a password in base64."""
    for match in _DOCKER_AUTH.finditer(text):
        value = match["value"]
        odd = any(char.isdigit() or char in "+=" for char in value) or value[1:] != value[1:].lower()
        if odd and not value.isdigit() and not is_reference(value, quoted=True):
            yield *match.span("value"), "api_key"
