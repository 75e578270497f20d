"""Every name that leaves the process: spans, attributes, metrics. Nothing here computes anything.

The GenAI semantic conventions moved to a repository that has no release, so the constants of
``opentelemetry-semantic-conventions`` are deprecated; the names are defined here, once
(`docs/decisions/0003-names.md`). A test compares boards, rules, runbooks and tests with this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# --- traces ---------------------------------------------------------------------------------------

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.1"
"""Version of the semantic conventions that names of spans and attributes follow: the last release that has the GenAI
names as its own (https://github.com/open-telemetry/semantic-conventions/tree/v1.41.1)."""

SCOPE_NAME = "otel_bridge"
SERVICE_NAME = "service.name"
SERVICE_NAMESPACE = "service.namespace"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE_ID = "service.instance.id"
SERVICE_NAMESPACE_DEFAULT = "gpt"

OPERATION = "invoke_agent"

GEN_AI_OPERATION_NAME = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME = "gen_ai.provider.name"
GEN_AI_AGENT_ID = "gen_ai.agent.id"
GEN_AI_AGENT_NAME = "gen_ai.agent.name"
GEN_AI_CONVERSATION_ID = "gen_ai.conversation.id"
GEN_AI_REQUEST_MODEL = "gen_ai.request.model"
GEN_AI_USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.cache_read.input_tokens"
"""The part of the input tokens that the provider's cache served."""
GEN_AI_USAGE_REASONING_OUTPUT_TOKENS = "gen_ai.usage.reasoning.output_tokens"
"""The part of the output tokens that the model spent on reasoning."""
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
"""Seconds, a floating-point number."""
GEN_AI_AGENT_VERSION = "gen_ai.agent.version"
GEN_AI_TOOL_NAME = "gen_ai.tool.name"
GEN_AI_INPUT_MESSAGES = "gen_ai.input.messages"
SESSION_ID = "session.id"
USER_HASH = "user.hash"
ERROR_TYPE = "error.type"
EVENT_TYPE = "gpt.event.type"
"""An event's type as it was posted, redacted. Its span is named after it where it is configured, else `otro`."""
GEN_AI_EVALUATION_NAME = "gen_ai.evaluation.name"
GEN_AI_EVALUATION_SCORE_VALUE = "gen_ai.evaluation.score.value"
GEN_AI_EVALUATION_SCORE_LABEL = "gen_ai.evaluation.score.label"
GEN_AI_EVALUATION_EXPLANATION = "gen_ai.evaluation.explanation"
"""Of a rating: its comment, redacted."""
EVENT_ID = "gpt.event.id"
"""Of a rating: the id of the event that it rates, as it was answered."""
TOOL_START_UNKNOWN = "gpt.tool.start_unknown"
"""True on the span of a call of a tool: how long it took and in which order is known, and where it began is not."""
SESSION_CLAIMED_START = "gpt.session.claimed_start"
"""ISO 8601 text: the start that a session's client gave, where that is too far from its arrival to be its span's."""
UNMEASURED_FIELDS = "gpt.unmeasured"
"""Text array, on an event that a model reported of itself: which of `UNMEASURED_WHAT` nobody measured. The span lasts
no time where that is its latency, and has no `gen_ai.usage.…` of tokens that are missing."""
SESSION_PART = "gpt.session.part"
"""Integer, on the roots of a long session's further traces: 1 is the second trace. The first root has none."""

# The bridge's own request spans (stable HTTP conventions).
HTTP_REQUEST_METHOD = "http.request.method"
HTTP_REQUEST_METHOD_ORIGINAL = "http.request.method_original"
HTTP_ROUTE = "http.route"
HTTP_RESPONSE_STATUS_CODE = "http.response.status_code"
URL_PATH = "url.path"
URL_SCHEME = "url.scheme"

OTHER_METHOD = "_OTHER"
"""`http.request.method` of a method that the conventions do not know."""

SPAN_ATTRIBUTES = (
    GEN_AI_OPERATION_NAME,
    GEN_AI_PROVIDER_NAME,
    GEN_AI_AGENT_ID,
    GEN_AI_AGENT_NAME,
    GEN_AI_CONVERSATION_ID,
    GEN_AI_REQUEST_MODEL,
    GEN_AI_USAGE_INPUT_TOKENS,
    GEN_AI_USAGE_OUTPUT_TOKENS,
    GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
    GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
    GEN_AI_AGENT_VERSION,
    GEN_AI_TOOL_NAME,
    GEN_AI_INPUT_MESSAGES,
    SESSION_ID,
    USER_HASH,
    ERROR_TYPE,
    EVENT_TYPE,
    EVENT_ID,
    GEN_AI_EVALUATION_NAME,
    GEN_AI_EVALUATION_SCORE_VALUE,
    GEN_AI_EVALUATION_SCORE_LABEL,
    GEN_AI_EVALUATION_EXPLANATION,
    UNMEASURED_FIELDS,
    TOOL_START_UNKNOWN,
    SESSION_CLAIMED_START,
    SESSION_PART,
)
"""Of the spans of sessions, events and ratings."""

REQUEST_SPAN_ATTRIBUTES = (
    HTTP_REQUEST_METHOD,
    HTTP_REQUEST_METHOD_ORIGINAL,
    HTTP_ROUTE,
    HTTP_RESPONSE_STATUS_CODE,
    URL_PATH,
    URL_SCHEME,
    ERROR_TYPE,
)
"""Of the bridge's own request spans."""


FEEDBACK_SPAN_NAME = "valoracion"
FEEDBACK_EVALUATION = "user_feedback"
"""`gen_ai.evaluation.name` of a rating."""


def session_span_name(gpt_id: str) -> str:
    """Name of a session's root span."""
    return f"session {gpt_id}"


TOOL_OPERATION = "execute_tool"
"""`gen_ai.operation.name` of a call of a tool."""


def tool_span_name(tool: str) -> str:
    """Name of the span of a call of a tool."""
    return f"{TOOL_OPERATION} {tool}"


# --- label values ---------------------------------------------------------------------------------

OTHER_EVENT_TYPE = "otro"
"""`event_type`, and a span's name, of every type that is not configured for its GPT."""

OTHER_MODEL = "otro"
"""`gen_ai_request_model` past the cap on distinct models of one GPT."""

OTHER_VERSION = "otro"
"""`version` past the cap on versions of one GPT."""

OTHER_TOOL = "otro"
"""`tool` past the cap on tools of one GPT."""

OTHER_ERROR = "_OTHER"
"""`error_type` past the cap; the value OpenTelemetry fixes for this attribute's fallback."""

FEEDBACK_RESULTS = ("good", "bad", "neutral")
"""`result` of `gpt_feedback_total`, and `gen_ai.evaluation.score.label` of a rating."""


def feedback_result(value: float) -> str:
    """What a rating counts as."""
    good, bad, neutral = FEEDBACK_RESULTS
    return good if value > 0 else bad if value < 0 else neutral


DEFAULT_EVENT_TYPES = (
    "consulta",
    "configuracion",
    "troubleshooting",
    "pipeline",
    "infraestructura",
    "monitoreo",
    "seguridad",
)
"""The seven types that the integration guide recommends."""

UNMEASURED_WHAT = ("latency", "tokens_input", "tokens_output")
"""`what` was not measured, by the bits of `records.UNMEASURED_…`."""

WINDOWS = {"30m": 30 * 60, "1d": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
"""Label `window` → its length in seconds."""

TOP_USERS = 10
"""Users shown per GPT in `gpt_top_user_*`."""

# --- metrics --------------------------------------------------------------------------------------

MetricType = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family as Prometheus sees it. ``name`` has no suffix (`_bucket`, `_sum`) except
    for counters, whose `_total` is part of their usual name."""

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The sample names a scrape shows for this family."""
        if self.type == "histogram":
            return (f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")
        return (self.name,)


BASE = ("gen_ai_agent_id", "gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
AGENT = ("gen_ai_agent_id",)

OPERATION_DURATION = Metric(
    "gen_ai_client_operation_duration_seconds",
    "histogram",
    "Duration of one answer of a GPT, as its client measured it (latency_ms).",
    (*BASE, "event_type", "error_type"),
    "seconds",
    (
        *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0),
        *(4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0),
    ),
)
"""No step above 1.5 from 0.5 to 60 s, where objectives are (docs/decisions/0009-first-page.md)."""
TOKEN_USAGE = Metric(
    "gen_ai_client_token_usage",
    "histogram",
    "Tokens of one answer of a GPT, by direction.",
    (*BASE, "event_type", "gen_ai_token_type"),
    "",
    tuple(float(4**n) for n in range(14)),
)
SESSIONS = Metric("gpt_sessions_total", "counter", "Sessions created.", BASE)
SLO_EVENTS = Metric(
    "gpt_slo_events_total",
    "counter",
    "Events with a latency, judged against the GPT's objective of it: good is within it and without error.",
    (*BASE, "result"),
)
COST = Metric("gpt_cost_usd_total", "counter", "Cost of tokens where a price is configured, in US dollars.", BASE)
UNPRICED = Metric(
    "gpt_unpriced_tokens_total",
    "counter",
    "Tokens (input and output) of models without a configured price: their cost is in no total.",
    BASE,
)
FEEDBACK = Metric(
    "gpt_feedback_total",
    "counter",
    "Ratings of answers: good above 0, bad below, neutral at 0. Who rates an answer anew counts again.",
    (*BASE, "result"),
)
UNMEASURED = Metric(
    "gpt_unmeasured_events_total",
    "counter",
    "Events that a model reported without a number that it cannot measure: they are in no histogram of it. Those "
    "without a latency and those of gen_ai_client_operation_duration_seconds_count are together all events.",
    (*BASE, "event_type", "error_type", "what"),
)
HISTORIC = Metric(
    "gpt_historic_records_total",
    "counter",
    "Sessions, events and ratings told as history (otel-bridge import). They are in the ledger and the windows, and in "
    "no other family of a GPT: what happened long ago is no latency, cost or objective of today's.",
    (*AGENT, "kind"),
)
FIRST_TOKEN = Metric(
    "gpt_time_to_first_token_seconds",
    "histogram",
    "Time to the first token of an answer, of events that tell it (ttft_ms).",
    (*BASE, "event_type"),
    "seconds",
    (
        *(0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0),
        *(4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0),
    ),
)
FIRST_TOKEN_SLO = Metric(
    "gpt_time_to_first_token_slo_events_total",
    "counter",
    "Events that tell their time to the first token, judged against the GPT's objective of it, where it has one.",
    (*BASE, "result"),
)
FIRST_TOKEN_OBJECTIVE = Metric(
    "gpt_time_to_first_token_objective_seconds",
    "gauge",
    "Objective of the GPT's time to the first token, from configuration, where it has one.",
    AGENT,
    "seconds",
)
FIRST_TOKEN_TARGET = Metric(
    "gpt_time_to_first_token_target_ratio",
    "gauge",
    "Share of answers whose first token must come within the objective, from configuration, where there is one.",
    AGENT,
    "ratio",
)
REASONING_TOKENS = Metric(
    "gpt_reasoning_tokens_total",
    "counter",
    "Output tokens that were spent on reasoning, of events that tell both: a part of gen_ai_client_token_usage.",
    BASE,
)
VERSION_EVENTS = Metric(
    "gpt_version_events_total",
    "counter",
    "Events that name the version of their prompt or agent: good, slow (over the latency objective), failed, or "
    "unmeasured (without error and without a latency).",
    (*AGENT, "version", "result"),
)
VERSION_DURATION = Metric(
    "gpt_version_duration_seconds",
    "histogram",
    "Duration of one answer, of events that name the version of their prompt or agent.",
    (*AGENT, "version"),
    "seconds",
    (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0),
)
TOOL_CALLS = Metric(
    "gpt_tool_calls_total", "counter", "Calls of tools within answers: ok or error.", (*AGENT, "tool", "result")
)
TOOL_SECONDS = Metric(
    "gpt_tool_seconds_total", "counter", "Time that calls of tools took.", (*AGENT, "tool"), "seconds"
)
LATENCY_OBJECTIVE = Metric(
    "gpt_latency_objective_seconds",
    "gauge",
    "Latency objective of the GPT, from configuration.",
    AGENT,
    "seconds",
)
SLO_TARGET = Metric(
    "gpt_slo_target_ratio", "gauge", "Share of events that must be good, from configuration.", AGENT, "ratio"
)
ACTIVE_SESSIONS = Metric(
    "gpt_active_sessions",
    "gauge",
    "Sessions with activity within the window, counted from the journal.",
    (*AGENT, "window"),
)
ACTIVE_USERS = Metric(
    "gpt_active_users",
    "gauge",
    "Distinct users with activity within the window, counted from the journal.",
    (*AGENT, "window"),
)
TOP_USER_EVENTS = Metric(
    "gpt_top_user_events",
    "gauge",
    "Events of the busiest users within the window.",
    (*AGENT, "user_hash", "window"),
)
TOP_USER_TOKENS = Metric(
    "gpt_top_user_tokens",
    "gauge",
    "Tokens (input and output) of the busiest users within the window.",
    (*AGENT, "user_hash", "window"),
)
SESSION_DURATION = Metric(
    "gpt_session_duration_seconds",
    "histogram",
    "Time from a session's first event to its last, observed when it falls idle.",
    BASE,
    "seconds",
    (1.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0),
)
SESSION_EVENTS = Metric(
    "gpt_session_events",
    "histogram",
    "Events of a session, observed when it falls idle.",
    BASE,
    "",
    (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0),
)

RECORDS = Metric(
    "otel_bridge_records_total",
    "counter",
    "Records by what became of them at the door. Accepted ones are committed; reason is an error's type.",
    ("kind", "result", "reason"),
)
EXPORTED = Metric("otel_bridge_exported_records_total", "counter", "Records that the OTLP endpoint has acknowledged.")
EXPORT_ATTEMPTS = Metric(
    "otel_bridge_export_attempts_total",
    "counter",
    "Requests to the OTLP endpoint, by answer (ok, partial, retry, poison, config).",
    ("result",),
)
PENDING = Metric("otel_bridge_pending_records", "gauge", "Records in the journal that wait for export.")
PARKED = Metric("otel_bridge_parked_records", "gauge", "Records set aside because the endpoint refuses them.")
EXPORT_LAG = Metric(
    "otel_bridge_export_lag_seconds",
    "gauge",
    "Age of the oldest record that waits for export.",
    (),
    "seconds",
)
EXPORT_CONFIGURED = Metric(
    "otel_bridge_export_configured",
    "gauge",
    "1 where an OTLP endpoint is configured, 0 where records wait for one.",
)
LEDGER_GAP = Metric(
    "otel_bridge_ledger_gap",
    "gauge",
    "accepted − exported − pending − parked, each counted on its own. Anything but 0 breaks a promise.",
)
REQUEST_DURATION = Metric(
    "otel_bridge_request_duration_seconds",
    "histogram",
    "Time to answer a request.",
    ("route", "method", "status"),
    "seconds",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
REDACTIONS = Metric(
    "otel_bridge_redactions_total",
    "counter",
    "Pieces of personal or secret data taken out of content.",
    ("kind",),
)
JOURNAL_BYTES = Metric("otel_bridge_journal_bytes", "gauge", "Bytes of the journal on disk.", (), "bytes")
JOURNAL_LIMIT = Metric(
    "otel_bridge_journal_limit_bytes",
    "gauge",
    "Bytes that the journal may use: its configured limit, or what the disk has room for.",
    (),
    "bytes",
)
JOURNAL_IN_PLACE = Metric(
    "otel_bridge_journal_in_place",
    "gauge",
    "0 while what the journal has open is not what a start would find: its files were removed, moved or replaced.",
)
JOURNAL_WENT_BACK = Metric(
    "otel_bridge_journal_went_back_timestamp_seconds",
    "gauge",
    "When a start recognised that the journal was not as it had been left, Unix time; 0: never, or since then another.",
    ("kind",),
    "seconds",
)
SERIES = Metric("otel_bridge_series", "gauge", "Series of GPT metrics in use.")
SERIES_LIMIT = Metric("otel_bridge_series_limit", "gauge", "Series of GPT metrics that may exist at the most.")
SERIES_CAPPED = Metric(
    "otel_bridge_series_capped_total",
    "counter",
    "Records whose label value was folded into the fallback because a cap was reached.",
    ("label",),
)
WORKER_UP = Metric("otel_bridge_worker_up", "gauge", "1 while a background worker runs.", ("worker",))
WORKER_RESTARTS = Metric(
    "otel_bridge_worker_restarts_total",
    "counter",
    "Times a background worker died and was restarted.",
    ("worker",),
)
METRICS_PUSHES = Metric(
    "otel_bridge_metrics_pushes_total",
    "counter",
    "Pushes of metrics by OTLP since this process started, by answer (as of otel_bridge_export_attempts_total).",
    ("result",),
)
CONFIG_RELOAD_FAILED = Metric(
    "otel_bridge_config_reload_failed",
    "gauge",
    "1 while the configuration file is wrong and the one before it stays in force.",
)
LIMITS_FALLBACK = Metric(
    "otel_bridge_limits_fallback",
    "gauge",
    "1 while Redis does not answer and this process counts rate limits by itself.",
)
CLOCK_SKEW = Metric(
    "otel_bridge_clock_skew_seconds",
    "gauge",
    "How far the machine's wall clock is ahead of the time that the bridge goes by: 0 but after a step.",
    (),
    "seconds",
)
CLOCK_BELIEVED = Metric(
    "otel_bridge_clock_believed",
    "gauge",
    "1 while the clock is believed; 0 after a step or a doubtful start, while nothing is deleted by it.",
)
START_TIME = Metric("otel_bridge_start_time_seconds", "gauge", "When this process started, Unix time.", (), "seconds")
BUILD_INFO = Metric("otel_bridge_build_info", "gauge", "1; the labels say what runs.", ("version", "python", "journal"))
STEWARD = Metric(
    "otel_bridge_steward",
    "gauge",
    "1 on the page that shows what all replicas count together; 0 on the others, which show their own process alone.",
)

METRICS: tuple[Metric, ...] = (
    OPERATION_DURATION,
    TOKEN_USAGE,
    SESSIONS,
    SLO_EVENTS,
    COST,
    UNPRICED,
    FEEDBACK,
    UNMEASURED,
    HISTORIC,
    FIRST_TOKEN,
    FIRST_TOKEN_SLO,
    FIRST_TOKEN_OBJECTIVE,
    FIRST_TOKEN_TARGET,
    REASONING_TOKENS,
    VERSION_EVENTS,
    VERSION_DURATION,
    TOOL_CALLS,
    TOOL_SECONDS,
    LATENCY_OBJECTIVE,
    SLO_TARGET,
    ACTIVE_SESSIONS,
    ACTIVE_USERS,
    TOP_USER_EVENTS,
    TOP_USER_TOKENS,
    SESSION_DURATION,
    SESSION_EVENTS,
    RECORDS,
    EXPORTED,
    EXPORT_ATTEMPTS,
    PENDING,
    PARKED,
    EXPORT_LAG,
    EXPORT_CONFIGURED,
    LEDGER_GAP,
    REQUEST_DURATION,
    REDACTIONS,
    JOURNAL_BYTES,
    JOURNAL_LIMIT,
    JOURNAL_IN_PLACE,
    JOURNAL_WENT_BACK,
    SERIES,
    SERIES_LIMIT,
    SERIES_CAPPED,
    WORKER_UP,
    WORKER_RESTARTS,
    METRICS_PUSHES,
    CONFIG_RELOAD_FAILED,
    LIMITS_FALLBACK,
    CLOCK_SKEW,
    CLOCK_BELIEVED,
    START_TIME,
    BUILD_INFO,
    STEWARD,
)

OF_EACH_PROCESS = frozenset(
    metric.name
    for metric in (
        *(JOURNAL_IN_PLACE, WORKER_UP, WORKER_RESTARTS, METRICS_PUSHES, CONFIG_RELOAD_FAILED, LIMITS_FALLBACK),
        *(CLOCK_SKEW, CLOCK_BELIEVED, START_TIME, BUILD_INFO, STEWARD),
    )
)
"""Families that every replica shows of itself. All others are shared: the steward alone shows them, for all. The scrape
takes `instance` from those, so that they go on where another is steward (docs/decisions/0014-instance.md)."""
