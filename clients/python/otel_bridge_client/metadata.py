"""Whom a framework's call is for, as its metadata says it by the names that LangGraph, LangSmith and LiteLLM use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def conversation_of(metadata: Mapping[str, Any]) -> Any:
    return metadata.get("thread_id") or metadata.get("session_id") or metadata.get("conversation_id")


def user_of(metadata: Mapping[str, Any]) -> Any:
    return metadata.get("user_id")
