"""Secrets that are read from files: `…_FILE` beside the variable of each setting that holds one.

Kubernetes, Docker and systemd hand a secret over as a file, which neither `ps` nor a dump of the environment shows.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path

from otel_bridge.config.diagnostics import Diagnostics

SUFFIX = "_FILE"
SIZE_LIMIT = 64 << 10
"""Bytes of a file that is read: a key, a URL or a line of headers has fewer."""


def read(variable: str, environ: Mapping[str, str], diagnostics: Diagnostics) -> str | None:
    """The text of the file that `<variable>_FILE` names, without the line ends at its end; None where that is not set,
    or the file cannot be used, which is then added: with both names and nothing of what stands in it. An empty
    `variable` beside it is one that is not set."""
    name = variable + SUFFIX
    if name not in environ:
        return None
    path, place = environ[name], f"entorno: {name}"
    file = path if _is_a_path(path) else "(no se muestra: no parece una ruta)"
    if environ.get(variable):
        diagnostics.add(f"{place}: también está {variable}; quita una de las dos")
        return None
    try:
        if not path:
            raise ValueError("está vacía; se esperaba la ruta de un archivo")
        text = _text(Path(path))
    except FileNotFoundError:
        diagnostics.add(f"{place}: no existe el archivo {file}")
    except OSError as error:
        diagnostics.add(f"{place}: el archivo {file} no se puede leer: {error.strerror}")
    except ValueError as error:
        diagnostics.add(f"{place}: {f'{file}: ' if path else ''}{error}")
    else:
        return text
    return None


def _is_a_path(text: str) -> bool:
    """Whether it can be shown: who mistakes the variable writes the secret itself there, and that may have a slash."""
    if not text.isprintable() or re.search(r"://|[@=,]", text):
        return False
    parent = Path(text).parent
    return (text.startswith("/") and text.count("/") > 1) or (str(parent) not in ("/", ".") and parent.is_dir())


def _text(path: Path) -> str:
    """Raises OSError; ValueError with what is wrong with it."""
    if "\0" in str(path):
        raise ValueError("no es una ruta")
    if not stat.S_ISREG(path.stat().st_mode):  # a device has no end, and a pipe is empty when it is read again
        raise ValueError("no es un archivo")
    with path.open("rb") as opened:
        raw = opened.read(SIZE_LIMIT + 1)
    if len(raw) > SIZE_LIMIT:
        raise ValueError(f"tiene más de {SIZE_LIMIT >> 10} KiB; se esperaba el secreto solo")
    try:
        text = raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("no es texto en UTF-8") from None
    if not text:
        raise ValueError("el archivo está vacío")
    return text
