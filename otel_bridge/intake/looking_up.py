"""A look into the journal on the way of a request: in a thread, within bounds, what goes wrong being a 503."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

from otel_bridge import errors
from otel_bridge.errors import Problem
from otel_bridge.journal import StoreDamaged, StoreUnavailable, refusal
from otel_bridge.journal.damage import Damage

DAMAGED_RETRY_AFTER_SECONDS = 60
"""What cannot be looked up is damaged, and somebody has to mend it."""
PATIENCE_SECONDS = 5.0
"""A server that does not answer for so long is not waited for: its sender is told to come again."""

P = ParamSpec("P")
R = TypeVar("R")


async def look_up(thread: Executor, damage: Damage, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """`function(…)`, run in `thread`. Raises Problem (503): the journal cannot be asked now or does not answer, or
    what is looked for is damaged (`damage` is told, for others' may be well)."""
    asked = asyncio.get_running_loop().run_in_executor(thread, lambda: function(*args, **kwargs))
    # Not wait_for: that would have to wait for a thread that cannot be stopped, and only a task may call it.
    done, _ = await asyncio.wait({asked}, timeout=PATIENCE_SECONDS)
    if not done:
        asked.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody asks any more
        raise refusal(StoreUnavailable("the journal does not answer"))
    try:
        return asked.result()
    except StoreDamaged as error:
        damage.note(error)
        raise Problem(errors.JOURNAL_UNAVAILABLE, headers={"Retry-After": str(DAMAGED_RETRY_AFTER_SECONDS)}) from error
    except StoreUnavailable as error:
        raise refusal(error) from error
