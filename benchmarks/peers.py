"""The same events at other programs, in the same run, with what each promises when it answers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

PUSH = """\
wrk.method = "POST"
wrk.body = "gen_ai_client_operation_duration_seconds{event_type=\\"consulta\\"} 1.5\\ngen_ai_client_token_usage 175\\n"
function done(summary, latency, requests)
  print("bench rate " .. summary.requests / summary.duration * 1e6)
end
"""


def peers(folder: Path, seconds: int) -> Iterator[tuple[str, str, str]]:
    yield from _pushgateway(folder, seconds)


def _pushgateway(folder: Path, seconds: int) -> Iterator[tuple[str, str, str]]:
    program = shutil.which("prometheus-pushgateway")
    if program is None:
        yield "Pushgateway, pushes/s", "not here", "apt install prometheus-pushgateway"
        return
    from benchmarks.drivers import answers

    port = free_port()
    script = folder / "push.lua"
    script.write_text(PUSH, encoding="utf-8")
    started = subprocess.Popen(
        [program, f"--web.listen-address=127.0.0.1:{port}", f"--persistence.file={folder / 'push.db'}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: answers(port), "Pushgateway")
        out = subprocess.run(
            ["wrk", "-t1", "-c64", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}/metrics/job/gpt"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    finally:
        started.kill()
        started.wait()
    rate = float(out.split("bench rate ")[1].split()[0])
    yield (
        "Pushgateway, pushes/s",
        f"{rate:,.0f}",
        "answers from memory, persists every 5 min; keeps only the last value",
    )
