"""How long answers of /healthz take, asked again and again by a process of its own: `python -m tests.redaction.probe
PORT PID`, until its input ends; then it writes the times in seconds as a JSON array.

What a busy machine took from the bridge (PID) or from this process meanwhile is not counted: the time in which their
threads were ready to run and had no processor (proc(5), schedstat).
"""

import contextlib
import http.client
import json
import os
import sys
import threading
import time
from pathlib import Path


def unserved(pid: int) -> float:
    """Seconds, of all threads that live."""
    took = 0
    for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            took += int(stat.read_text().split()[1])
    return took / 1e9


def main(port: int, pid: int) -> None:
    ending, waits = threading.Event(), list[float]()
    threading.Thread(target=lambda: (sys.stdin.read(), ending.set()), daemon=True).start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not ending.is_set():
        before, started = unserved(pid) + unserved(os.getpid()), time.monotonic()
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
        took = time.monotonic() - started
        assert answer.status == 200
        waits.append(max(0.0, took - (unserved(pid) + unserved(os.getpid()) - before)))
        if len(waits) == 1:
            print("ready", flush=True)
        time.sleep(0.002)
    print(json.dumps(waits), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
