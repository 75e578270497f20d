"""otel-bridge-salud, «¿Puedo fiarme de lo que veo?»: the ledger, the way out, the door, what is used up."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from grafana.boards import colours, replicas, shared, variables
from grafana.boards.layout import Row, board
from grafana.boards.panels import (
    COUNT,
    DOWN,
    Look,
    buckets_over_time,
    column,
    dashed,
    grid,
    heat,
    instant,
    joined,
    lines,
    paint,
    query,
    quiet_mapping,
    rename,
    stat_panel,
    transform,
    value_mapping,
)
from grafana.boards.promql import (
    BAR,
    RANGE,
    buckets,
    counted,
    or_zero,
    quantile,
    rate,
    selector,
    suffixed,
    total,
    value,
)
from otel_bridge import catalog

UID = "otel-bridge-salud"
RECORDS = catalog.RECORDS.name
REQUESTS = catalog.REQUEST_DURATION
ACCEPTED = 'result="accepted"'
REJECTED = 'result="rejected"'
FINE_AT_ZERO = ((None, colours.FINE), (1.0, colours.FAIL))


def _answer() -> list[tuple[int, Panel]]:
    rejected = counted(RECORDS, REJECTED, window="5m")
    nowhere = f"(max({value(catalog.EXPORT_CONFIGURED)}) == 0)"
    used = f"max({value(catalog.JOURNAL_BYTES)} / {value(catalog.JOURNAL_LIMIT)})"
    displaced = f"(min({value(catalog.JOURNAL_IN_PLACE)}) == 0)"
    return [
        (
            6,
            stat_panel(
                "Puente",
                "Si Prometheus lee las métricas del puente. Caído, o sin una réplica que lleve la cuenta: lo que "
                "muestran los demás tableros es viejo. Si faltan réplicas, las demás siguen.",
                [instant(replicas.standing())],
                Look(
                    unit="none",
                    steps=((None, colours.FAIL), (0.5, colours.NEAR), (1.0, colours.FINE)),
                    mappings=[
                        value_mapping(
                            {
                                "1": ("En marcha", None),
                                "0.5": ("Faltan réplicas", None),
                                "0": ("Caído", None),
                                "-1": ("Nadie lleva la cuenta", None),
                            }
                        ),
                        quiet_mapping("Sin datos"),
                    ],
                    no_value="Prometheus no lo busca",
                ),
            ),
        ),
        (
            6,
            stat_panel(
                "Libro de cuentas",
                "aceptados = exportados + pendientes + apartados, cada uno contado por su lado. Cualquier "
                "hueco rompe una promesa: hay registros perdidos o contados dos veces.",
                [instant(f"max(abs({value(catalog.LEDGER_GAP)}))")],
                Look(
                    unit="prefix:Hueco: ",
                    decimals=0,
                    steps=FINE_AT_ZERO,
                    mappings=[value_mapping({"0": ("Cuadra", None)}), quiet_mapping("Sin datos")],
                    no_value=DOWN,
                ),
            ),
        ),
        (
            6,
            stat_panel(
                "Retraso",
                "Edad del registro más viejo que espera a ser exportado al almacén de trazas. Las métricas no esperan. "
                "Sin destino configurado no hay retraso que juzgar: los registros esperan en el diario.",
                [instant(f"(max({value(catalog.EXPORT_LAG)}) unless on () {nowhere}) or on () {nowhere} - 1")],
                Look(
                    unit="s",
                    decimals=1,
                    steps=((None, colours.FINE), (30.0, colours.NEAR), (300.0, colours.FAIL)),
                    mappings=[
                        value_mapping({"-1": ("Sin destino configurado", colours.CLEAR)}),
                        quiet_mapping("Sin datos"),
                    ],
                    no_value=DOWN,
                ),
            ),
        ),
        (
            6,
            stat_panel(
                "Apartados",
                "Registros que el almacén de trazas rechaza y esperan a una persona: «otel-bridge journal parked».",
                [instant(f"sum({value(catalog.PARKED)})")],
                Look(unit=COUNT, decimals=0, steps=FINE_AT_ZERO, no_value=DOWN, mappings=[quiet_mapping("Sin datos")]),
            ),
        ),
        (
            6,
            stat_panel(
                "Rechazados",
                "Parte de los registros de los últimos 5 minutos que se rechazó, diciéndoselo a quien los envió.",
                [instant(or_zero(f"{rejected} / ({counted(RECORDS, window='5m')} > 0)"))],
                Look(
                    unit="percentunit",
                    decimals=2,
                    mappings=[quiet_mapping("Sin datos")],
                    steps=((None, colours.FINE), (0.01, colours.NEAR), (0.05, colours.FAIL)),
                ),
            ),
        ),
        (
            6,
            stat_panel(
                "Respuesta p99",
                "El 99 % de las peticiones se respondió antes que esto, ya escritas en disco. Sin tráfico "
                "no hay valor.",
                [instant(quantile(0.99, REQUESTS, window="5m"))],
                Look(
                    unit="s",
                    steps=((None, colours.FINE), (0.25, colours.NEAR), (1.0, colours.FAIL)),
                    mappings=[quiet_mapping()],
                    no_value="Sin tráfico",
                ),
            ),
        ),
        (
            6,
            stat_panel(
                "Diario usado",
                "Parte del espacio permitido que ocupa el diario. Lleno, el puente deja de aceptar. Fuera de su sitio: "
                "sus archivos se borraron, movieron o reemplazaron, y no acepta nada.",
                [instant(f"({used} unless on () {displaced}) or on () {displaced} - 1")],
                Look(
                    unit="percentunit",
                    decimals=1,
                    steps=((None, colours.FINE), (0.7, colours.NEAR), (0.9, colours.FAIL)),
                    mappings=[
                        value_mapping({"-1": ("Fuera de su sitio", colours.FAIL)}),
                        quiet_mapping("Sin datos"),
                    ],
                    no_value=DOWN,
                ),
            ),
        ),
        (
            6,
            stat_panel(
                "Tiempo en marcha",
                "Cuánto lleva este proceso sin reiniciarse; de varias réplicas, la que menos.",
                [instant(f"time() - max({value(catalog.START_TIME)})")],
                Look(
                    unit="dtdhms",
                    decimals=0,
                    mappings=[quiet_mapping("Sin datos")],
                    no_value=DOWN,
                ),
            ),
        ),
    ]


def _ledger() -> list[tuple[int, Panel]]:
    return [
        (
            12,
            lines(
                "Lo que entra y lo que sale",
                "Registros aceptados (ya en disco) y exportados al almacén de trazas, por segundo. Si salen "
                "menos de los que entran, crecen los pendientes.",
                [
                    query(total(rate(RECORDS, ACCEPTED)), "Aceptados", ref="in"),
                    query(total(rate(catalog.EXPORTED.name)), "Exportados", ref="out"),
                ],
                Look(
                    unit="suffix: /s",
                    no_value=DOWN,
                    overrides=paint({"Aceptados": colours.INPUT, "Exportados": colours.OUTPUT}),
                ),
                fill=0,
            ),
        ),
        (
            12,
            lines(
                "Pendientes y apartados",
                "Registros que esperan a ser exportados y los que el almacén rechaza. Con el destino caído "
                "los pendientes crecen y no se pierde ninguno.",
                [
                    query(f"sum({value(catalog.PENDING)})", "Pendientes", ref="pending"),
                    query(f"sum({value(catalog.PARKED)})", "Apartados", ref="parked"),
                    query(f"sum({value(catalog.LEDGER_GAP)})", "Hueco del libro", ref="gap"),
                ],
                Look(
                    unit=COUNT,
                    decimals=0,
                    no_value=DOWN,
                    overrides=paint(
                        {"Pendientes": colours.NEUTRAL, "Apartados": colours.WARNING, "Hueco del libro": colours.BAD}
                    ),
                ),
            ),
        ),
        (
            12,
            lines(
                "Retraso de la exportación",
                "Edad del registro más viejo que espera. Un escalón que no baja es un destino que no contesta.",
                [query(f"max({value(catalog.EXPORT_LAG)})", "Retraso")],
                Look(unit="s", no_value=DOWN, overrides=paint({"Retraso": colours.OUTPUT})),
                fill=20,
            ),
        ),
        (
            12,
            lines(
                "Peticiones al almacén de trazas",
                "Peticiones OTLP por segundo según su respuesta. «Registro rechazado»: se aparta ese "
                "registro y siguen los demás. «Mal configurada»: la clave o la dirección del destino. Donde las "
                "métricas se empujan por OTLP, también sus envíos.",
                [
                    query(total(rate(catalog.EXPORT_ATTEMPTS.name), "result"), "{{result}}"),
                    query(total(rate(catalog.METRICS_PUSHES.name), "result"), "métricas: {{result}}", ref="B"),
                ],
                Look(unit="suffix: /s", no_value=DOWN, overrides=rename(colours.ATTEMPTS)),
                stacked=True,
            ),
        ),
    ]


def _door() -> list[tuple[int, Panel]]:
    short = 'label_replace(%s, "reason", "$1", "reason", "urn:otel-bridge:(.+)")'
    first_digit = 'label_replace(%s, "clase", "${1}xx", "status", "(.).*")'

    def reasons(window: str) -> str:
        return counted(RECORDS, REJECTED, by=("reason",), window=window, relabel=short)

    def statuses(window: str) -> str:
        return counted(suffixed(REQUESTS, "count"), by=("clase",), window=window, relabel=first_digit)

    return [
        (
            9,
            lines(
                "Registros en la puerta",
                "Registros por barra según lo que fue de ellos: aceptados (en disco), repetidos (un "
                "reintento ya contado) o rechazados (devueltos con su motivo).",
                [query(counted(RECORDS, by=("result",), window=BAR), "{{result}}")],
                Look(unit=COUNT, interval="1m", max_points=360, no_value=DOWN, overrides=rename(colours.RESULTS)),
                bars=True,
                stacked=True,
            ),
        ),
        (
            9,
            lines(
                "Rechazos por motivo",
                "Registros rechazados por barra y su motivo; cada motivo tiene su página en «Errores».",
                [query(f"{reasons(BAR)} > 0", "{{reason}}")],
                Look(
                    unit=COUNT,
                    interval="1m",
                    max_points=360,
                    no_value="Ningún rechazo",
                    colour=colours.WARNING,
                    shades=True,
                ),
                bars=True,
                stacked=True,
            ),
        ),
        (
            6,
            shared.counts(
                "Rechazos del intervalo",
                "Registros rechazados del intervalo elegido, por su motivo, de más a menos.",
                reasons(RANGE),
                "reason",
                "Motivo",
                "Ningún rechazo",
            ),
        ),
        (
            8,
            lines(
                "Respuestas por estado",
                "Peticiones HTTP por barra: 2xx aceptadas, 4xx culpa de quien envía, 5xx culpa del puente.",
                [query(statuses(BAR), "{{clase}}")],
                Look(
                    unit=COUNT,
                    interval="1m",
                    max_points=360,
                    no_value=DOWN,
                    overrides=paint({"2xx": colours.GOOD, "4xx": colours.WARNING, "5xx": colours.BAD}),
                ),
                bars=True,
                stacked=True,
            ),
        ),
        (
            5,
            shared.counts(
                "Respuestas",
                "Peticiones HTTP del intervalo elegido: 2xx aceptadas, 4xx culpa de quien envía, 5xx culpa del puente.",
                statuses(RANGE),
                "clase",
                "Estado",
                "Sin tráfico",
            ),
        ),
        (
            11,
            lines(
                "p99 por ruta",
                "Lo que tarda el 1 % más lento de las peticiones de cada ruta.",
                [query(quantile(0.99, REQUESTS, by=("route", "method"), window=BAR), "{{method}} {{route}}")],
                Look(unit="s", no_value="Sin tráfico", interval="1m"),
                fill=0,
            ),
        ),
    ]


def _speed() -> list[tuple[int, Panel]]:

    kinds = ((0.5, "p50", colours.P50), (0.99, "p99", colours.P99))
    return [
        (
            12,
            lines(
                "Tiempo de respuesta",
                "Lo que tarda el puente en contestar, con el registro ya en disco.",
                [query(quantile(q, REQUESTS, window=BAR), name, ref=name) for q, name, _ in kinds],
                Look(
                    unit="s",
                    no_value="Sin tráfico",
                    interval="1m",
                    overrides=paint({name: colour for _, name, colour in kinds}),
                ),
            ),
        ),
        (
            12,
            heat(
                "Cómo se reparte el tiempo de respuesta",
                "Cuántas peticiones tardaron cuánto.",
                [buckets_over_time(buckets(REQUESTS, empty="Sin tráfico"))],
                Look(unit="s", no_value="Sin tráfico", interval="1m", max_points=60),
            ),
        ),
    ]


def _room() -> list[tuple[int, Panel]]:
    return [
        (
            8,
            lines(
                "Tamaño del diario",
                "Bytes del diario en disco y su límite: el configurado o lo que cabe. Al llegar, el puente "
                "responde 503 y no toma nada.",
                [
                    query(f"max({value(catalog.JOURNAL_BYTES)})", "Diario", ref="used"),
                    query(f"max({value(catalog.JOURNAL_LIMIT)})", "Límite", ref="limit"),
                ],
                Look(unit="bytes", no_value=DOWN, overrides=[*paint({"Diario": colours.NEUTRAL}), dashed("Límite")]),
                fill=20,
            ),
        ),
        (
            8,
            lines(
                "Series en uso",
                "Series de métricas de los GPT y cuántas puede haber como mucho. Nadie puede crear más desde fuera.",
                [
                    query(f"max({value(catalog.SERIES)})", "En uso", ref="used"),
                    query(f"max({value(catalog.SERIES_LIMIT)})", "Límite", ref="limit"),
                ],
                Look(
                    unit=COUNT,
                    decimals=0,
                    no_value=DOWN,
                    overrides=[*paint({"En uso": colours.NEUTRAL}), dashed("Límite")],
                ),
                fill=20,
            ),
        ),
        (
            8,
            lines(
                "Valores agrupados",
                "Registros por barra cuyo modelo o error se contó como «otro» porque había demasiados distintos.",
                [query(counted(catalog.SERIES_CAPPED.name, by=("label",), window=BAR), "{{label}}")],
                Look(unit=COUNT, interval="1m", max_points=360, no_value=DOWN, overrides=rename(colours.CAPPED)),
                bars=True,
                stacked=True,
                soft_max=1,
            ),
        ),
    ]


def _process() -> list[tuple[int, Panel]]:
    worker = catalog.WORKER_UP.labels[0]
    went_back = selector(catalog.JOURNAL_WENT_BACK.name)
    return [
        (
            8,
            grid(
                "Trabajos de fondo",
                "Lo que el puente hace por detrás: si corre, y cuántas veces murió y se levantó en el "
                "intervalo elegido.",
                [
                    instant(f"min by ({worker}) ({value(catalog.WORKER_UP)})", ref="A", as_table=True),
                    instant(
                        # Of the process: the one counter that falls to 0 at a restart.
                        f"sum by ({worker}) (increase({value(catalog.WORKER_RESTARTS)}[$__range]))"
                        f" or 0 * min by ({worker}) ({value(catalog.WORKER_UP)})",
                        ref="B",
                        as_table=True,
                    ),
                ],
                Look(
                    unit=COUNT,
                    no_value=DOWN,
                    transformations=joined({worker: "Trabajo"}, {"Value #A": "Estado", "Value #B": "Reinicios"}),
                    overrides=[
                        column(
                            "Estado",
                            mappings=[
                                value_mapping({"1": ("Corre", colours.CLEAR), "0": ("Parado", colours.FAIL)}).to_json()
                            ],
                            custom__cellOptions={"type": "color-background", "mode": "basic"},
                        ),
                        column("Reinicios", decimals=0),
                    ],
                ),
            ),
        ),
        (
            8,
            lines(
                "Reinicios",
                "Veces que el proceso arrancó por hora. Un reinicio no pierde ni repite nada; muchos son un problema. "
                "«Con otro diario»: arrancó con uno que no es el que se dejó (una copia, o uno más antiguo).",
                [
                    query(f"sum(changes({value(catalog.START_TIME)}[1h]))", "Arranques por hora"),
                    query(f"max(changes({went_back}[1h])) > 0", "Con otro diario", ref="B"),
                ],
                Look(
                    unit=COUNT,
                    decimals=0,
                    no_value=DOWN,
                    overrides=paint({"Arranques por hora": colours.WARNING, "Con otro diario": colours.FAIL}),
                ),
                fill=20,
                soft_max=1,
            ),
        ),
        (8, shared.firing_alerts('alertname=~"Bridge.*"', "Ninguna alerta activa")),
    ]


def _privacy() -> list[tuple[int, Panel]]:
    build = ", ".join(catalog.BUILD_INFO.labels)
    return [
        (
            8,
            lines(
                "Datos personales retirados",
                "Trozos de datos personales o secretos que se quitaron del contenido, por barra y según su "
                "clase. Nunca salen del puente.",
                [query(f"{counted(catalog.REDACTIONS.name, by=('kind',), window=BAR)} > 0", "{{kind}}")],
                Look(unit=COUNT, interval="1m", max_points=360, no_value="Ninguno en el intervalo"),
                bars=True,
                stacked=True,
            ),
        ),
        (
            5,
            shared.counts(
                "Retirados",
                "Trozos de datos personales o secretos que se quitaron del contenido en el intervalo elegido.",
                counted(catalog.REDACTIONS.name, by=("kind",)),
                "kind",
                "Clase",
                "Ninguno en el intervalo",
            ),
        ),
        (
            6,
            shared.counts(
                "Historia traída",
                "Registros que se trajeron como historia (`otel-bridge import`) en el intervalo elegido. Están en las "
                "trazas, las ventanas y el libro mayor, y en ninguna cifra de hoy.",
                counted(catalog.HISTORIC.name, by=("kind",)),
                "kind",
                "Clase",
                "Ninguno en el intervalo",
            ),
        ),
        (
            5,
            grid(
                "Versión",
                "Qué versión del puente corre, con qué Python y qué diario.",
                [instant(f"max by ({build}) ({value(catalog.BUILD_INFO)})", as_table=True)],
                Look(
                    unit="none",
                    no_value=DOWN,
                    transformations=[
                        transform(
                            "organize",
                            excludeByName={"Time": True, "Value": True},
                            indexByName={"version": 0, "python": 1, "journal": 2},
                            renameByName={"version": "Versión", "python": "Python", "journal": "Diario"},
                        )
                    ],
                ),
            ),
        ),
    ]


def _configuration() -> list[tuple[int, Panel]]:
    def of(title: str, description: str, metric: catalog.Metric, texts: dict[str, tuple[str, str]]) -> Panel:
        return stat_panel(
            title,
            description,
            [instant(f"max({value(metric)})")],
            Look(
                unit="none",
                steps=((None, colours.CLEAR),),
                mappings=[value_mapping(texts), quiet_mapping("Sin datos")],
                no_value=DOWN,
            ),
        )

    believed = f"min({value(catalog.CLOCK_BELIEVED)})"
    skew = f"max(abs({value(catalog.CLOCK_SKEW)}))"
    return [
        (
            6,
            of(
                "Destino de trazas",
                "Si hay un destino OTLP configurado. Sin él, los registros esperan en el diario hasta que lo haya.",
                catalog.EXPORT_CONFIGURED,
                {"1": ("Configurado", colours.FINE), "0": ("Sin destino", colours.NEAR)},
            ),
        ),
        (
            6,
            of(
                "Configuración",
                "Si el fichero de configuración es el que está en vigor. Con un error en él, sigue en vigor el "
                "anterior: «otel-bridge check» dice cuál es.",
                catalog.CONFIG_RELOAD_FAILED,
                {"0": ("En vigor", colours.FINE), "1": ("Con errores", colours.FAIL)},
            ),
        ),
        (
            6,
            of(
                "Límites de ritmo",
                "Con Redis, el límite de peticiones se cuenta entre todos los procesos. Si Redis no responde, cada "
                "proceso cuenta por su lado.",
                catalog.LIMITS_FALLBACK,
                {"0": ("Normales", colours.FINE), "1": ("Por proceso", colours.NEAR)},
            ),
        ),
        (
            6,
            stat_panel(
                "Reloj",
                "Si el puente se fía del reloj de su máquina. Tras un salto no: sigue con su hora y no borra nada "
                "por la nueva; aquí, por cuánto se apartan las dos.",
                [instant(f"({skew} and on () {believed} == 0) or on () {believed} - 2")],
                Look(
                    unit="s",
                    steps=((None, colours.CLEAR), (0.0, colours.NEAR)),
                    mappings=[value_mapping({"-1": ("En hora", colours.FINE)}), quiet_mapping("Sin datos")],
                    no_value=DOWN,
                ),
            ),
        ),
    ]


def build() -> Dashboard:
    return board(
        UID,
        # gpt and tipo filter nothing here: they ride along, so that the links back keep what was chosen.
        variables=variables.carried(hidden=("gpt", "tipo", "trazas")),
        since="3h",
        refresh="30s",
        of_gpt=None,
        rows=[
            Row(100, "¿Puedo fiarme?", 4, _answer()),
            Row(200, "Libro de cuentas y salida", 8, _ledger()),
            Row(300, "La puerta", 8, _door()),
            Row(400, "Rapidez", 9, _speed()),
            Row(500, "Espacio", 9, _room()),
            Row(600, "Proceso y alertas", 9, _process()),
            Row(900, "Réplicas", 7, replicas.panels()),
            Row(700, "Privacidad y versión", 7, _privacy()),
            Row(800, "Configuración y reloj", 4, _configuration()),
        ],
    )
