"""What a person would stumble over: overlaps, missing units, texts, links, legends."""

import json
import re
from typing import Any

import pytest

from grafana.boards.panels import QUIET
from grafana.boards.queries import panels, queries

UIDS = ("gpt-resumen", "gpt-slo", "gpt-sesiones", "otel-bridge-salud")
GLOBALS = {"__rate_interval", "__interval", "__range", "__url_time_range", "__data"}

pytestmark = pytest.mark.parametrize("uid", UIDS)


@pytest.fixture
def board(uid: str, boards: dict[str, Any]) -> dict[str, Any]:
    return boards[uid]


def test_panels_do_not_overlap_and_fill_every_line(board: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24 and place["h"] > 0, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies over {taken[x, y]}"
                taken[x, y] = panel["title"]
    height = max(y for _, y in taken) + 1
    assert len(taken) == 24 * height, "there are holes"


def test_ids_and_titles_are_unique(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    titles = [panel["title"] for panel in panels(board)]
    assert len(ids) == len(set(ids)) and all(ids)
    assert len(titles) == len(set(titles))


def test_every_panel_says_what_it_shows(board: dict[str, Any]) -> None:
    for panel in panels(board):
        assert panel["title"], panel["id"]
        assert len(panel["title"]) <= 45, f"{panel['title']!r} would be clipped"
        assert panel["description"].endswith("."), panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        assert defaults["noValue"], panel["title"]


def test_a_narrow_panel_has_a_short_title(board: dict[str, Any]) -> None:
    """Measured at 1440 pixels with Grafana's menu open: 47 a column, 120 of them not the title's, 7.3 a letter."""
    for panel in panels(board):
        assert len(panel["title"]) <= (47 * panel["gridPos"]["w"] - 120) / 7.3, f"{panel['title']!r} would be clipped"


def test_the_picture_has_the_width_of_its_panel(board: dict[str, Any]) -> None:
    """A legend at the side takes half of a narrow panel: it is a list below, or none where the title says it."""
    for panel in panels(board):
        legend = panel["options"].get("legend", {"showLegend": False})
        if panel["type"] == "timeseries" and legend["showLegend"]:
            assert (legend["placement"], legend["displayMode"]) == ("bottom", "list"), panel["title"]
        elif panel["type"] == "timeseries":
            (target,) = panel["targets"]
            assert "{{" not in target["legendFormat"], panel["title"]
        elif panel["type"] in ("barchart", "heatmap"):
            assert not (legend["showLegend"] if "showLegend" in legend else legend["show"]), panel["title"]


def test_what_says_that_there_is_nothing_is_in_no_legend(board: dict[str, Any]) -> None:
    for panel in panels(board):
        if panel["type"] != "timeseries":
            continue
        unlisted = {
            override["matcher"]["options"]
            for override in panel["fieldConfig"]["overrides"]
            for one in override["properties"]
            if one["id"] == "custom.hideFrom" and one["value"]["legend"]
        }
        for target in panel["targets"]:
            names = {target["legendFormat"]} if target["refId"] in ("hueco", "sinmedir") else set()
            names |= set(re.findall(r'label_replace\(vector\(0\), "\w+", "([^"]+)"', target.get("expr", "")))
            assert names <= unlisted, panel["title"]


def test_no_figure_of_a_gpt_says_that_there_is_no_traffic(board: dict[str, Any]) -> None:
    """It is of latencies or ratings, and events that nobody measured or rated are traffic."""
    for panel in panels(board):
        if panel["type"] == "stat" and board["uid"].startswith("gpt-"):
            defaults = panel["fieldConfig"]["defaults"]
            assert QUIET not in json.dumps([defaults.get("noValue"), defaults.get("mappings")], ensure_ascii=False), (
                panel["title"]
            )


def test_whole_numbers_have_one_notation(board: dict[str, Any]) -> None:
    """`short` writes 24635 as «24.6 K»; `locale`, in a Spanish browser, as «24.635» beside «87.76%»."""
    for panel in panels(board):
        config = panel["fieldConfig"]
        units = [config["defaults"]["unit"]]
        units += [
            one["value"] for override in config["overrides"] for one in override["properties"] if one["id"] == "unit"
        ]
        assert not {"short", "locale"} & set(units), panel["title"]
        if units[0] == "none":
            assert config["defaults"]["decimals"] in (0, 1), panel["title"]


def test_the_ticks_of_bars_say_no_text_for_what_is_missing(board: dict[str, Any]) -> None:
    for panel in panels(board):
        if panel["type"] == "barchart":
            (time,) = (one for one in panel["fieldConfig"]["overrides"] if one["matcher"]["options"] == "Time")
            assert {"id": "noValue", "value": ""} in time["properties"], panel["title"]
            assert panel["options"].get("text", {}).get("valueSize") is None, "a given size is drawn over its neighbour"


def test_what_is_not_known_is_not_judged(board: dict[str, Any]) -> None:
    """Without a value Grafana takes the first colour of the thresholds: green."""
    for panel in panels(board):
        if panel["type"] == "stat" and panel["options"]["colorMode"] == "background_solid":
            nothing = [one for one in panel["fieldConfig"]["defaults"]["mappings"] if one["type"] == "special"]
            assert [one["options"]["result"]["color"] for one in nothing] == ["transparent"], panel["title"]


def test_a_board_is_not_edited_on_the_screen(board: dict[str, Any]) -> None:
    assert board["editable"] is False


def test_the_worst_is_on_top_and_the_quiet_last(board: dict[str, Any]) -> None:
    """Grafana sorts what is empty as less than everything, and NaN anywhere: no ascending order of numbers."""
    for panel in panels(board):
        if panel["type"] == "table":
            for order in panel["options"]["sortBy"]:
                assert order["desc"] is True, panel["title"]


def test_every_variable_used_exists(board: dict[str, Any]) -> None:
    there = {variable["name"] for variable in board["templating"]["list"]} | GLOBALS
    for panel in panels(board):
        for name in re.findall(r"\$\{?(\w+)", str(panel)):
            if not name.isdigit():
                assert name in there, f"{panel['title']}: ${name}"


def test_the_variables_that_links_carry_are_on_every_board(board: dict[str, Any]) -> None:
    names = [variable["name"] for variable in board["templating"]["list"]]
    assert set(names) >= {"datasource", "gpt", "tipo", "trazas", "job", "instance"}
    assert all(variable["label"] and variable["description"] for variable in board["templating"]["list"])


def test_board_links_carry_variables_and_time_to_the_other_boards(board: dict[str, Any], uid: str) -> None:
    assert [link["url"] for link in board["links"]] == [f"/d/{other}" for other in UIDS if other != uid]
    for link in board["links"]:
        assert link["keepTime"] and link["includeVars"] and link["type"] == "link" and link["title"]


def test_links_in_panels_lead_to_boards_with_their_variables(board: dict[str, Any], boards: dict[str, Any]) -> None:
    for panel in panels(board):
        for url in re.findall(r"'url': '([^']+)'", str(panel)):
            match = re.match(r"/d/([\w-]+)\?(.*)$", url)
            assert match and match[1] in boards, url
            there = {variable["name"] for variable in boards[match[1]]["templating"]["list"]}
            for name in re.findall(r"(?:var-|\$\{)(\w+)(?:=|:queryparam)", match[2]):
                assert name in there, url
            assert "${__url_time_range}" in url and "timeFrom" not in panel, (
                "it is empty where a panel has its own range"
            )
            for name in ("datasource", "gpt", "tipo", "trazas", "job", "instance"):
                assert f"var-{name}=" in url or f"${{{name}:queryparam}}" in url, url


def test_panels_ask_provisioned_sources(board: dict[str, Any]) -> None:
    for panel in panels(board):
        assert panel["targets"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references)), panel["title"]
        for target in panel["targets"]:
            source = target["datasource"]
            assert (source["type"], source["uid"]) in {
                ("prometheus", "${datasource}"),
                ("tempo", "${trazas}"),
            }, panel["title"]
            if source["type"] == "tempo":
                assert len(panel["targets"]) == 1, "Grafana runs only the first TraceQL query of a panel"


def test_transformations_name_queries_that_exist(board: dict[str, Any]) -> None:
    for panel in panels(board):
        references = {target["refId"] for target in panel["targets"]}
        text = str(panel["transformations"])
        for reference in re.findall(r"(?:Value|Trend) #(\w+)", text):
            assert reference in references, f"{panel['title']}: {reference}"
        for transformation in panel["transformations"]:
            if transformation["id"] == "configFromData":
                assert transformation["options"]["configRefId"] in references


def test_exemplars_are_on_lines_of_seconds(board: dict[str, Any], uid: str) -> None:
    """On a heatmap they cover it within an hour; on another unit they lie where they do not belong."""
    exemplars = [panel for panel in panels(board) for target in panel["targets"] if target.get("exemplar")]
    assert exemplars or uid != "gpt-resumen"
    for panel in exemplars:
        assert (panel["type"], panel["fieldConfig"]["defaults"]["unit"]) == ("timeseries", "s"), panel["title"]


def test_firing_alerts_are_marked(board: dict[str, Any]) -> None:
    marks = [mark for mark in board["annotations"]["list"] if "ALERTS" in str(mark.get("target"))]
    assert marks
    assert all('alertstate="firing"' in mark["target"]["expr"] and mark["enable"] for mark in marks)


def test_a_stat_never_passes_an_old_value_for_the_present_one(board: dict[str, Any]) -> None:
    """A range query's last step is an hour old on 30 days, and its line crosses the figures."""
    for panel in panels(board):
        if panel["type"] == "stat":
            assert all(target["instant"] and not target["range"] for target in panel["targets"]), panel["title"]
            assert panel["options"]["reduceOptions"]["calcs"] == ["last"], panel["title"]
            assert panel["options"]["graphMode"] == "none", panel["title"]


def test_windows_follow_the_step_unless_they_are_meant(uid: str) -> None:
    """A window is $__rate_interval, the bar's $__interval, the range, or one that the panel's text names."""
    import json

    from grafana.boards import DASHBOARDS

    meant = {"1m", "5m", "1h", "1d"}
    board = json.loads((DASHBOARDS / f"{uid}.json").read_text("utf-8"))
    for panel in panels(board):
        for target in panel["targets"]:
            for window in re.findall(r"(?:rate|increase)\([^()\[]*\[([^\]]+)\]", target.get("expr", "")):
                assert window in {"$__rate_interval", "$__interval", "$__range"} | meant, panel["title"]


def test_the_helper_fills_every_variable(uid: str) -> None:
    asked = [query for query in queries() if query.board == uid]
    assert asked
    assert all("$" not in query.expr.replace('"0$1"', "").replace('"$1"', "").replace("${1}xx", "") for query in asked)
