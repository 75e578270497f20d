"""Colours: the same thing has the same colour on every board. Chosen on the dark theme, legible on the light one."""

from __future__ import annotations

from otel_bridge import catalog

GOOD = "#56A64B"
WARNING = "#FF9830"
BAD = "#E02F44"
NEUTRAL = "#8AB8FF"
MUTED = "#8E8E9C"

INPUT = "#5794F2"
OUTPUT = "#B877D9"

MEAN = "#FADE2A"
P50 = "#6ED0E0"
P95 = "#FF9830"
P99 = "#E24D9F"
OBJECTIVE = "#E02F44"

SESSIONS = "#8AB8FF"
USERS = "#CA95E5"
MONEY = "#96D98D"

EVENT_TYPES = dict(
    zip(
        (*catalog.DEFAULT_EVENT_TYPES, catalog.OTHER_EVENT_TYPE),
        ("#65A3E8", "#F2A03D", "#FF8FA3", "#3FC1B0", "#C8B04A", "#8CD17D", "#B48EDE", "#9E9E9E"),
        strict=True,
    )
)

RESULTS = {"accepted": ("Aceptados", GOOD), "duplicate": ("Repetidos", NEUTRAL), "rejected": ("Rechazados", BAD)}
"""`result` of a record at the door → how it is called, its colour."""

ATTEMPTS = {
    "ok": ("Aceptada", GOOD),
    "partial": ("Aceptada en parte", "#FADE2A"),
    "retry": ("Se repetirá", WARNING),
    "poison": ("Registro rechazado", BAD),
    "config": ("Mal configurada", "#B877D9"),
}
"""`result` of a request to the OTLP endpoint → how it is called, its colour."""

CAPPED = {"gen_ai_request_model": ("Modelo", "#65A3E8"), "error_type": ("Código de error", WARNING)}
"""`label` whose values were folded → how it is called, its colour."""
