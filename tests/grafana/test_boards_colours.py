"""Contrast on both themes, computed as WCAG has it: 4.5 for text, 3 for lines and bars."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from grafana.boards import colours
from grafana.boards.queries import panels

PANEL = {"dark": ("#111217", "#181b1f"), "light": ("#ffffff", "#f4f5f5")}
"""Theme → what a panel lies on and is made of (grafana-data, `themes/palette.ts`)."""

TEXT = {"dark": "#f7f8fa", "light": "#202226"}
"""What Grafana writes on a coloured ground: the second where its brightness is above 180."""

NAMED = {
    "dark": {"blue": "#5794F2", "purple": "#B877D9", "red": "#F2495C", "dark-orange": "#FA6400",
             "semi-dark-green": "#56A64B"},
    "light": {"blue": "#3274D9", "purple": "#A352CC", "red": "#E02F44", "dark-orange": "#E55400",
              "semi-dark-green": "#37872D"},
}  # fmt: skip
"""What Grafana's names are on each theme (`themes/createVisualizationColors.ts`)."""

Rgb = tuple[float, float, float]


def rgb(colour: str) -> Rgb:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


def luminance(colour: Rgb) -> float:
    parts = [part / 255 for part in colour]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Rgb, other: Rgb) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def text_on(ground: str, theme: str, panel: str) -> float:
    """The contrast of the text that Grafana writes on a ground (`getTextColorForAlphaBackground`)."""
    if ground == "transparent":
        return contrast(rgb(TEXT["dark" if theme == "dark" else "light"]), rgb(panel))
    if match := re.fullmatch(r"rgba\((\d+), (\d+), (\d+), (0\.\d+)\)", ground):
        *parts, alpha = (float(part) for part in match.groups())
        assert alpha < 0.3, "from 0.3 on Grafana goes by the colour and not by the theme"
        seen = [alpha * part + (1 - alpha) * under for part, under in zip(parts, rgb(panel), strict=True)]
        return contrast(rgb(TEXT[theme]), (seen[0], seen[1], seen[2]))
    red, green, blue = rgb(ground)
    bright = (299 * red + 587 * green + 114 * blue) / 1000 > 180
    return contrast(rgb(TEXT["light" if bright else "dark"]), rgb(ground))


def grounds(boards: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(panel, colour) of what text is written on: stats' and tables' thresholds, mappings and cells."""
    for board in boards.values():
        for panel in panels(board):
            if panel["type"] not in ("stat", "table"):
                continue
            defaults = panel["fieldConfig"]["defaults"]
            places = [defaults["mappings"]]
            if panel["type"] == "stat":
                places.append(defaults["thresholds"] if panel["options"]["colorMode"] == "background_solid" else [])
            for override in panel["fieldConfig"]["overrides"]:
                properties = {one["id"]: one.get("value") for one in override["properties"]}
                if properties.get("custom.cellOptions", {}).get("type") == "color-background":
                    places += [properties.get(name, []) for name in ("thresholds", "mappings", "color")]
            for colour in re.findall(r'"(?:color|fixedColor)": "([^"]+)"', json.dumps(places)):
                yield panel["title"], colour


def test_text_can_be_read_on_its_ground_on_both_themes(boards: dict[str, Any]) -> None:
    found = set(grounds(boards))
    assert {colours.FINE, colours.NEAR, colours.FAIL, colours.CLEAR} <= {colour for _, colour in found}
    for title, colour in sorted(found):
        for theme, panel in ((theme, panel) for theme, both in PANEL.items() for panel in both):
            assert text_on(colour, theme, panel) >= 4.5, f"{title}: text on {colour}, {theme}"


def test_text_itself_is_never_coloured(boards: dict[str, Any]) -> None:
    """No colour but the theme's own has a contrast of 4.5 to all four backgrounds."""
    for board in boards.values():
        for panel in panels(board):
            assert "color-text" not in json.dumps(panel), panel["title"]
            if panel["type"] == "stat":
                assert panel["options"]["colorMode"] in ("none", "background_solid"), panel["title"]


def test_lines_and_bars_stand_out_on_both_themes(boards: dict[str, Any]) -> None:
    drawn = {
        colour
        for board in boards.values()
        for panel in panels(board)
        if panel["type"] in ("timeseries", "barchart", "heatmap")
        for colour in re.findall(r'"fixedColor": "([^"]+)"', json.dumps(panel["fieldConfig"]))
    }
    assert len(drawn) > 10
    for colour in drawn:
        for theme, backgrounds in PANEL.items():
            shown = NAMED[theme].get(colour, colour)
            assert shown.startswith("#"), f"{colour}: which shade is it on the {theme} theme?"
            for background in backgrounds:
                assert contrast(rgb(shown), rgb(background)) >= 3, f"{colour} on {background}"


@pytest.mark.parametrize(("one", "other", "ratio"), [("#ffffff", "#000000", 21.0), ("#777777", "#ffffff", 4.48)])
def test_contrast_is_computed_as_wcag_has_it(one: str, other: str, ratio: float) -> None:
    assert contrast(rgb(one), rgb(other)) == pytest.approx(ratio, abs=0.01)


def test_heatmaps_mean_the_same_on_both_themes(boards: dict[str, Any]) -> None:
    """Grafana turns its schemes over on one of the two themes; one hue that thins out stays what it is."""
    heatmaps = [panel for board in boards.values() for panel in panels(board) if panel["type"] == "heatmap"]
    assert heatmaps
    for panel in heatmaps:
        assert panel["options"]["color"]["mode"] == "opacity", panel["title"]


def test_a_single_answer_is_seen_beside_a_thousand(boards: dict[str, Any]) -> None:
    """As Grafana paints a cell (`valuesToFills`, `quantizeScheme`): the palette's first step is invisible."""
    for board in boards.values():
        for panel in panels(board):
            if panel["type"] == "heatmap":
                colour = panel["options"]["color"]
                least, steps = colour["min"], colour["steps"]
                for most in (1, 10, 1000):
                    step = min(steps - 1, int(steps * (1 - least) / (most - least)))
                    opacity = (step / (steps - 1)) ** colour["exponent"]
                    assert opacity > 0.1, f"{panel['title']}: 1 of {most}"
