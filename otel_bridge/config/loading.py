"""Loading: from a file, the environment and the command line to one `Config`."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from otel_bridge.config import oauth, secret_files, served_certificate
from otel_bridge.config.diagnostics import NOT_SHOWN, Diagnostics, shown
from otel_bridge.config.gpts import Gpt, read_gpts
from otel_bridge.config.kubernetes import is_of_a_service
from otel_bridge.config.otlp import check_sdk, read_otlp, read_push, read_resource, read_service_name
from otel_bridge.config.proxies import VARIABLES as PROXY_VARIABLES
from otel_bridge.config.settings import ENV_PREFIX, SETTINGS, Config, Setting

DEFAULT_FILE = "otel-bridge.toml"
SHIPPED = Path(__file__).parents[1] / "default.toml"
"""The configuration inside the package, a copy of the repository's `otel-bridge.toml`: read where nobody named a file
and the working directory has none."""
FILE_VARIABLE = ENV_PREFIX + "CONFIG"
"""The variable that names the file."""

_BY_KEY = {setting.key: setting for setting in SETTINGS}
_BY_VARIABLE = {setting.env: setting for setting in SETTINGS}
_BY_FILE_VARIABLE = {setting.env + secret_files.SUFFIX: setting for setting in SETTINGS if setting.in_file}


def load(path: str | None, environ: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> Config:
    """What `read` reads. Raises StartRefused with all that is wrong."""
    config, diagnostics = read(path, environ, overrides)
    diagnostics.refuse()
    return config


def read(
    path: str | None, environ: Mapping[str, str], overrides: Mapping[str, object] | None = None
) -> tuple[Config, Diagnostics]:
    """The configuration of `path` (default `otel-bridge.toml` in the working directory, else `SHIPPED`), with the
    environment and then the command line (`overrides`, None where an argument is not given) over it; and what is wrong
    with it. Where something is, defaults stand for it: the caller adds what it has to say and calls `refuse`."""
    diagnostics = Diagnostics()
    environ = {
        name: text
        for name, text in environ.items()
        if not (name.startswith(ENV_PREFIX) and is_of_a_service(name, text))
    }
    source = _source(path, environ)
    arguments = {key: raw for key, raw in (overrides or {}).items() if raw is not None}
    from_files = {name: setting for name, setting in _BY_FILE_VARIABLE.items() if name in environ}
    variables = {_BY_VARIABLE[name].key for name in environ if name in _BY_VARIABLE}
    variables |= {setting.key for setting in from_files.values()}
    values: dict[str, Any] = {}
    gpts: dict[str, Gpt] = {}

    def take(setting: Setting[Any], place: str, raw: object, hidden: bool = False) -> None:
        try:
            values[setting.key] = setting.read(raw)
        except ValueError as error:
            if setting.secret or hidden:
                diagnostics.add(f"{place}: se encontró {NOT_SHOWN}, se esperaba {error}")
            else:
                diagnostics.wrong(place, raw, error)
            diagnostics.uncertain.add(setting.key)

    document = _document(source, diagnostics)
    for key, raw in (document or {}).items():
        if key == "gpts":
            gpts = read_gpts(source, raw, diagnostics)
        elif key not in _BY_KEY:
            nearest = diagnostics.unknown(f"{source}: clave desconocida {shown(key)}", key, [*_BY_KEY, "gpts"])
            if nearest is not None:
                diagnostics.uncertain.add(nearest)
        elif key not in variables and key not in arguments:
            take(_BY_KEY[key], f"{source}: {key}", raw)
    if document is not None and "gpts" not in document and "gpts" not in diagnostics.uncertain:
        read_gpts(source, {}, diagnostics)
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX) or name == FILE_VARIABLE:
            continue
        if name in from_files:
            setting = from_files[name]
            if setting.key not in arguments:
                text = secret_files.read(setting.env, environ, diagnostics)
                if text is None:
                    diagnostics.uncertain.add(setting.key)
                else:
                    take(setting, f"entorno: {name}", text, hidden=True)
        elif name not in _BY_VARIABLE:
            known = {**_BY_VARIABLE, **_BY_FILE_VARIABLE}
            nearest = diagnostics.unknown(f"entorno: variable desconocida {name}", name, [*known])
            if nearest is not None:
                diagnostics.uncertain.add(known[nearest].key)
        elif _BY_VARIABLE[name].key not in arguments and name + secret_files.SUFFIX not in from_files:
            take(_BY_VARIABLE[name], f"entorno: {name}", environ[name])
    otlp, resource = read_otlp(environ, diagnostics), read_resource(environ, diagnostics)
    push = read_push(environ, diagnostics)
    for key, raw in arguments.items():
        take(_BY_KEY[key], f"línea de órdenes: --{key.replace('_', '-')}", raw)
    config = Config(
        **values,
        gpts=gpts,
        otlp=otlp,
        push=push,
        resource=resource,
        service_name=read_service_name(environ, diagnostics),
        source=source,
        proxy_variables=tuple((name, environ[name]) for name in sorted(PROXY_VARIABLES & environ.keys())),
    )
    if config.otlp is not None and config.request_spans != "off":
        check_sdk(environ, diagnostics)
    _check_together(config, diagnostics)
    oauth.check(config, environ, diagnostics)
    served_certificate.check(config, diagnostics)
    return config, diagnostics


def log_format(path: str | None, environ: Mapping[str, str]) -> str:
    """How to log until the configuration is read, and why it could not be: as it says, where it can be told."""
    setting = _BY_KEY["log_format"]
    raw: object = environ.get(setting.env)
    if raw is None:
        raw = (_document(_source(path, environ), Diagnostics()) or {}).get(setting.key, setting.default)
    try:
        return str(setting.read(raw))
    except ValueError:
        return str(setting.default)


def _check_together(config: Config, diagnostics: Diagnostics) -> None:
    """Adds what cannot work although each setting is good by itself."""
    for gpt in config.gpts.values() if "retention_days" not in diagnostics.uncertain else ():
        if gpt.retention_days is not None and gpt.retention_days > config.retention_days:
            diagnostics.add(
                f"{config.source}: gpts.{gpt.id}.retention_days: se encontró {gpt.retention_days:g}, y el diario no "
                f"guarda nada más tiempo que su propio retention_days ({config.retention_days:g}); se esperaba eso o "
                "menos. Para guardar este GPT más tiempo, sube el del diario y da a los demás el suyo"
            )
    same_port = config.port != 0 and config.port == config.metrics_port and _share(config.host, config.metrics_host)
    if same_port and not diagnostics.uncertain & {"host", "port", "metrics_host", "metrics_port"}:
        diagnostics.add(
            f"{config.source}: metrics_port: se encontró {config.metrics_port}, que también es el puerto de la "
            "API; se esperaba otro (--metrics-port)"
        )


def _share(host: str, other: str) -> bool:
    """Whether two listeners on one port would meet: on the same address, or where one listens on all of them."""
    one, two = ({"localhost": "127.0.0.1"}.get(name, name) for name in (host, other))
    if one == two or "::" in (one, two):
        return True
    return "0.0.0.0" in (one, two) and ":" not in one + two  # noqa: S104


def _source(path: str | None, environ: Mapping[str, str]) -> Path:
    named = path or environ.get(FILE_VARIABLE)
    source = Path(named or DEFAULT_FILE)
    if not named:
        try:
            source.lstat()  # a link to nowhere is a mistake, not an absence, and so is what may not be looked at
        except FileNotFoundError:
            return SHIPPED
        except OSError:
            pass
    return source


def _document(source: Path, diagnostics: Diagnostics) -> dict[str, Any] | None:
    """The file's keys and tables, in its order; None where it cannot be read."""
    try:
        if not stat.S_ISREG(source.stat().st_mode):  # a device has no end, and a pipe may have no beginning
            diagnostics.add(f"{source}: no se puede leer: no es un archivo normal. Nombra uno con --config.")
            return None
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        diagnostics.add(
            f"{source}: no existe ese archivo de configuración. Nombra uno con --config, o que lo escriba "
            "`otel-bridge init`."
        )
    except OSError as error:
        diagnostics.add(f"{source}: no se puede leer: {error.strerror}. Permite leerlo a este usuario, o nombra otro.")
    except UnicodeDecodeError as error:
        diagnostics.add(f"{source}: no se puede leer: {error}")
    except tomllib.TOMLDecodeError as error:
        diagnostics.add(f"{source}: no es TOML válido: {error}")
    except (ValueError, RecursionError):  # a number of thousands of digits, a list in a list in a list …
        diagnostics.add(
            f"{source}: no es TOML válido: un número es demasiado largo, o hay demasiadas tablas una dentro de otra"
        )
    return None
