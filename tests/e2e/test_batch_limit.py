"""How many events a batch may have is what the documents say: their number is posted, and one more."""

from __future__ import annotations

import re

import pytest

from otel_bridge import errors
from tests.docs.markdown import DOCS
from tests.e2e.conftest import Pair
from tests.harness.bridge import GUIDE_EVENT

WORDS = {
    "guia.md": r"envía un arreglo: hasta (\d[\d ]*) eventos",
    "errores.md": r"8 MiB en un lote o (\d[\d ]*) elementos",
}


def documented(page: str) -> int:
    found = re.findall(WORDS[page], (DOCS / page).read_text(encoding="utf-8").replace("\u00a0", " "))
    assert len(found) == 1, page
    return int(found[0].replace(" ", ""))


@pytest.mark.parametrize("page", WORDS)
def test_every_document_has_the_same_number(shared: Pair, page: str) -> None:
    document = shared.bridge.http.get(f"{shared.bridge.url}/openapi.json", timeout=10).json()
    body = document["paths"]["/api/events"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert re.findall(r"'maxItems': (\d+)", str(body)) == [str(documented(page))]


def test_as_many_as_documented_are_taken_and_one_more_is_refused_whole(shared: Pair) -> None:
    bridge, most = shared.bridge, documented("guia.md")
    session = bridge.session()
    batch = [{**GUIDE_EVENT, "sesion_id": session, "contenido": ""}] * most
    assert bridge.post("/events", batch).status_code == 201
    more = bridge.post("/events", [*batch, batch[0]])
    assert (more.status_code, more.json()["type"]) == (413, errors.BODY_TOO_LARGE.type)
    # With something wrong in it, it is read another way.
    mixed = bridge.post("/events", [*batch, {"tipo": 1}])
    assert (mixed.status_code, mixed.json()["type"]) == (413, errors.BODY_TOO_LARGE.type)
    state = bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=10).json()
    assert state["eventos"] == most
