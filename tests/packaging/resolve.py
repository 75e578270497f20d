"""pip, resolving a lock for another Python and machine than those it runs on. Installs nothing.

    python -m tests.packaging.resolve 3.14.0 aarch64 requirements/run.txt

pip's own `--python-version` chooses wheels, but markers are evaluated for the interpreter that runs pip
(https://github.com/pypa/pip/issues/11664); so their environment is replaced here, in this process alone.
"""

from __future__ import annotations

import sys

from pip._internal.cli.main import main
from pip._vendor.packaging import markers

# What wheels for Debian 12 (glibc 2.36) may be tagged with.
GLIBC = ("2_5", "2_12", "2_17", "2_24", "2_26", "2_27", "2_28", "2_31", "2_34")


def resolve(python: str, machine: str, lock: str) -> int:
    """pip's exit code for `lock` on CPython `python` (all three parts of its version) and Linux on `machine`."""
    here = markers.default_environment()
    there = {
        **here,
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "implementation_version": python,
        "platform_machine": machine,
    }
    markers.default_environment = lambda: there
    platforms = [f"--platform=manylinux_{glibc}_{machine}" for glibc in GLIBC]
    # Nothing is compiled: a requirement without a wheel for this Python would be an error at a user's.
    wanted = ["--require-hashes", "--only-binary=:all:", f"--python-version={python}", "--implementation=cp"]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries=2"]
    return main(
        ["install", "--dry-run", "--ignore-installed", "--target=nowhere", *wanted, *platforms, *quiet, "-r", lock]
    )


if __name__ == "__main__":
    sys.exit(resolve(*sys.argv[1:4]))
