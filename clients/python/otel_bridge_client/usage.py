"""What a model's answer says of itself: tokens, model, error. For OpenAI's Responses and Chat Completions, and what is
shaped like them, as objects or as dictionaries. Reads only; nothing here raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def get(thing: Any, *names: str) -> Any:
    """The value behind a path of names; None where it breaks off."""
    for name in names:
        try:
            thing = thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
        except Exception:
            return None
    return thing


class Usage:
    """Of one answer. `known`: both counts of tokens were there."""

    def __init__(self) -> None:
        self.known = False
        self.tokens_in = self.tokens_out = 0
        self.tokens_cached: int | None = None
        self.tokens_reasoning: int | None = None
        self.model: str | None = None
        self.error: str | None = None
        self.over = False
        """Nothing more of interest follows."""


def add_usage(found: Usage, answer: Any) -> None:
    """Takes what `answer` (a response, or a chunk of one) says. Counts that come again replace those before."""
    model = get(answer, "model")
    if isinstance(model, str) and model:
        found.model = model
    usage = get(answer, "usage")
    for names in (("input", "output"), ("prompt", "completion")):
        tokens = [get(usage, f"{name}_tokens") for name in names]
        if all(_count(number) for number in tokens):
            found.known = True
            found.tokens_in, found.tokens_out = tokens
            found.tokens_cached = _part(get(usage, f"{names[0]}_tokens_details", "cached_tokens"), tokens[0])
            found.tokens_reasoning = _part(get(usage, f"{names[1]}_tokens_details", "reasoning_tokens"), tokens[1])
            break
    status = get(answer, "status")
    if status in ("failed", "cancelled"):
        found.error = str(get(answer, "error", "code") or status)


def _count(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def _part(number: Any, whole: int) -> int | None:
    """The bridge refuses a part that is more than its whole; some providers count so."""
    return min(number, whole) if _count(number) else None


def output_of(item: Any) -> str:
    """The piece of output that an item of a stream carries: text, reasoning, arguments of a call; empty where none."""
    if get(item, "type") == "chunk":  # of the helper `chat.completions.stream`
        item = get(item, "chunk")
    kind = get(item, "type")
    if isinstance(kind, str) and kind.startswith("response.") and kind.endswith(".delta"):
        delta = get(item, "delta")
        return delta if isinstance(delta, str) else ""
    pieces = ""
    for choice in get(item, "choices") or ():
        delta = get(choice, "delta")
        for name in ("content", "reasoning_content", "reasoning", "refusal"):
            piece = get(delta, name)
            pieces += piece if isinstance(piece, str) else ""
        for call in get(delta, "tool_calls") or ():
            pieces += str(get(call, "function", "arguments") or get(call, "function", "name") or "")
        text = get(choice, "text")  # of the older completions
        pieces += text if isinstance(text, str) else ""
    return pieces


def text_of(answer: Any) -> str:
    """The text of a whole answer."""
    text = get(answer, "output_text")
    if isinstance(text, str) and text:
        return text
    texts = [get(choice, "message", "content") or get(choice, "text") for choice in get(answer, "choices") or ()]
    for part in get(answer, "output") or ():
        texts += [get(piece, "text") for piece in get(part, "content") or ()]
    return "".join(text for text in texts if isinstance(text, str))


def add_item(found: Usage, item: Any) -> None:
    """Takes what an item of a stream says."""
    kind = get(item, "type")
    if kind == "chunk":
        item = get(item, "chunk")
    if isinstance(kind, str) and kind.startswith("response."):
        add_usage(found, get(item, "response"))
        found.over = kind in ("response.completed", "response.failed", "response.incomplete")
    elif kind == "error":
        found.error = str(get(item, "code") or get(item, "error", "code") or "error")
        found.over = True
    else:
        add_usage(found, item)
