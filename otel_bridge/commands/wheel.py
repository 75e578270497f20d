"""A wheel of this very installation: what pip has installed, packed again as it was."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1]
OF_THE_INSTALLER = frozenset(("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json"))
"""What is in a *.dist-info that was in no wheel, and the list that is made anew."""
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""A zip's first: the same files make the same bytes."""


class Wheel(NamedTuple):
    name: str
    content: bytes


def of_this_installation() -> Wheel | None:
    """None where it is none: a repository, an editable installation."""
    try:
        installed = distribution("otel-bridge")
    except PackageNotFoundError:
        return None
    files = {file.as_posix(): Path(str(installed.locate_file(file))) for file in installed.files or ()}
    if files.get("otel_bridge/__init__.py") != PACKAGE / "__init__.py" or not (PACKAGE / "files").is_dir():
        return None
    names = sorted(name for name in files if _was_in_the_wheel(name))
    info = next(name.partition("/")[0] for name in names if name.endswith(".dist-info/WHEEL"))
    record, packed = [], io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            content, mode = files[name].read_bytes(), files[name].stat().st_mode
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}")
            _add(archive, name, content, mode)
        record.append(f"{info}/RECORD,,")
        _add(archive, f"{info}/RECORD", "".join(f"{line}\n" for line in record).encode(), 0o100644)
    return Wheel(f"{info.removesuffix('.dist-info')}-py3-none-any.whl", packed.getvalue())


def _was_in_the_wheel(name: str) -> bool:
    folders = name.split("/")
    if ".." in folders or "__pycache__" in folders:
        return False
    return not (folders[0].endswith(".dist-info") and folders[-1] in OF_THE_INSTALLER)


def _add(archive: zipfile.ZipFile, name: str, content: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(name, _FIRST_DAY)
    entry.external_attr = (0o100755 if mode & 0o111 else 0o100644) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)
