"""Totals, means and percentiles of the boards against the truth, on Prometheus' own engine and clock (promtool).

Every case is told in scrapes, five seconds apart; the expressions are those that the panels ask, the rules those that
are shipped. `GAP` is a scrape that Prometheus did not make, `STALE` one that the bridge did not answer.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.boards import promql, replicas, rules
from grafana.boards.promql import (
    AGENT,
    BAR,
    BARS,
    ERROR,
    FAILED,
    OF_GPT,
    OF_TYPE,
    TYPE,
    counted,
    hour_by_weekday,
    mean,
    no_traffic,
    or_zero,
    quantile,
    suffixed,
)
from grafana.boards.queries import fill, queries
from otel_bridge import catalog

DURATION = catalog.OPERATION_DURATION
COUNT, SUM, BUCKET = (suffixed(DURATION, suffix) for suffix in ("count", "sum", "bucket"))
SESSIONS = catalog.SESSIONS.name
BUILD, SERIES = catalog.BUILD_INFO.name, catalog.SERIES.name
UNMEASURED = catalog.UNMEASURED.name

GAP, STALE = "_", "stale"
MINUTE = 12
"""Scrapes in a minute."""

HERE = 'job="asistentes", instance="10.0.0.1:9464"'
THERE = 'job="asistentes", instance="10.0.0.2:9464"'

Runs = Sequence[tuple[object, int]]
"""(value, how many scrapes in a row)"""


def values(runs: Runs) -> str:
    """As promtool writes them."""
    words: list[str] = []
    for value, times in runs:
        if value == STALE:
            words += [STALE, *([f"_x{times - 1}"] if times > 1 else [])]
        elif times:
            words.append(f"_x{times}" if value == GAP else f"{value}+0x{times - 1}")
    return " ".join(words)


def bridge(*runs: tuple[object, int], target: str = HERE) -> dict[str, str]:
    """The series by which a bridge is known, scraped as these runs say."""
    there = values([(v if v in (GAP, STALE) else 1, n) for v, n in runs])
    return {f'{BUILD}{{{target}, version="1"}}': there, f"{SERIES}{{{target}}}": there}


def counter(name: str, *runs: tuple[object, int], target: str = HERE, **labels: str) -> dict[str, str]:
    text = "".join(f', {label}="{value}"' for label, value in labels.items())
    return {f"{name}{{{target}{text}}}": values(runs)}


def sessions(*runs: tuple[object, int], gpt: str = "uno", target: str = HERE) -> dict[str, str]:
    """A counter and the bridge that shows it."""
    return {**bridge(*runs, target=target), **counter(SESSIONS, *runs, target=target, gen_ai_agent_id=gpt)}


def events(*runs: tuple[object, int], gpt: str = "uno", kind: str = "consulta", error: str = "") -> dict[str, str]:
    return counter(COUNT, *runs, gen_ai_agent_id=gpt, event_type=kind, error_type=error)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped rules that totals and bars read, as one file."""
    files = [rules.FILE, rules.FILE.with_name("boards.first.rules.yml")]
    groups = [group for file in files for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]
    path = tmp_path_factory.mktemp("rules") / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Truth:
    """Asks promtool. The range is the last hour."""

    folder: Path
    rules: Path

    def __call__(
        self,
        series: Mapping[str, str] | Iterable[Mapping[str, str]],
        minute: float,
        *cases: tuple[str, Mapping[str, float]],
        with_rules: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Each expression gives these samples (labels → value) at that minute."""
        # Here the rules run on the very end of a step, which would be in two: a millisecond less.
        known = {"__range": "1h", "__interval": "119999ms", **(variables or {})}
        given = series if isinstance(series, Mapping) else {name: text for one in series for name, text in one.items()}
        seconds = round(minute * 60)
        tests: list[dict[str, Any]] = [
            {
                "expr": fill(expr, known),
                "eval_time": f"{seconds}s",
                "exp_samples": [{"labels": labels or "{}", "value": value} for labels, value in expected.items()],
            }
            for expr, expected in cases
        ]
        # promtool loads samples up to the last run of the rules before the last test.
        tests.append({"expr": "vector(1)", "eval_time": f"{seconds + 60}s", "exp_samples": [{"value": 1}]})
        document = {
            "rule_files": [str(self.rules)] if with_rules else [],
            "evaluation_interval": "15s",
            "tests": [
                {
                    "interval": "5s",
                    "input_series": [{"series": name, "values": text} for name, text in given.items()],
                    "promql_expr_test": tests,
                }
            ],
        }
        path = self.folder / "case.yml"
        path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
        promtool = shutil.which("promtool")
        assert promtool, "promtool is not installed: apt-get install prometheus"
        done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def check(tmp_path: Path, shipped: Path) -> Truth:
    return Truth(tmp_path, shipped)


ALL = counted(SESSIONS, OF_GPT)


# --- counted ----------------------------------------------------------------------------------------------------------


def test_a_fresh_bridge_is_counted_from_its_first_event(check: Truth) -> None:
    """Ten sessions, 37 events of seven types; the last of them one alone."""
    counts = {"consulta": 20, "configuracion": 7, "troubleshooting": 4, "pipeline": 2, "infraestructura": 2,
              "monitoreo": 1, "seguridad": 1}  # fmt: skip
    series = [
        sessions((0, 8), (10, 20)),
        *(events((0, 8), (count, 20), kind=kind) for kind, count in counts.items()),
    ]
    check(
        series,
        1,
        (ALL, {"": 10}),
        (counted(COUNT, OF_GPT, OF_TYPE), {"": 37}),
        (
            counted(COUNT, OF_GPT, OF_TYPE, by=(TYPE,)),
            {f'{{event_type="{kind}"}}': count for kind, count in counts.items()},
        ),
        (counted(COUNT, OF_GPT, OF_TYPE, window="5m"), {"": 37}),
        (counted(COUNT, OF_GPT, OF_TYPE, FAILED), {}),
        (or_zero(counted(COUNT, OF_GPT, FAILED)), {"": 0}),
    )


def test_one_event_alone_is_shown_at_the_next_scrape(check: Truth) -> None:
    series = [
        bridge((1, 60)),
        events((0, 5), (1, 55)),
        counter(SUM, (0, 5), (1.5, 55), gen_ai_agent_id="uno", event_type="consulta", error_type=""),
        *(
            counter(
                BUCKET, (0, 5), (int(float(le) >= 1.5), 55), gen_ai_agent_id="uno", event_type="consulta", le=le
            )
            for le in ("1.0", "1.5", "2.0", "+Inf")
        ),
    ]  # fmt: skip
    for window in ("5m", "$__range"):
        check(
            series,
            25 / 60 + 0.01,
            (counted(COUNT, OF_GPT, window=window), {"": 1}),
            (mean(DURATION, OF_GPT, window=window), {"": 1.5}),
            (f"{quantile(0.95, DURATION, OF_GPT, window=window)} > 1 <= 1.5", {"": 1.475}),
        )


def test_an_error_code_born_in_an_incident_is_counted_whole(check: Truth) -> None:
    """The bridge shows it at 0 on one page and what it has counted on the next."""
    born, hour = 90 * MINUTE, 60 * MINUTE
    series = [
        bridge((1, born + hour)),
        events((500, born + hour)),
        events((GAP, born), (0, 1), (24, hour), error="timeout"),
    ]
    by_code = counted(COUNT, OF_GPT, FAILED, by=(ERROR,))
    for minute in (90 + 5 / 60, 90.5, 107):
        check(series, minute, (by_code, {'{error_type="timeout"}': 24}), (counted(COUNT, OF_GPT), {"": 24}))


def test_what_came_while_prometheus_was_away_for_a_minute_is_counted(check: Truth) -> None:
    series = sessions((7, 60 * MINUTE), (GAP, MINUTE), (9, 60 * MINUTE))
    check(series, 62, (ALL, {"": 2}), (counted(SESSIONS, OF_GPT, window="5m"), {"": 2}))
    # The range begins within the gap: what was seen after its beginning is in it.
    check(series, 120.5, (ALL, {"": 2}))
    check(series, 121.5, (ALL, {"": 0}))


def test_a_gap_at_the_beginning_of_the_range_ends_with_the_first_value_in_it(check: Truth) -> None:
    """Nobody saw when the 3 came that are new after the gap."""
    series = sessions((100, 60 * MINUTE), (GAP, 20 * MINUTE), (103, 10 * MINUTE), (110, 60 * MINUTE))
    check(series, 59 + 60, (ALL, {"": 10}))
    check(series, 70 + 60, (ALL, {"": 7}))
    check(series, 81 + 60, (ALL, {"": 7}))


def test_a_prometheus_that_is_younger_than_the_bridge_counts_from_what_it_saw_first(check: Truth) -> None:
    series = [
        sessions((1000, 40 * MINUTE), (1005, 40 * MINUTE)),
        counter(SESSIONS, (GAP, 50 * MINUTE), (0, 1), (4, 40 * MINUTE), gen_ai_agent_id="nuevo"),
    ]
    by_gpt = counted(SESSIONS, OF_GPT, by=(AGENT,))
    check(series, 45, (by_gpt, {'{gen_ai_agent_id="uno"}': 5}))
    for minute in (50 + 5 / 60, 58):
        check(series, minute, (by_gpt, {'{gen_ai_agent_id="uno"}': 5, '{gen_ai_agent_id="nuevo"}': 4}))


@pytest.mark.parametrize("minutes", [0.5, 2, 20])
def test_a_restart_in_the_middle_of_the_range_changes_nothing(check: Truth, minutes: float) -> None:
    away = round(minutes * MINUTE)
    series = [
        sessions((1, 30 * MINUTE), (4, 30 * MINUTE), (STALE, away), (4, 6), (6, 60 * MINUTE)),
        # Born before the restart, and within the range.
        events((GAP, 50 * MINUTE), (0, 1), (24, 10 * MINUTE - 1), (STALE, away), (24, 60 * MINUTE), error="timeout"),
    ]
    check(series, 62 + minutes, (ALL, {"": 5}), (counted(COUNT, OF_GPT), {"": 24}))
    if minutes < 5:
        check(series, 60 + minutes, (ALL, {"": 3}))
    # The range begins while the bridge is away.
    check(series, 120 + minutes / 2, (ALL, {"": 2}))


@pytest.mark.parametrize("minutes", [1, 4, 7, 40])
def test_totals_stay_while_the_bridge_is_away(check: Truth, minutes: int) -> None:
    series = sessions((1, 30 * MINUTE), (4, 30 * MINUTE), (STALE, 60 * MINUTE))
    check(series, 60 + minutes, (ALL, {"": 3 if minutes < 30 else 0}))


def test_a_bridge_that_comes_back_at_another_address_is_counted_once(check: Truth) -> None:
    series = [
        sessions((1000, 30 * MINUTE), (1004, 30 * MINUTE), (STALE, 1)),
        sessions((GAP, 61 * MINUTE), (1004, 5 * MINUTE), (1009, 60 * MINUTE), target=THERE),
    ]
    check(series, 64, (ALL, {"": 4}))
    check(series, 80, (ALL, {"": 9}))
    check(series, 100, (ALL, {"": 5}))


def test_several_bridges_are_counted_together_and_each_by_itself(check: Truth) -> None:
    """One of them is down, one came later, with a past."""
    series = [
        sessions((10, 60 * MINUTE), (13, 60 * MINUTE)),
        sessions((GAP, 70 * MINUTE), (5000, 10 * MINUTE), (5007, 40 * MINUTE), target=THERE),
        sessions(
            (20, 70 * MINUTE), (21, 5 * MINUTE), (STALE, 40 * MINUTE), target='job="otro", instance="10.0.0.3:9464"'
        ),
    ]
    check(series, 90, (ALL, {"": 11}))
    check(series, 90, (ALL, {"": 7}), variables={"instance": "10.0.0.2:9464"})
    check(series, 90, (ALL, {"": 1}), variables={"job": "otro"})


def test_a_journal_that_was_replaced_shows_what_the_new_one_counted(check: Truth) -> None:
    series = sessions((1000, 60 * MINUTE), (STALE, 3), (0, 10), (3, 60 * MINUTE))
    check(series, 62, (ALL, {"": 3}), (counted(SESSIONS, OF_GPT, window="5m"), {"": 3}))


def test_without_the_rules_a_total_is_right_or_missing(check: Truth) -> None:
    old = [
        sessions((1, 80 * MINUTE), (4, 60 * MINUTE)),
        counter(SESSIONS, (GAP, 100 * MINUTE), (0, 1), (5, 40 * MINUTE), gen_ai_agent_id="nuevo"),
    ]
    check(old, 120, (ALL, {"": 8}), with_rules=False)
    check(old, 55, (ALL, {}), (counted(SESSIONS, OF_GPT, window="5m"), {"": 0}), with_rules=False)


def test_nothing_is_counted_as_zero_where_no_bridge_was_seen(check: Truth) -> None:
    nothing = {f"up{{{HERE}}}": "0+0x99"}
    check(
        nothing,
        5,
        (ALL, {}),
        (or_zero(counted(COUNT, OF_GPT, FAILED)), {}),
        (counted(SESSIONS, OF_GPT, window=BAR), {}),
        (no_traffic(OF_GPT), {}),
        (no_traffic(OF_GPT, window="1m"), {}),
    )


def test_other_software_with_metrics_of_the_same_name_is_not_counted(check: Truth) -> None:
    foreign = counter(COUNT, (0, 20), (900, 99), gen_ai_agent_id="uno", gen_ai_request_model="otro")
    series = [bridge((1, 120)), events((0, 20), (2, 99)), foreign]
    check(series, 4, (counted(COUNT, OF_GPT), {"": 2}), (bars(counted(COUNT, OF_GPT, window=BAR)), {"": 2}))


# --- replicas of one journal ------------------------------------------------------------------------------------------

OURS, R1, R2 = 'job="replicas"', 'job="replicas", instance="10.0.0.1:9464"', 'job="replicas", instance="10.0.0.2:9464"'


def replica(*runs: tuple[object, int], target: str) -> dict[str, str]:
    """What one of them shows of itself. A run's value: 1 while it is steward, else 0; GAP, STALE."""
    up = [(0 if v == STALE else GAP if v == GAP else 1, n) for v, n in runs]
    there = [(v if v in (GAP, STALE) else 1, n) for v, n in runs]
    return {
        f'{BUILD}{{{target}, version="1"}}': values(there),
        f"{catalog.STEWARD.name}{{{target}}}": values(runs),
        f"up{{{target}}}": values(up),
    }


def shared(*runs: tuple[object, int], gpt: str = "uno", target: str = OURS) -> dict[str, str]:
    """What they share: a counter, and the number of series that is shown with it."""
    there = values([(v if v in (GAP, STALE) else 40, n) for v, n in runs])
    return {f"{SERIES}{{{target}}}": there, **counter(SESSIONS, *runs, target=target, gen_ai_agent_id=gpt)}


def test_replicas_are_counted_once_whoever_of_them_is_steward_and_whichever_is_chosen(check: Truth) -> None:
    """The steward is killed after six minutes, and its lease ends two scrapes later."""
    series = [
        replica((1, 72), (STALE, 72), target=R1),
        replica((0, 75), (1, 69), target=R2),
        shared((1000, 36), (1004, 36), (STALE, 3), (1009, 69)),
    ]
    totals = (ALL, {"": 9}), (counted(SESSIONS, OF_GPT, window="5m"), {"": 5})
    for variables in ({}, {"instance": "10.0.0.1:9464"}, {"instance": "10.0.0.2:9464"}):
        check(series, 8, *totals, variables=variables)
    check(series, 8, (or_zero(counted(COUNT, OF_GPT, FAILED)), {"": 0}))
    check(series, 11, (bars(counted(SESSIONS, OF_GPT, window=BAR)), {"": 9}))
    check(series, 8, (ALL, {}), variables={"job": "otra"})


def test_new_replicas_are_counted_from_their_first_event(check: Truth) -> None:
    series = [replica((1, 60), target=R1), replica((0, 60), target=R2), shared((0, 5), (3, 55))]
    for minute in (25 / 60 + 0.01, 4):
        check(series, minute, (ALL, {"": 3}), (counted(SESSIONS, OF_GPT, window="5m"), {"": 3}))


@pytest.mark.parametrize("job", ["asistentes", "replicas"])
def test_a_bridge_that_becomes_replicas_with_its_past_is_counted_once(check: Truth, job: str) -> None:
    """Its journal was copied: counters go on. Whether the job is called as before makes no difference."""
    one = f'job="{job}", instance="10.0.0.1:8464"'
    away = 8 * MINUTE + 4
    series = [
        sessions((1000, 4 * MINUTE), (1004, 4 * MINUTE), (STALE, 1), target=one),
        replica((GAP, away), (1, 8 * MINUTE), target=R1),
        replica((GAP, away), (0, 8 * MINUTE), target=R2),
        shared((GAP, away), (1004, 2 * MINUTE), (1009, 6 * MINUTE)),
    ]
    for minute, total in ((8.5, 4), (9.5, 4), (14, 9)):  # from the first scrape on
        check(series, minute, (ALL, {"": total}))


def test_a_gap_without_a_steward_ends_with_what_came_in_it(check: Truth) -> None:
    series = [replica((0, 20 * MINUTE), target=R1), shared((100, 72), (STALE, 96), (150, 36), (151, 36))]
    check(series, 17.5, (ALL, {"": 51}))
    check(series, 13.5, (ALL, {"": 0}), (or_zero(counted(SESSIONS, OF_GPT, window="5m")), {"": 0}))


def test_the_board_says_how_many_replicas_answer_and_whether_one_of_them_counts(check: Truth) -> None:
    """All; one is killed, the steward; another takes over; it loses its lease; all are down; all are back."""
    series = [
        replica((1, 60), (STALE, 240), (0, 60), target=R1),
        replica((0, 63), (1, 57), (0, 120), (STALE, 60), (1, 60), target=R2),
        shared((7, 60), (STALE, 3), (7, 57), (STALE, 180), (7, 60)),
    ]
    standing = replicas.standing()
    for minute, state in ((4, 1), (5.1, 0.5), (7, 0.5), (13, -1), (22, 0), (28, 1)):
        check(series, minute, (standing, {"": state}), with_rules=False)
    check(
        [*series, {f"up{{{HERE}}}": values([(1, 60), (0, 300)])}, bridge((1, 60), (STALE, 300))], 7, (standing, {"": 0})
    )
    # Bridges with a journal each: one that is down is down.
    alone = [
        {f"up{{{HERE}}}": values([(1, 60), (0, 60)])},
        bridge((1, 60), (STALE, 60)),
        {f"up{{{THERE}}}": values([(1, 120)])},
        bridge((1, 120), target=THERE),
    ]
    check(alone, 4, (standing, {"": 1}), with_rules=False)
    check(alone, 7, (standing, {"": 0}), with_rules=False)


# --- means and percentiles -------------------------------------------------------------------------------------------


def latencies(*seconds: float, until: int = 200, at: int = 20, **labels: str) -> list[dict[str, str]]:
    """A histogram of the catalog's buckets in which these answers come with scrape `at`."""
    bounds = [*map(str, DURATION.buckets), "+Inf"]
    every = {"gen_ai_agent_id": "uno", "event_type": "consulta", "error_type": "", **labels}
    return [
        counter(COUNT, (0, at), (len(seconds), until), **every),
        counter(SUM, (0, at), (sum(seconds), until), **every),
        *(counter(BUCKET, (0, at), (sum(one <= float(le) for one in seconds), until), **every, le=le) for le in bounds),
    ]


def bucket_of(seconds: float) -> tuple[float, float]:
    above = min(bound for bound in DURATION.buckets if bound >= seconds)
    below = max((bound for bound in DURATION.buckets if bound < above), default=0.0)
    return below, above


ANSWERS = (0.3, 0.4, 0.7, 0.9, 1.2, 1.2, 1.7, 1.8, 2.2, 2.6, 3.5, 4.5, 6.0, 7.0, 9.0, 12.0)


@pytest.mark.parametrize("window", ["5m", "$__range"])
def test_means_are_exact_and_percentiles_within_their_bucket(check: Truth, window: str) -> None:
    series = [bridge((1, 220)), *latencies(*ANSWERS)]
    cases: list[tuple[str, dict[str, float]]] = [(mean(DURATION, OF_GPT, window=window), {"": sum(ANSWERS) / 16})]
    for q, truth in ((0.5, 1.8), (0.95, 12.0), (0.99, 12.0)):
        low, high = bucket_of(truth)
        inside = f"({quantile(q, DURATION, OF_GPT, window=window)} > {low} <= {high}) * 0"
        cases.append((inside, {"": 0}))
    check(series, 3, *cases)


def test_lines_have_the_same_means_and_percentiles(check: Truth) -> None:
    series = [bridge((1, 220)), *latencies(*ANSWERS)]
    low, high = bucket_of(12.0)
    check(
        series,
        3,
        (mean(DURATION, OF_GPT, window=BAR), {"": sum(ANSWERS) / 16}),
        (f"({quantile(0.99, DURATION, OF_GPT, window=BAR)} > {low} <= {high}) * 0", {"": 0}),
    )


def test_what_had_no_traffic_has_no_mean_and_no_percentile(check: Truth) -> None:
    quiet = latencies(at=20, gen_ai_agent_id="callado")
    series = [bridge((1, 220)), *latencies(2.0), *quiet]
    for window in ("5m", "$__range", BAR):
        check(
            series,
            3,
            (mean(DURATION, OF_GPT, by=(AGENT,), window=window), {'{gen_ai_agent_id="uno"}': 2}),
            (f"count({quantile(0.95, DURATION, OF_GPT, by=(AGENT,), window=window)})", {"": 1}),
        )


# --- bars ---------------------------------------------------------------------------------------------


def bars(expr: str) -> str:
    """The sum of what the bars of an hour show."""
    return f"sum_over_time(({expr})[1h:2m])"


def test_bars_add_up_to_the_whole(check: Truth) -> None:
    """Over a restart, a minute and half an hour without Prometheus, and an error code that is new."""
    runs = [(0, 30), (5, 5), (9, MINUTE), (STALE, 9), (9, 1), (12, 7), (GAP, MINUTE), (20, 30), (GAP, 30 * MINUTE)]
    away = sum(times for _, times in runs)
    series = [
        bridge(*runs, (31, 99)),
        events(*runs, (31, 99)),
        events((GAP, away + 7), (0, 1), (6, 90), error="timeout"),
    ]
    minute = (away + 60) / MINUTE
    by_code = counted(COUNT, OF_GPT, OF_TYPE, FAILED, by=(ERROR,), window=BAR)
    check(
        series,
        minute,
        (bars(counted(COUNT, OF_GPT, OF_TYPE, window=BAR)), {"": 37}),
        (counted(COUNT, OF_GPT, OF_TYPE), {"": 37}),
        (bars(by_code), {'{error_type="timeout"}': 6}),
    )


def test_bars_of_a_young_prometheus_do_not_show_the_past(check: Truth) -> None:
    series = sessions((1000, 30), (1003, 99))
    check(series, 5, (bars(counted(SESSIONS, OF_GPT, window=BAR)), {"": 3}))


def test_bars_of_a_replaced_journal_show_what_the_new_one_counted(check: Truth) -> None:
    series = sessions((1000, 60), (0, 10), (3, 99))
    check(series, 12, (bars(counted(SESSIONS, OF_GPT, window=BAR)), {"": 3}))


def test_no_traffic_is_said_only_of_a_bridge_that_is_there(check: Truth) -> None:
    series = [bridge((1, 60)), events((0, 30), (2, 30))]
    check(series, 2, (no_traffic(OF_GPT), {"": 0}), (no_traffic(OF_GPT, window="1m"), {"": 0}))
    check(series, 4, (no_traffic(OF_GPT), {}))
    check(series, 2.75, (no_traffic(OF_GPT, window="1m"), {}))


def test_hour_by_weekday_holds_every_event_once(check: Truth) -> None:
    """promtool's clock begins on a Thursday at midnight. At 01:00 Prometheus is away for ten minutes."""
    runs = [(0, 10), (30, 59 * MINUTE - 10), (GAP, 10 * MINUTE), (37, 20 * MINUTE)]
    series = [bridge(*runs), events(*runs)]
    cells = hour_by_weekday()
    check(
        series,
        80,
        (f"({cells}) > 0", {'{dia="4", hora="00"}': 30, '{dia="4", hora="01"}': 7}),
        (f"count({cells})", {"": 168}),
    )


@pytest.mark.parametrize(("entrada", "salida"), [(5, 5), (5, 0), (0, 5), (2, 5)])
def test_tokens_that_nobody_measured_are_told_whichever_they_are(check: Truth, entrada: int, salida: int) -> None:
    panel = next(q for q in queries({"__range": "$__range"}) if (q.panel, q.ref) == ("Tokens", "sinmedir"))
    found = {"tokens_input": entrada, "tokens_output": salida, "latency": 7}
    series = [
        counter(UNMEASURED, (0, 5), (count, 55), gen_ai_agent_id="uno", event_type="consulta", error_type="", what=what)
        for what, count in found.items()
        if count
    ]
    check([bridge((1, 60)), *series], 4, (panel.expr, {"": 5}))


def test_what_is_recorded_each_minute_keeps_labels_that_the_series_has() -> None:
    series = {name: metric for metric in catalog.METRICS for name in metric.series}
    for name, labels in BARS.items():
        assert set(labels) <= {*series[name].labels, "le"}, name
    with pytest.raises(ValueError, match="not recorded"):
        counted(catalog.COST.name, window=BAR)


# --- somebody else's scrape ---------------------------------------------------------------------------------------


def every(scrapes: int, *runs: tuple[object, int]) -> list[tuple[object, int]]:
    """Runs of scrapes that are that many times five seconds apart."""
    return [part for value, times in runs for _ in range(times) for part in ((value, 1), (GAP, scrapes - 1))]


def test_a_scrape_every_half_minute_counts_the_same_and_leaves_nothing_empty(check: Truth) -> None:
    series = [sessions(*every(6, (10, 20), (13, 20), (STALE, 2), (14, 20))), {f"up{{{HERE}}}": values([(1, 400)])}]
    series.append(counter(catalog.PENDING.name, *every(6, (2, 40))))
    for minute, total, lately in ((9.0, 0, 0), (9.99, 0, 0), (10.6, 3, 3), (17, 3, 0), (22.1, 4, 1)):
        check(series, minute, (ALL, {"": total}), (counted(SESSIONS, OF_GPT, window="5m"), {"": lately}))
    for minute in (9.1, 9.3, 9.45, 9.49):
        check(series, minute, (replicas.standing(), {"": 1}), (f"sum({promql.value(catalog.PENDING)})", {"": 2}))


PROD, TEST = (f'cluster="eu-1", namespace="{name}", job="gpt-bridge"' for name in ("asistentes", "pruebas"))
"""Of two ServiceMonitors: the job is the Service's name in both."""


def test_two_namespaces_of_one_job_are_two_journals(check: Truth) -> None:
    """Agents that scrape 127.0.0.1 call both instances alike, too. The second one comes later, with a past."""
    here, there = (f'{of}, instance="127.0.0.1:9464"' for of in (PROD, TEST))
    past = (GAP, 70 * MINUTE)
    series = [
        sessions((10, 60 * MINUTE), (13, 60 * MINUTE), target=here),
        sessions(past, (5000, 10 * MINUTE), (5007, 40 * MINUTE), target=there),
    ]
    check(series, 90, (ALL, {"": 10}))
    check(series, 95, (bars(counted(SESSIONS, OF_GPT, window=BAR)), {"": 10}))


def test_replicas_of_two_namespaces_are_counted_apart(check: Truth) -> None:
    series = [
        replica((1, 80 * MINUTE), target=f'{PROD}, instance="r1:9464"'),
        shared((10, 60 * MINUTE), (13, 60 * MINUTE), target=PROD),
        shared((GAP, 70 * MINUTE), (5000, 10 * MINUTE), (5007, 40 * MINUTE), target=TEST),
    ]
    check(series, 95, (ALL, {"": 10}), (bars(counted(SESSIONS, OF_GPT, window=BAR)), {"": 10}))


def test_replicas_of_another_namespace_hide_none_without_a_steward(check: Truth) -> None:
    series = [
        replica((1, 120), target=f'{TEST}, instance="r1:9464"'),
        shared((7, 120), target=TEST),
        replica((1, 60), (0, 60), target=f'{PROD}, instance="r2:9464"'),
        shared((7, 60), (STALE, 60), target=PROD),
    ]
    for minute, state in ((4, 1), (8, -1)):
        check(series, minute, (replicas.standing(), {"": state}), with_rules=False)
