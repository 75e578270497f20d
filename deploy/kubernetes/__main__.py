"""`python -m deploy.kubernetes` writes the plain manifests from the chart, with the program that HELM names, else
`helm`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from deploy.kubernetes import CHART, files


def main() -> int:
    helm = shutil.which(os.environ.get("HELM") or "helm")
    if helm is None:
        print(
            "no hay ningún helm en PATH ni en HELM. Con Go se compila así: "
            "(cd tests/deploy/go && go build -o /tmp/helm helm.sh/helm/v4/cmd/helm), y HELM=/tmp/helm make manifests",
            file=sys.stderr,
        )
        return 2
    try:
        wanted = files(helm)
    except subprocess.CalledProcessError as error:
        print(f"helm no pudo con el chart (código {error.returncode}): {helm} lint {CHART}", file=sys.stderr)
        return 1
    for path, text in wanted.items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"escrito {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
