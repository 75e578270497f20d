"""TraceQL by its documented grammar, as far as the boards use it: spanset filters, select, metrics functions."""

import re

import pytest

from grafana.boards import trace_queries
from otel_bridge import catalog

STRING = r'"(?:[^"\\]|\\.)*"'
DURATION = r"\d+(?:ns|us|µs|ms|s|m|h)"
ATTRIBUTE = r"(?:span|resource|event|link|instrumentation)\.[A-Za-z_][\w.]*"
INTRINSIC = r"(?:name|kind|status|duration|traceDuration|rootName|rootServiceName|statusMessage)"
VALUE = rf"(?:{STRING}|{DURATION}|\d+(?:\.\d+)?|true|false|nil|ok|error|unset|server|client|internal|producer|consumer)"
CONDITION = rf"(?:{ATTRIBUTE}|{INTRINSIC}) (?:=~|!~|!=|>=|<=|=|>|<) {VALUE}"
FILTER = rf"\{{ (?:{CONDITION}(?: (?:&&|\|\|) {CONDITION})*)? \}}"
BY = rf"(?: by \({ATTRIBUTE}(?:, {ATTRIBUTE})*\))?"
METRIC = rf"(?:rate\(\)|count_over_time\(\)|(?:sum|min|max|avg)_over_time\({ATTRIBUTE}\)){BY}"
STAGE = rf"(?:select\({ATTRIBUTE}(?:, {ATTRIBUTE})*\)|{METRIC}|(?:topk|bottomk)\(\d+\))"
HINT = r"(?: with \(most_recent=true\))?"
QUERY = re.compile(rf"{FILTER}(?: \| {STAGE})*{HINT}")


@pytest.mark.parametrize("expr", [query.expr for query in trace_queries()])
def test_every_query_is_of_the_grammar(expr: str) -> None:
    assert QUERY.fullmatch(expr), expr


@pytest.mark.parametrize(
    "expr",
    ["{ span.a = }", "{ name = 'x' }", "{ a.b = 1 }", "{ duration > 2 parsecs }", "{ } | rate", "{ } | select(name)"],
)
def test_what_is_wrong_is_told(expr: str) -> None:
    assert not QUERY.fullmatch(expr)


def test_patterns_compile_with_every_choice_of_variables() -> None:
    for gpt in (".*", "devops-expert", "devops-expert|redactor"):
        for user in ("", "0a1b2c"):
            for query in trace_queries({"gpt": gpt, "usuario": user}):
                for pattern in re.findall(rf"=~ ({STRING})", query.expr):
                    re.compile(pattern[1:-1])


def test_sessions_are_found_by_the_name_that_the_bridge_gives_them() -> None:
    (sessions,) = (query for query in trace_queries({"gpt": "devops-expert"}) if query.panel == "Sesiones recientes")
    (pattern,) = re.findall(rf"(?<!\.)\bname =~ ({STRING})", sessions.expr)
    assert re.fullmatch(pattern[1:-1], catalog.session_span_name("devops-expert"))
    assert not re.fullmatch(pattern[1:-1], catalog.session_span_name("otro"))
