"""Every command and query of every runbook page, run against the stack in the state that the page describes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from otel_bridge.ops.reload import RELOADED
from tests.grafana.test_boards_traceql import QUERY as TRACEQL
from tests.harness.compose import FILE, ROOT, SCALE, compose, render
from tests.harness.waiting import wait_for
from tests.runbooks.pages import (
    FOLDER,
    OF_OTHERS,
    ON_THE_MACHINE,
    PAGES,
    PLACES,
    PREFIXES,
    SAID,
    WRITTEN,
    Item,
    Unknown,
    items,
    printed,
)
from tests.runbooks.states import State, States

STATES = {
    "BridgeClockDoubted": ["clock"],
    "BridgeDown": ["down", "replicas"],
    "BridgeExportStalled": ["stalled"],
    "BridgeJournalDisplaced": ["displaced"],
    "BridgeJournalFilling": ["full", "replicas"],
    "BridgeJournalWentBack": ["went_back", "replicas"],
    "BridgeLedgerGap": ["gap"],
    "BridgeMetricsAbsent": ["absent"],
    "BridgeNoSteward": ["no_steward", "replicas"],
    "BridgeRateLimiting": ["limited"],
    "BridgeRecordsParked": ["parked"],
    "BridgeRejectsHigh": ["full"],
    "BridgeSeriesCapped": ["busy"],
    "BridgeSpansDiscarded": ["discards"],
    "BridgeWorkerDown": ["worker"],
    "GPTErrorsHigh": ["busy"],
    "GPTFeedbackBad": ["busy"],
    "GPTFirstTokenSlow": ["busy"],
    "GPTLatencyBudgetBurn": ["busy"],
    "GPTLatencyHigh": ["busy"],
    "GPTSilent": ["silent"],
    "GPTTokenSpike": ["busy"],
    "README": ["alive"],
    "Watchdog": ["alive"],
}
"""Of each page, in which states its reader may be. A query answers in one of them; a command is run in each."""

EXPECTED = {
    ("clock", "otel-bridge ready"): (0, "el reloj del sistema saltó"),
    ("down", "otel-bridge ready"): (1, "no responde"),
    ("down", "otel-bridge metrics otel_bridge_build_info"): (1, "no responde"),
    ("stalled", "otel-bridge ready"): (0, "en espera: el destino no responde"),
    ("full", "otel-bridge ready"): (1, "el diario alcanzó journal_max_size"),
    ("full", "otel-bridge journal status --space"): (0, "b. pendientes"),
    ("displaced", "otel-bridge ready"): (1, "sus archivos se borraron"),
    ("went_back", "otel-bridge journal status"): (0, "volvió atrás"),
    ("worker", "otel-bridge ready"): (1, "proceso de fondo caído: windows"),
    ("worker", "otel-bridge journal status"): (0, ""),
    ("replicas", "otel-bridge ready"): (0, "esta réplica lleva la cuenta de todas"),
    ("replicas", "otel-bridge journal status"): (0, "encargada"),
    ("no_steward", "otel-bridge ready"): (1, "no se sabe cuál lleva la cuenta"),
    ("no_steward", "otel-bridge journal status"): (2, ""),
    ("no_steward", "otel-bridge check"): (2, ""),
    ("no_steward", "otel-bridge metrics otel_bridge_series"): (1, "no muestra ninguna serie"),
    ("no_steward", "otel-bridge journal migrate"): (2, ""),
    ("parked", "otel-bridge journal parked"): (0, "atributo prohibido"),
    ("absent", "otel-bridge metrics otel_bridge_build_info"): (0, "otel_bridge_build_info{"),
    ("alive", "amtool --alertmanager.url=http://localhost:9093 alert query alertname=Watchdog"): (0, "Watchdog"),
}
"""(state, command) → exit code, and words that it says. Of every other command: 0."""

MACHINE = {
    "timedatectl",
    "timedatectl set-ntp true",
    "chronyc tracking",
    "chronyc makestep",
    "dmesg",
    "smartctl -a",
}
"""They read or set the machine's own clock and disk: no test does."""

SHOWN_SOONER = {"BridgeExportStalled": ("> 300", "> 0.5")}
"""What of an alert's condition is not waited for."""
NOT_SHOWN = {
    "GPTSilent": "its condition needs days of history: promtool's tests of rules have them",
    "GPTTokenSpike": "likewise",
    "Watchdog": "it has no condition",
    "README": "no alert",
}


OPERATIONS, BACKUPS = ROOT / "docs" / "operacion.md", ROOT / "docs" / "respaldo.md"


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[States]:
    made = States(tmp_path_factory.mktemp("runbooks"))
    yield made
    made.keep(())


def _text(page: str) -> str:
    return (FOLDER / f"{page}.md").read_text(encoding="utf-8")


def _expressions(alert: str) -> list[str]:
    """What it fires for."""
    written, here = SHOWN_SOONER.get(alert, ("", ""))
    return [
        rule["expr"].replace(written, here) if written else rule["expr"]
        for path in (ROOT / "prometheus" / "rules").glob("*.alerts.yml")
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if rule["alert"] == alert
    ]


OF_ONE_PLACE = ("Nativo, como servicio de systemd", "Kubernetes, con el puente parado")


def _section(title: str) -> str:
    """Of README.md."""
    return PLACES.read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]


def _wanted(page: str) -> list[Item]:
    """Of README.md without what belongs to one place: that has tests of its own, below."""
    text = _text(page)
    if page == "README":
        for section in OF_ONE_PLACE:
            text = text.replace(_section(section), "")
        text = re.sub(rf"^\|.*$|`(?:{'|'.join(PREFIXES)}) [^`]*`", "", text, flags=re.MULTILINE)
    return items(text)


def test_every_page_has_its_state() -> None:
    assert {path.stem for path in PAGES} | {"README"} == set(STATES)


ORDER = [page for _, page in sorted((names, page) for page, names in STATES.items())]
"""Pages of one state follow each other."""


@pytest.mark.slow
@pytest.mark.parametrize("page", ORDER)
def test_what_a_page_says_to_run_runs_in_its_state(states: States, page: str) -> None:
    states.keep({name for later in ORDER[ORDER.index(page) :] for name in STATES[later]})
    wanted = _wanted(page)
    assert wanted
    unanswered = {item.text for item in wanted if item.kind == "promql"}
    is_shown = page in NOT_SHOWN
    for name in STATES[page]:
        state = states[name]
        with state.during():
            for text in sorted(unanswered):
                unanswered -= {text} if _answers(state, text, wait=name == STATES[page][-1]) else set()
            is_shown = is_shown or _answers(state, *_expressions(page), wait=True)
            for item in wanted:
                _try(state, name, item)
    assert not unanswered, f"{page}: no answer to {unanswered}"
    assert is_shown, f"{page}: the state is not the one that the alert fires in"


def _answers(state: State, *promql: str, wait: bool) -> bool:
    """Whether one of them has a series; a query that does not parse is an error."""

    def found() -> bool:
        return any(state.prometheus.query(query) for query in promql)

    if not wait:
        return found()
    try:
        return wait_for(found, "an answer", 20, pause=0.2)
    except AssertionError:
        return False


def _try(state: State, name: str, item: Item) -> None:
    if item.kind == "traceql":
        assert TRACEQL.fullmatch(item.text), f"not TraceQL: {item.text}"
    elif item.kind == "sql":
        if state.server is not None and state.server.process is not None and name != "no_steward":
            state.server.sql(item.text)
    elif item.kind == "sh" and item.program == "sqlite3":
        if shutil.which("sqlite3") is not None and "|" in item.text:
            done = state.run(item.text)
            assert done.returncode == 0 or "SQL logic error" in done.stderr, done.stderr  # Debian's, as the page says
    elif item.kind == "sh" and item.program in ON_THE_MACHINE:
        assert item.text in MACHINE, f"what does it do to the machine? {item.text}"
    elif item.kind == "sh":
        assert item.program not in PREFIXES, f"the place of a command is README.md's to say: {item.text}"
        code, words = EXPECTED.get((name, item.text), (0, ""))
        done = state.run(item.text)
        said = done.stdout + done.stderr
        assert done.returncode == code, f"{item.text} in «{name}» ended with {done.returncode}: {said}"
        assert words in said, f"{item.text} in «{name}» does not say «{words}»: {said}"


def test_sql_is_run_somewhere() -> None:
    for path in PAGES:
        if any(item.kind == "sql" for item in items(path.read_text(encoding="utf-8"))):
            assert "replicas" in STATES[path.stem], path.stem


def test_what_is_expected_is_in_a_page() -> None:
    named = {(state, item.text) for page, names in STATES.items() for state in names for item in _wanted(page)}
    assert set(EXPECTED) <= named
    text = " ".join(" ".join(path.read_text(encoding="utf-8").split()) for path in [*PAGES, PLACES, OPERATIONS])
    assert not [said for said in (*SAID, *WRITTEN) if f"`{said}`" not in text]
    assert not [said for said in OF_OTHERS if f"«{said}»" not in text]


def test_what_commands_are_quoted_with_is_what_they_print() -> None:
    commands = printed("commands")
    assert not [said for said in SAID if said not in commands]


TITLES = {"Sesiones y usuarios", "Valoraciones", "Latencia y SLO", "Versiones, una junto a otra", "Resumen", "Alerting"}
TITLES |= {"Explore", "TraceQL", "Salud del puente"}
FIGURES = {"14,4 veces", "lo habitual", "Como mucho", "registros 101 a 140 del diario, 38 por entregar"}
"""Quoted, and an example or a manner of speaking."""


def test_what_is_quoted_is_said_by_the_bridge_or_by_a_program_that_is_named() -> None:
    said = printed("")
    for path in [*PAGES, PLACES, OPERATIONS, BACKUPS]:
        for words in re.findall(r"«([^»]+)»", " ".join(path.read_text(encoding="utf-8").split())):
            if words not in {*OF_OTHERS, *TITLES, *FIGURES}:
                assert all(part.strip() in said for part in words.split("…")), f"{path.name}: «{words}»"


@pytest.mark.parametrize(
    "written",
    [
        "```\nuname -a\n```",
        "```python\nprint(1)\n```",
        "```sh\ncurl http://127.0.0.1:8000/readyz\n```",
        "mira `curl -i http://127.0.0.1:9464/metrics`",
        "mira `sum(rate(otel_bridge_records_total[1h]))`",
        "mira `{ status = error }`",
        "mira `wget -q http://x`",
    ],
)
def test_what_nothing_would_run_is_found(written: str) -> None:
    with pytest.raises(Unknown):
        items(written)


def test_no_page_has_a_place_of_its_own() -> None:
    for path in PAGES:
        for item in items(path.read_text(encoding="utf-8")):
            assert item.kind != "sh" or item.program not in PREFIXES, f"{path.stem}: {item.text}"


# --- README.md: the places ------------------------------------------------------------------------------------------


def _cells() -> list[str]:
    """The commands in README.md's tables and words that belong to one place."""
    return re.findall(r"`((?:docker|kubectl|systemctl|journalctl|cp) [^`]+)`", PLACES.read_text(encoding="utf-8"))


def test_every_service_that_compose_is_asked_for_exists(tmp_path: Path) -> None:
    one = set(render(tmp_path, GRAFANA_PASSWORD="x")["services"])
    several = set(render(tmp_path, (FILE, SCALE), GRAFANA_PASSWORD="x", POSTGRES_PASSWORD="x")["services"])
    commands = [command for command in _cells() if command.startswith("docker compose ")]
    helps: dict[str, str] = {"cp": ""}  # of 2.x only
    assert len(commands) > 10
    for command in commands:
        words = command.split()[2:]
        named = {word.partition(":")[0] for word in words} & several
        assert named, f"{command}: no service"
        # A subcommand and options that compose has; -s of kill takes a signal.
        if words[0] not in helps:
            helps[words[0]] = compose(words[0], "--help", folder=tmp_path).stdout
        for word in words:
            if word.startswith("-"):
                assert word in helps[words[0]], f"{command}: {words[0]} has no {word}"
    listed = re.search(r"\(Compose: ([^)]*)\)", " ".join(PLACES.read_text(encoding="utf-8").split()))
    assert listed
    assert set(re.findall(r"`([\w-]+)`", listed[1])) | {"otel-bridge"} == several - {"demo", "doctor", "migrate"}
    assert {"otel-bridge", "prometheus", "alertmanager", "tempo", "grafana", "caddy"} <= one


def _stopped_pod() -> str:
    return _section("Kubernetes, con el puente parado").partition("```yaml\n")[2].partition("```")[0]


def test_the_pod_of_a_stopped_bridge_is_as_the_bridge_s_own() -> None:
    documents = yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "otel-bridge.yaml").read_text(encoding="utf-8"))
    (bridge,) = (one for one in documents if one["kind"] == "StatefulSet")
    theirs, ours = bridge["spec"]["template"]["spec"], yaml.safe_load(_stopped_pod())["spec"]
    (there,), (here,) = theirs["containers"], ours["containers"]
    for name in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
        assert ours[name] == theirs[name], name
    for name in ("image", "securityContext", "volumeMounts"):
        assert here[name] == there[name], name
    assert here["env"] == [one for one in there["env"] if one["name"] in ("OTEL_BRIDGE_CONFIG", "OTEL_BRIDGE_JOURNAL")]
    (claim,) = (template["metadata"]["name"] for template in bridge["spec"]["volumeClaimTemplates"])
    data = {"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{bridge['metadata']['name']}-0"}}
    assert ours["volumes"] == [*theirs["volumes"], data]


def test_commands_beside_systemd_have_the_places_of_its_unit() -> None:
    section = _section("Nativo, como servicio de systemd")
    unit = (ROOT / "deploy" / "systemd" / "otel-bridge.service").read_text(encoding="utf-8")
    for setting in re.findall(r"^Environment=(.+)$", unit, re.MULTILINE):
        assert setting in section
    for place in ("EnvironmentFile=-", "WorkingDirectory="):
        found = re.search(rf"^{place}(.+)$", unit, re.MULTILINE)
        assert found and found[1] in section
    program = re.search(r"^ExecStart=(.+)/otel-bridge serve$", unit, re.MULTILINE)
    assert program and f"PATH={program[1]}:$PATH" in section


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl has no Debian package; tried where it is on PATH")
def test_kubectl_takes_every_command_that_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "parado.yaml").write_text(_stopped_pod(), encoding="utf-8")
    (tmp_path / "copia.db").touch()
    commands = [command for command in _cells() if command.startswith("kubectl ")]
    assert len(commands) > 8
    for command in commands:
        words = command.split()[1:]
        if words[-1] == "--":
            words.append("true")
        done = subprocess.run(
            ["kubectl", "--server=http://127.0.0.1:9", "--request-timeout=1s", *words],
            capture_output=True, text=True, timeout=30, cwd=tmp_path,
        )  # fmt: skip
        assert "refused" in done.stderr, f"{command}: {done.stderr}"  # it has understood it, and there is no cluster


def test_what_changes_without_a_restart_is_what_the_bridge_takes_on() -> None:
    text = PLACES.read_text(encoding="utf-8")
    section = text.partition("## Qué cambia sin reiniciar")[2].partition("Compruébalo")[0]
    assert set(re.findall(r"`([a-z_]+)`", section)) == RELOADED


def test_the_folders_that_are_named_are_those_of_compose() -> None:
    text = PLACES.read_text(encoding="utf-8")
    mounted = {
        volume.split(":")[1]
        for service in yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"].values()
        for volume in service.get("volumes", ())
    }
    for named in re.findall(r"`(/(?:etc|var)/[^`]+)`", text):
        assert any(named == place or named.startswith(f"{place}/") for place in mounted), named


def test_a_prefix_ends_where_the_command_begins() -> None:
    """A shell or quotes within it would change what the page writes."""
    rows = [line.split("|")[2:-1] for line in PLACES.read_text(encoding="utf-8").splitlines() if " exec " in line]
    assert len(rows) > 5
    for row in rows:
        for cell in row:
            assert not re.search(r"sh -c|['\"]", cell), cell
