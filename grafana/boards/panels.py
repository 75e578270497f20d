"""Panels: one function a kind, with the house's defaults (the picture first, one notation, Spanish «no data»).

The SDK's models, not its builders: a model states every value that is written, and the JSON holds what the code
says; the builders leave out ids, place past column 24 and hide legends by default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from grafana_foundation_sdk.models import (
    barchart,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    tempo,
    timeseries,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardFieldConfigSourceOverrides,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColor,
    FieldColorModeId,
    FieldConfig,
    FieldConfigSource,
    MatcherConfig,
    Panel,
    SpecialValueMatch,
    Threshold,
    ThresholdsConfig,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

from grafana.boards.colours import CLEAR, GOOD, HEAT, MUTED, OBJECTIVE
from grafana.boards.datasources import PROMETHEUS, TEMPO

Target = prometheus.Dataquery | tempo.Dataquery
Override = DashboardFieldConfigSourceOverrides
Steps = Sequence[tuple[float | None, str]]

QUIET = "Sin tráfico"
NOT_MEASURED = "Nada medido"
"""Instead of a number of latencies: no event came, or none that anybody measured."""
NO_DATA = "Sin datos en el intervalo"
DOWN = "El puente no responde"
NO_STEP = "Aún no hay un tramo entero con tráfico"
"""Of bars and lines: each point is of a whole step, which on a month is an hour."""


COUNT = "none"
"""The unit of what is counted, on every board: 24635 is neither «24.6 K» nor, in a Spanish browser, «24.635», which
beside Grafana's `87.76%` would be 24 and a half."""

UNMEASURED = "Sin medir"
"""What a line is called that stands where events came and nobody measured them."""

NOTHING = ("ninguno", "ninguna", QUIET, UNMEASURED)
"""Names of the series that say that there is none of what the panel shows: drawn, in no legend."""

SOFT_MAX = {COUNT: 1, "suffix: /s": 0.1, "percentunit": 1, "s": 0.1}
"""Unit → least height of an axis: a quiet day is a line at 0 under 1, not under 100."""


# --- what a panel asks -------------------------------------------------------------------------------------------


def query(expr: str, legend: str = "", *, ref: str = "A", exemplar: bool = False) -> prometheus.Dataquery:
    """Over the board's time range."""
    return prometheus.Dataquery(
        datasource=PROMETHEUS,
        editor_mode=prometheus.QueryEditorMode.CODE,
        expr=expr,
        legend_format=legend,
        range_val=True,
        instant=False,
        exemplar=exemplar,
        ref_id=ref,
    )


def instant(expr: str, legend: str = "", *, ref: str = "A", as_table: bool = False) -> prometheus.Dataquery:
    """At the end of the board's time range."""
    return prometheus.Dataquery(
        datasource=PROMETHEUS,
        editor_mode=prometheus.QueryEditorMode.CODE,
        expr=expr,
        legend_format=legend,
        range_val=False,
        instant=True,
        exemplar=False,
        format_val=prometheus.PromQueryFormat.TABLE if as_table else prometheus.PromQueryFormat.TIME_SERIES,
        ref_id=ref,
    )


def buckets_over_time(expr: str) -> prometheus.Dataquery:
    """A histogram's buckets (by `le`), for a heatmap. Without exemplars: an hour of them covers it."""
    target = query(expr, "{{le}}")
    target.format_val = prometheus.PromQueryFormat.HEATMAP
    return target


def traces(expr: str, *, spans: bool = False, limit: int = 50) -> tempo.Dataquery:
    """A TraceQL search. One a panel: Grafana runs only the first."""
    return tempo.Dataquery(
        datasource=TEMPO,
        query_type="traceql",
        query=expr,
        limit=limit,
        spss=10 if spans else 3,
        table_type=tempo.SearchTableType.SPANS if spans else tempo.SearchTableType.TRACES,
        filters=[],
        ref_id="A",
    )


def trace_metrics(expr: str) -> tempo.Dataquery:
    """A TraceQL metrics query, over the board's time range."""
    return tempo.Dataquery(
        datasource=TEMPO,
        query_type="traceql",
        query=expr,
        metrics_query_type=tempo.MetricsQueryType.RANGE,
        filters=[],
        ref_id="A",
    )


# --- how a field looks -------------------------------------------------------------------------------------------


def thresholds(steps: Steps, mode: ThresholdsMode = ThresholdsMode.ABSOLUTE) -> ThresholdsConfig:
    return ThresholdsConfig(mode=mode, steps=[Threshold(value=value, color=colour) for value, colour in steps])


def fixed(colour: str) -> FieldColor:
    return FieldColor(mode=FieldColorModeId.FIXED, fixed_color=colour)


def by_name(name: str, **properties: object) -> Override:
    """Properties of the field of that name; `__` in a keyword stands for a dot."""
    return _override("byName", name, properties)


def _override(matcher: str, options: str, properties: Mapping[str, object]) -> Override:
    return Override(
        matcher=MatcherConfig(id_val=matcher, options=options),
        properties=[
            DynamicConfigValue(id_val=key.replace("__", "."), value=value) for key, value in properties.items()
        ],
    )


def paint(colours: Mapping[str, str]) -> list[Override]:
    """Each series in its own colour."""
    return [by_name(name, color={"mode": "fixed", "fixedColor": colour}) for name, colour in colours.items()]


def rename(texts: Mapping[str, tuple[str, str]]) -> list[Override]:
    """Each series under a Spanish name, in its own colour."""
    return [
        by_name(name, displayName=text, color={"mode": "fixed", "fixedColor": colour})
        for name, (text, colour) in texts.items()
    ]


def _nothing(name: str) -> Override:
    return by_name(
        name,
        color={"mode": "fixed", "fixedColor": MUTED},
        custom__lineWidth=2,
        custom__fillOpacity=0,
        custom__hideFrom={"legend": True, "tooltip": False, "viz": False},
    )


def dashed(name: str, colour: str = OBJECTIVE) -> Override:
    """A limit: dashed, never filled, never stacked."""
    return by_name(
        name,
        color={"mode": "fixed", "fixedColor": colour},
        custom__lineStyle={"fill": "dash", "dash": [10, 8]},
        custom__lineWidth=2,
        custom__fillOpacity=0,
        custom__showPoints="never",
        custom__stacking={"mode": "none", "group": "limit"},
    )


def column(name: str, **properties: object) -> Override:
    """A table's column: `column("Eventos", unit=COUNT, custom__width=90)`."""
    return by_name(name, **properties)


def judged(steps: Steps) -> dict[str, object]:
    """Properties of a column whose cells have the ground of their judgement."""
    return {
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]},
        "color": {"mode": "thresholds"},
        "custom__cellOptions": {"type": "color-background", "mode": "basic"},
    }


def quiet_mapping(text: str = QUIET) -> dashboard.SpecialValueMap:
    """What a stat says where there was nothing to measure."""
    return dashboard.SpecialValueMap(
        options=dashboard.DashboardSpecialValueMapOptions(
            match=SpecialValueMatch.NULL_AND_NAN, result=ValueMappingResult(text=text, color=CLEAR, index=0)
        )
    )


def value_mapping(texts: Mapping[str, tuple[str, str | None]]) -> ValueMap:
    return ValueMap(
        options={
            value: ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(texts.items())
        }
    )


def transform(id_val: str, *, only: str = "", **options: object) -> DataTransformerConfig:
    """A transformation, of the frames of query `only` where one is named."""
    matcher = MatcherConfig(id_val="byRefId", options=only) if only else None
    return DataTransformerConfig(id_val=id_val, filter_val=matcher, options=options)


def joined(labels: Mapping[str, str], columns: Mapping[str, str]) -> list[DataTransformerConfig]:
    """One table of several queries: a row for each set of labels, a column a query. `labels` and `columns` (a field,
    such as «Value #A») → heading, in their order.

    `merge` gives up where one of the queries has no row, and a table of headings is no «no data»; grouping leaves out
    what has none of the labels, and where that is everything nothing is left.
    """
    group = {label: {"operation": "groupby", "aggregations": []} for label in labels}
    take = {field: {"operation": "aggregate", "aggregations": ["lastNotNull"]} for field in columns}
    headings = {**labels, **{f"{field} (lastNotNull)": heading for field, heading in columns.items()}}
    return [
        transform("groupBy", fields={**group, **take}),
        transform("merge"),
        transform(
            "organize",
            indexByName={name: index for index, name in enumerate(headings)},
            renameByName=headings,
        ),
    ]


# --- the panels --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """What every kind of panel shares."""

    unit: str
    decimals: int | None = None
    colour: str | None = None
    shades: bool = False
    """Each series in another shade of `colour`: where the palette's green would call an error good."""
    steps: Steps = ()
    minimum: float | None = None
    maximum: float | None = None
    no_value: str = NO_DATA
    mappings: Sequence[dashboard.ValueMapping] = ()
    overrides: Sequence[Override] = ()
    links: Sequence[tuple[str, str]] = ()
    transformations: Sequence[DataTransformerConfig] = ()
    interval: str | None = None
    time_from: str | None = None
    max_points: int | None = None


def _panel(
    kind: str,
    title: str,
    description: str,
    targets: Sequence[Target],
    look: Look,
    options: object,
    custom: object | None = None,
) -> Panel:
    first = targets[0]
    if look.colour and look.shades:
        colour = FieldColor(mode=FieldColorModeId.SHADES, fixed_color=look.colour)
    elif look.colour:
        colour = fixed(look.colour)
    elif look.steps:
        colour = FieldColor(mode=FieldColorModeId.THRESHOLDS)
    else:
        colour = FieldColor(mode=FieldColorModeId.PALETTE_CLASSIC)
    return Panel(
        type_val=kind,
        title=title,
        description=description,
        datasource=first.datasource,
        targets=list(targets),
        options=options,
        transformations=list(look.transformations),
        interval=look.interval,
        time_from=look.time_from,
        hide_time_override=True if look.time_from else None,
        max_data_points=look.max_points,
        repeat_direction=None,
        field_config=FieldConfigSource(
            defaults=FieldConfig(
                unit=look.unit,
                decimals=0 if look.unit == COUNT and look.decimals is None else look.decimals,
                min_val=look.minimum,
                max_val=look.maximum,
                color=colour,
                thresholds=thresholds(look.steps or ((None, GOOD),)),
                mappings=list(look.mappings),
                no_value=look.no_value,
                links=[dashboard.DashboardLink(title=text, url=url) for text, url in look.links],
                custom=custom,
            ),
            overrides=list(look.overrides),
        ),
    )


def stat_panel(title: str, description: str, targets: Sequence[Target], look: Look, *, names: bool = False) -> Panel:
    """The answer in figures, as they are at the end of the board's time range: `targets` are instant queries, whose
    value is not as old as a step of a long range. What is judged (`look.steps`) has a coloured ground."""
    options = stat.Options(
        graph_mode=common.BigValueGraphMode.NONE,
        color_mode=common.BigValueColorMode.BACKGROUND_SOLID if look.steps else common.BigValueColorMode.NONE,
        justify_mode=common.BigValueJustifyMode.AUTO,
        text_mode=common.BigValueTextMode.VALUE_AND_NAME if names else common.BigValueTextMode.VALUE,
        orientation=common.VizOrientation.AUTO,
        wide_layout=False,  # a name beside its figure would be as near to the figure before
        text=common.VizTextDisplayOptions(title_size=14, value_size=26),
        reduce_options=common.ReduceDataOptions(values=False, calcs=["last"], fields=""),
    )
    return _panel("stat", title, description, targets, look, options)


def _legend(targets: Sequence[Target]) -> common.VizLegendOptions:
    """Below the picture, which keeps its panel's width. A single series needs none: the title says what it is."""
    alone = len(targets) == 1 and "{{" not in getattr(targets[0], "legend_format", "{{")
    return common.VizLegendOptions(
        display_mode=common.LegendDisplayMode.LIST,
        placement=common.LegendPlacement.BOTTOM,
        show_legend=not alone,
        calcs=[],
    )


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions(mode=common.TooltipDisplayMode.MULTI, sort=common.SortOrder.DESCENDING)


def lines(
    title: str,
    description: str,
    targets: Sequence[Target],
    look: Look,
    *,
    fill: int = 8,
    stacked: bool = False,
    bars: bool = False,
    log: bool = False,
    soft_max: float | None = None,
) -> Panel:
    """A trend. Gaps stay gaps, but for those shorter than five minutes."""
    custom = timeseries.FieldConfig(
        draw_style=common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE,
        line_interpolation=common.LineInterpolation.LINEAR,
        line_width=1 if bars else 0 if stacked else 2,  # a line on a stack would paint its zeros
        fill_opacity=70 if bars or stacked else fill,
        gradient_mode=common.GraphGradientMode.NONE,
        show_points=common.VisibilityMode.AUTO,
        point_size=5,
        span_nulls=300_000,
        axis_soft_min=0,
        axis_soft_max=soft_max or SOFT_MAX.get(look.unit),
        axis_placement=common.AxisPlacement.AUTO,
        scale_distribution=common.ScaleDistributionConfig(
            type_val=common.ScaleDistribution.SYMLOG if log else common.ScaleDistribution.LINEAR,
            log=10 if log else None,
            linear_threshold=1 if log else None,
        ),
        stacking=common.StackingConfig(
            mode=common.StackingMode.NORMAL if stacked else common.StackingMode.NONE, group="A"
        ),
    )
    options = timeseries.Options(legend=_legend(targets), tooltip=_tooltip())
    no_value = NO_STEP if look.no_value in (QUIET, NO_DATA) else look.no_value
    look = replace(look, no_value=no_value, overrides=[*look.overrides, *map(_nothing, NOTHING)])
    return _panel("timeseries", title, description, targets, look, options, custom)


def bars(title: str, description: str, targets: Sequence[Target], look: Look, x_field: str) -> Panel:
    """One bar a period or category, with its value on it where it fits."""
    options = barchart.Options(
        x_field=x_field,
        orientation=common.VizOrientation.AUTO,
        show_value=common.VisibilityMode.AUTO,
        stacking=common.StackingMode.NONE,
        bar_width=0.9,
        group_width=0.8,
        bar_radius=0,
        x_tick_label_max_length=12,
        x_tick_label_spacing=100,
        # No size of text: a given size is drawn whether it fits or not.
        legend=common.VizLegendOptions(
            display_mode=common.LegendDisplayMode.LIST,
            placement=common.LegendPlacement.BOTTOM,
            show_legend=False,
            calcs=[],
        ),
        tooltip=common.VizTooltipOptions(mode=common.TooltipDisplayMode.SINGLE, sort=common.SortOrder.NONE),
    )
    custom = barchart.FieldConfig(fill_opacity=80, line_width=0, axis_soft_min=0)
    return _panel("barchart", title, description, targets, look, options, custom)


def grid(
    title: str,
    description: str,
    targets: Sequence[Target],
    look: Look,
    *,
    sort_by: tuple[str, bool] | None = None,
    small: bool = True,
) -> Panel:
    """A table. `sort_by` is a column and whether it descends."""
    options = table.Options(
        show_header=True,
        cell_height=common.TableCellHeight.SM if small else common.TableCellHeight.MD,
        sort_by=[common.TableSortByFieldState(display_name=sort_by[0], desc=sort_by[1])] if sort_by else [],
    )
    custom = common.TableFieldOptions(
        min_width=60, align=common.FieldTextAlignment.AUTO, inspect=False, filterable=False
    )
    return _panel("table", title, description, targets, look, options, custom)


def heat(title: str, description: str, targets: Sequence[Target], look: Look) -> Panel:
    """Buckets of a histogram over time; `look.unit` is the y axis.

    One hue, thinner where there is less: Grafana's schemes turn over or lose their middle on the light theme. No
    legend, which says «∞ … -∞» where all cells are empty: how many they are is in the tooltip.
    """
    options = heatmap.Options(
        calculate=False,
        cell_gap=1,
        color=heatmap.HeatmapColorOptions(
            mode=heatmap.HeatmapColorMode.OPACITY,
            scale=heatmap.HeatmapColorScale.EXPONENTIAL,
            fill=HEAT,
            # The first step is invisible: one answer beside a thousand must be past it. Empty cells are not drawn.
            min_val=-1,
            exponent=0.3,
            steps=1024,
        ),
        y_axis=heatmap.YAxisConfig(unit=look.unit, axis_placement=common.AxisPlacement.LEFT, reverse=False),
        rows_frame=heatmap.RowsHeatmapOptions(layout=common.HeatmapCellLayout.AUTO),
        cell_values=heatmap.CellValues(unit=COUNT),
        legend=heatmap.HeatmapLegend(show=False),
        tooltip=heatmap.HeatmapTooltip(mode=common.TooltipDisplayMode.SINGLE, y_histogram=True, show_color_scale=False),
        exemplars=heatmap.ExemplarConfig(color=MUTED),
        filter_values=heatmap.FilterValueRange(le=1e-9),
        show_value=common.VisibilityMode.NEVER,
    )
    return _panel("heatmap", title, description, targets, look, options, heatmap.FieldConfig())
