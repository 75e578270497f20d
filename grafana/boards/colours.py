"""Colours: the same thing has the same colour on every board, and every one can be seen on both themes.

Text is never coloured: no colour has a contrast of 4.5 to the dark and to the light background at once. What is judged
has a coloured ground under plain text (`CLEAR`, `FINE`, `NEAR`, `FAIL`), for which Grafana chooses white or dark. Lines
and bars have a contrast of 3 to both backgrounds; Grafana's names (`blue`, `red`, …) are another shade on each theme.
`tests/grafana/test_boards_colours.py` computes both.
"""

from __future__ import annotations

from otel_bridge import catalog

# Grounds of text.
CLEAR = "transparent"
"""Nothing to say: the ground is the panel's, the text the theme's."""
FINE = "#2E7D32"
NEAR = "#FFB357"
FAIL = "#D2263B"

# Lines and bars.
GOOD = "semi-dark-green"
WARNING = "dark-orange"
BAD = "red"
NEUTRAL = "blue"
MUTED = "#82828F"

INPUT = "blue"
OUTPUT = "purple"

MEAN = "#AF8400"
P50 = "#2698AB"
P95 = "dark-orange"
P99 = "#D6428F"
OBJECTIVE = "red"

SESSIONS = "blue"
HEAT = "dark-orange"
"""Of the fullest cell of a heatmap; emptier ones let more of the background through."""

WINDOWS = {"30m": "#2698AB", "1d": "blue", "7d": "purple", "30d": "#82828F"}
BURN_WINDOWS = {"5m": "#2698AB", "1h": "blue", "6h": "purple", "3d": "#82828F"}

EVENT_TYPES = dict(
    zip(
        (*catalog.DEFAULT_EVENT_TYPES, catalog.OTHER_EVENT_TYPE),
        ("#3E86D6", "#D26F1A", "#E0526F", "#1F9E8F", "#A8871A", "#56993B", "#9B6AD1", "#84848F"),
        strict=True,
    )
)

RESULTS = {"accepted": ("Aceptados", GOOD), "duplicate": ("Repetidos", NEUTRAL), "rejected": ("Rechazados", BAD)}
"""`result` of a record at the door → how it is called, its colour."""

ATTEMPTS = {
    "ok": ("Aceptada", GOOD),
    "partial": ("Aceptada en parte", MEAN),
    "retry": ("Se repetirá", WARNING),
    "poison": ("Registro rechazado", BAD),
    "config": ("Mal configurada", OUTPUT),
}
"""`result` of a request to the OTLP endpoint → how it is called, its colour."""

CAPPED = {
    "gen_ai_request_model": ("Modelo", NEUTRAL),
    "error_type": ("Código de error", WARNING),
    "version": ("Versión", OUTPUT),
    "tool": ("Herramienta", P50),
}
"""`label` whose values were folded → how it is called, its colour."""


def tint(colour: str) -> str:
    """A ground of that hue, thin enough for the theme's own text on it."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.28)"
