"""Asks for a page once a second over one connection, as Prometheus does: a program that is started anew for each page,
or a connection, takes its processor time from who answers beside it.

    python benchmarks/scraper.py HOST:PORT /metrics
"""

from __future__ import annotations

import http.client
import sys
import time


def main() -> None:
    address, path = sys.argv[1:]
    connection = http.client.HTTPConnection(address)
    while True:
        connection.request("GET", path, headers={"Accept": "application/openmetrics-text"})
        answer = connection.getresponse()
        print(answer.status, len(answer.read()), flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main()
