"""A change of steward resets nothing: a real Prometheus with the shipped scrape and rules, and stand-ins for replicas.

Each case is a journal (a job) with two replicas. What they share rises with every page that shows it, so a page that is
lost, counted twice or out of order is seen in the totals.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_files import PROMETHEUS

from deploy.native.shorten import shorten
from grafana.boards import replicas
from grafana.boards.promql import AGENT, BAR, OF_GPT, counted, suffixed, value
from grafana.boards.queries import fill
from otel_bridge import catalog
from tests.harness.prometheus import Prometheus
from tests.harness.waiting import wait_for

SESSIONS = catalog.SESSIONS.name
COUNT = suffixed(catalog.OPERATION_DURATION, "count")
PAST = 1_000_000
"""What a journal has counted before Prometheus comes: a reset would count it again. More than any pages add, however
long the scene takes."""
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Journal:
    """What replicas share."""

    def __init__(self) -> None:
        self.counted = PAST
        self.rises = False
        self._lock = threading.Lock()

    def page(self) -> str:
        """Rises by 7 for the next page."""
        with self._lock:
            self.counted += 7 * self.rises
            now = self.counted
        gpt, event = f'{AGENT}="devops-expert"', 'event_type="consulta"'
        exemplar = f'# {{trace_id="{TRACE}"}} 1.5'
        histogram = catalog.OPERATION_DURATION.name
        return (
            f"# TYPE gpt_sessions counter\n{SESSIONS}{{{gpt}}} {now}\n"
            f"# TYPE {histogram} histogram\n"
            f'{histogram}_bucket{{{gpt},{event},le="+Inf"}} {now} {exemplar}\n'
            f"{histogram}_count{{{gpt},{event}}} {now}\n{histogram}_sum{{{gpt},{event}}} {now * 1.5}\n"
            f"# TYPE {catalog.SERIES.name} gauge\n{catalog.SERIES.name} 4\n"
            f"# TYPE {catalog.LEDGER_GAP.name} gauge\n{catalog.LEDGER_GAP.name} 0\n"
        )


class Replica:
    """Shows what is its own, and what is shared where it is steward."""

    def __init__(self, journal: Journal, is_steward: bool) -> None:
        self.journal = journal
        self.is_steward = is_steward
        self.pages = 0
        self.behind: Replica | None = None
        """Whose next page comes before what this one has made."""
        replica = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                upto = replica.behind and (replica.behind, replica.behind.pages + 1)
                body = replica.page().encode()
                if upto:
                    other, pages = upto
                    with contextlib.suppress(AssertionError):  # Prometheus waits a second
                        wait_for(lambda: other.pages >= pages, "the other's page", 0.9, 0.005)
                        time.sleep(0.05)
                self.send_response(200)
                self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # given up by a Prometheus that has waited for its second
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def page(self) -> str:
        is_steward = self.is_steward
        shared = self.journal.page() if is_steward else ""
        self.pages += 1
        return (
            f"{shared}# TYPE {catalog.BUILD_INFO.name} gauge\n"
            f'{catalog.BUILD_INFO.name}{{version="1",python="3.11.7",journal="postgresql"}} 1\n'
            f"# TYPE {catalog.STEWARD.name} gauge\n{catalog.STEWARD.name} {int(is_steward)}\n# EOF\n"
        )

    def seen(self, pages: int) -> None:
        """Until so many more pages of it were read."""
        upto = self.pages + pages
        wait_for(lambda: self.pages >= upto, f"{pages} pages of {self.address}")

    def kill(self) -> None:
        self._server.shutdown()
        self._server.server_close()


# --- how a steward changes -------------------------------------------------------------------------------------------


def killed(one: Replica, other: Replica) -> None:
    """Two scrapes pass until its lease is over."""
    one.kill()
    other.seen(2)
    other.is_steward = True
    other.seen(4)


def given_up(one: Replica, other: Replica) -> None:
    """The old one lives, and shows what is shared no longer; later it is steward again."""
    one.is_steward, other.is_steward = False, True
    other.seen(4)
    other.is_steward = False
    other.seen(2)
    one.is_steward = True
    one.seen(3)


def both(one: Replica, other: Replica) -> None:
    """Both show it in the same seconds: worse than what replicas do."""
    other.is_steward = True
    other.seen(4)
    one.is_steward = False
    other.seen(3)


def late(one: Replica, other: Replica) -> None:
    """The old one's last page is made before the new one's first, and comes after it. To and fro: one of them is
    scraped soon after the other."""
    for old, new in ((one, other), (other, one)):
        old.behind = new
        before = old.pages
        while old.pages == before:
            time.sleep(0.002)
        old.is_steward, new.is_steward = False, True
        new.seen(2)
        old.behind = None


CASES = {"matado": killed, "cedido": given_up, "a-la-vez": both, "tarde": late}
WITHOUT = "sin-regla"
"""Scraped as one bridge is: what the rule is for."""


class Scene:
    def __init__(self, folder: Path) -> None:
        self.journals = {job: Journal() for job in (*CASES, WITHOUT)}
        self.pairs = {job: (Replica(one, True), Replica(one, False)) for job, one in self.journals.items()}
        folder.mkdir()
        shutil.copytree(PROMETHEUS / "rules", folder / "rules")
        for rules in (folder / "rules").glob("*.yml"):
            # What looks five minutes back looks back one, each second.
            text = re.sub(r"^(    interval:) \w+$", r"\1 1s", shorten(rules.read_text("utf-8"), 5), flags=re.MULTILINE)
            rules.write_text(text, "utf-8")
        shutil.copytree(PROMETHEUS / "targets", folder / "targets")
        for name in ("alertmanager", "stack"):
            (folder / "targets" / f"{name}.yml").write_text("[]\n")
        of_one = "otel-bridge.yml"
        for name, jobs in (("otel-bridge-replicas.yml", list(CASES)), (of_one, [WITHOUT])):
            lines = [
                f'- targets: ["{one.address}", "{other.address}"]\n  labels: {{job: {job}}}\n'
                for job, (one, other) in self.pairs.items()
                if job in jobs
            ]
            (folder / "targets" / name).write_text("".join(lines))
        config = (PROMETHEUS / "prometheus.yml").read_text("utf-8")
        config = config.replace("scrape_interval: 5s", "scrape_interval: 1s").replace("timeout: 4s", "timeout: 1s")
        self.prometheus = Prometheus(folder, config.replace("evaluation_interval: 10s", "evaluation_interval: 1s"))

    def play(self) -> Scene:
        """Every case at the same time; then nothing rises any more, and all of it is read."""
        self.prometheus.start()
        for job in self.journals:
            self.prometheus.wait_value(f'max(bridge:{SESSIONS}:seen{{job="{job}"}})', PAST)
        for journal in self.journals.values():
            journal.rises = True

        def turn(job: str) -> None:
            one, other = self.pairs[job]
            one.seen(3)
            CASES.get(job, given_up)(one, other)

        turns = [threading.Thread(target=turn, args=[job]) for job in self.pairs]
        for thread in turns:
            thread.start()
        for thread in turns:
            thread.join()
        for job, journal in self.journals.items():
            journal.rises = False
            self.prometheus.wait_value(f'max({SESSIONS}{{job="{job}"}})', journal.counted)
        return self

    def truth(self, job: str) -> int:
        return self.journals[job].counted - PAST

    def samples(self, job: str) -> list[float]:
        """Of the shared counter, all of them."""
        (found,) = self.prometheus.query(f'{SESSIONS}{{job="{job}"}}[10m]')
        return [float(one) for _, one in found["values"]]

    def ask(self, expr: str, job: str) -> float | None:
        return self.prometheus.value(fill(expr, {"job": job, "__range": "10m", "__interval": "10m"}))

    def close(self) -> None:
        self.prometheus.close()
        for pair in self.pairs.values():
            for replica in pair:
                replica.kill()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("steward") / "prometheus")
    try:
        yield made.play()
    finally:
        made.close()


@pytest.mark.parametrize("job", CASES)
def test_counters_go_on_where_another_replica_is_steward(scene: Scene, job: str) -> None:
    samples = scene.samples(job)
    assert samples == sorted(samples), "a counter fell"
    assert (samples[0], samples[-1] - PAST) == (PAST, scene.truth(job))
    assert scene.prometheus.value(f'resets({SESSIONS}{{job="{job}"}}[10m])') == 0


def test_a_page_that_comes_late_is_refused(scene: Scene) -> None:
    told = scene.prometheus.http.get(f"{scene.prometheus.url}/metrics", timeout=10).text
    refused = re.search(r"^prometheus_target_scrapes_sample_out_of_order_total (\d+)$", told, re.MULTILINE)
    assert refused and int(refused[1]) > 0


@pytest.mark.parametrize("job", CASES)
def test_an_increase_is_whole(scene: Scene, job: str) -> None:
    """It extrapolates to the ends of its window, so it is never less; a reset would add the past."""
    increase = scene.prometheus.value(f'increase({SESSIONS}{{job="{job}"}}[10m])')
    assert increase is not None and scene.truth(job) <= increase < scene.truth(job) * 2.5 < PAST


@pytest.mark.parametrize("job", CASES)
def test_totals_and_bars_of_boards_are_whole(scene: Scene, job: str) -> None:
    for expr in (counted(SESSIONS, OF_GPT), counted(COUNT, OF_GPT), counted(SESSIONS, OF_GPT, window="5m")):
        assert scene.ask(expr, job) == scene.truth(job), expr
    bars = counted(SESSIONS, OF_GPT, window=BAR)
    wait_for(lambda: scene.ask(bars, job) == scene.truth(job), f"bars that add up to {scene.truth(job)}")


@pytest.mark.parametrize("job", CASES)
def test_what_replicas_share_is_one_series_and_what_is_each_ones_has_its_instance(scene: Scene, job: str) -> None:
    (shared,) = scene.prometheus.query(f'last_over_time({SESSIONS}{{job="{job}"}}[1m])')
    assert shared["metric"] == {"__name__": SESSIONS, "job": job, AGENT: "devops-expert"}
    own = scene.prometheus.query(f'last_over_time({catalog.STEWARD.name}{{job="{job}"}}[10m])')
    assert {row["metric"]["instance"] for row in own} == {replica.address for replica in scene.pairs[job]}


@pytest.mark.parametrize("job", CASES)
def test_exemplars_are_of_the_shared_series(scene: Scene, job: str) -> None:
    found = scene.prometheus.query_exemplars(f'{catalog.OPERATION_DURATION.name}_bucket{{job="{job}"}}')
    assert [row["seriesLabels"].get("instance") for row in found] == [None]
    assert {one["labels"]["trace_id"] for row in found for one in row["exemplars"]} == {TRACE}


@pytest.mark.parametrize("job", CASES)
def test_boards_show_the_replicas_and_who_is_steward(scene: Scene, job: str) -> None:
    answering = 1 if job == "matado" else 2
    panels: dict[str, Any] = {title: panel for _, panel in replicas.panels() for title in [panel.title]}
    up, known, steward = (target.expr for target in panels["Réplicas en marcha"].targets)
    asked = (up, known, steward, replicas.standing(), f"max({value(catalog.LEDGER_GAP)})")
    wanted = [answering, 2, 1, 0.5 if job == "matado" else 1, 0]

    def shown() -> bool:
        assert (found := [scene.ask(expr, job) for expr in asked]) == wanted, found
        return True

    wait_for(shown, f"boards that show {wanted}")  # a page that was late for once is none


def test_scraped_as_one_bridge_replicas_are_not_whole(scene: Scene) -> None:
    """What the scrape of replicas takes `instance` away for: what comes between the last page of one and the first of
    the other is in neither's series."""
    wait_for(lambda: len(scene.prometheus.query(f'{SESSIONS}{{job="{WITHOUT}"}}')) == 1, "the steward's series alone")
    assert len(scene.prometheus.query(f'last_over_time({SESSIONS}{{job="{WITHOUT}"}}[10m])')) == 2
    found = scene.ask(counted(SESSIONS, OF_GPT), WITHOUT)
    assert found is not None and found != scene.truth(WITHOUT)
