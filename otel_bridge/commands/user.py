"""`otel-bridge user`: the hash of a user, and everything of him taken out of the journal."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from otel_bridge import journal
from otel_bridge.commands.configuration import load
from otel_bridge.config import Config
from otel_bridge.errors import StartRefused
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import Erased, ErasingPlace, Remains, Survey, Which
from otel_bridge.ops.going_back import moment
from otel_bridge.privacy.audit import audit_path, note
from otel_bridge.privacy.users import UserHasher, key_file, load_or_create_key
from otel_bridge.records import part_trace_id

STANDARD_INPUT = STANDARD_OUTPUT = "-"
TRACES_AT_ONCE = 500
"""Trace ids in one command for Tempo, which takes 1,000 at the most."""
_DELETE_SERIES = "/api/v1/admin/tsdb/delete_series?match[]"
_HASH = re.compile(r"[0-9a-f]{16}")


def hash_of(arguments: argparse.Namespace) -> int:
    """Prints the hash, and nothing else."""
    loaded = load(arguments)
    print(_hasher(loaded)(_user_id(arguments.user)))
    return 0


def forget(arguments: argparse.Namespace) -> int:
    """Says what there is of a user; with `--yes`, takes it out."""
    loaded = load(arguments)
    user = _hash_of(loaded, arguments)
    which = Which(user, frozenset(arguments.gpt) if arguments.gpt else None)
    audit = _audit(loaded, arguments.audit)
    with contextlib.closing(journal.erasing(loaded.journal, CONSUMER)) as place:
        found = journal.survey(place, which)
        _refuse_unknown(place, which, found, loaded)
        try:
            if arguments.json:
                print(json.dumps(_values(found, which)))
            else:
                _tell(found, which, loaded)
            sys.stdout.flush()  # no later run can name these traces, whatever becomes of this one
        except OSError as error:
            raise StartRefused(f"no se puede escribir qué hay: {error.strerror}. No se ha borrado nada.") from None
        if not arguments.yes:
            if not arguments.json and not found.empty:
                print("\nNo se ha cambiado nada. Para borrarlo: la misma orden con --yes.")
            return 0
        done, remains, elsewhere = _erase(place, which, found, audit, quiet=arguments.json)
    if arguments.json:
        left = remains._asdict() | ({"places": None} if elsewhere else {})
        print(json.dumps({"erased": done._asdict(), "remains": left}))
    else:
        _tell_done(done, remains, elsewhere, audit)
    return 0


# --- who --------------------------------------------------------------------------------------------------------------


def _given(argument: str, what: str) -> str:
    """The argument, or the one line of standard input, without its end and without a byte order mark before it. Raises
    StartRefused where it is empty, more than a line, or not UTF-8."""
    value = argument
    try:
        if argument == STANDARD_INPUT:
            value = _piped().decode()
        value.encode()
    except UnicodeError:
        where = "la entrada estándar" if argument == STANDARD_INPUT else "lo escrito"
        raise StartRefused(f"{where} no es UTF-8: se esperaba {what} en una línea") from None
    if argument == STANDARD_INPUT:
        value = re.sub(r"(\r\n|\n|\r)\Z", "", value.removeprefix("\ufeff"))
        if "\n" in value or "\r" in value:
            raise StartRefused(f"la entrada estándar tiene más de una línea: se esperaba {what}, y nada más")
    if not value:
        raise StartRefused(f"falta {what}: está vacío")
    return value


def _piped() -> bytes:
    """Standard input: one line of a terminal, all of anything else."""
    if sys.stdin is None:
        return b""
    return sys.stdin.buffer.readline() if sys.stdin.isatty() else sys.stdin.buffer.read()


def _user_id(argument: str) -> str:
    """As it is given: a space at its end may be the client's, too, and is told."""
    value = _given(argument, "el usuario_id")
    if value != value.strip():
        print(
            "aviso: el usuario_id empieza o acaba con un espacio, que cuenta: sin él es otra persona", file=sys.stderr
        )
    return value


def _hash_of(loaded: Config, arguments: argparse.Namespace) -> str:
    if (arguments.user is None) == (arguments.hash is None):
        raise StartRefused(
            "di de quién: un usuario_id (o - para leerlo de la entrada estándar), o --hash; uno de los dos"
        )
    if arguments.hash is None:
        return _hasher(loaded)(_user_id(arguments.user))
    found = _given(arguments.hash, "el hash").strip().lower()
    if not _HASH.fullmatch(found):
        raise StartRefused("--hash: se esperaban 16 cifras hexadecimales, como las que imprime `otel-bridge user hash`")
    return found


def _hasher(loaded: Config) -> UserHasher:
    """With the key that the bridge uses; none is ever made here. Raises StartRefused."""
    path = key_file(loaded)
    if path is not None and not path.exists():
        raise StartRefused(
            f"no hay clave del hash de usuario en {path}: sin ella no se sabe qué hash tiene nadie. El puente la crea "
            "la primera vez que arranca; con --config o --journal di cuál es el suyo, copia la clave de otra réplica, "
            "o recupérala de una copia (`otel-bridge journal restore ARCHIVO --key-only`)."
        )
    return UserHasher(load_or_create_key(path or loaded.key_path, loaded.user_hash_key))


def _refuse_unknown(place: ErasingPlace, which: Which, found: Survey, loaded: Config) -> None:
    """Raises StartRefused where a GPT is neither configured nor one in which there is something of this user."""
    seen = {session.gpt for session in found.sessions}
    for gpt in sorted((which.gpts or frozenset()) - loaded.gpts.keys() - seen):
        if not place.usage(which._replace(gpts=frozenset((gpt,)))):
            raise StartRefused(
                f"--gpt: el GPT {gpt!r} no está en {loaded.source}, y en el diario no hay nada de esta persona en él. "
                f"Los configurados son: {', '.join(loaded.gpts)}. No se ha borrado nada."
            )


# --- what there is ----------------------------------------------------------------------------------------------------


def _tell(found: Survey, which: Which, loaded: Config) -> None:
    only = "" if which.gpts is None else f" (solo en {', '.join(sorted(which.gpts))})"
    if found.empty:
        print(f"En el diario {loaded.journal_shown} no hay nada de esta persona{only}.")
    else:
        print(f"En el diario {loaded.journal_shown}, de esta persona{only}:")
        for name, count in (
            ("sesiones", len(found.sessions)),
            ("eventos con su hash", found.events),
            ("valoraciones", found.ratings),
            ("registros sin entregar aún", found.pending),
            ("registros apartados", found.parked),
            ("horas con uso", found.usage),
        ):
            print(f"  {name:28} {count}")
    if found.damaged:
        print(f"\nHay {found.damaged} segmentos dañados que no se pueden leer: de lo que tienen no se sabe nada.")
    _tell_traces(found, which)


def _tell_traces(found: Survey, which: Which) -> None:
    traces = _traces(found)
    if traces:
        print(f"\nTrazas que hay que borrar del almacén ({len(traces)}): fecha, GPT, traza")
        for date, gpt, trace in traces:
            print(f"  {date}  {gpt}  {trace}")
        print("\nEn Tempo 3.0 o posterior, con la dirección gRPC de su planificador (otros: docs/privacidad.md):")
        ids = [trace for _, _, trace in traces]
        for start in range(0, len(ids), TRACES_AT_ONCE):
            some = " ".join(f"--trace-id={trace}" for trace in ids[start : start + TRACES_AT_ONCE])
            print(f"  tempo-cli redact --tenant=single-tenant {some} 127.0.0.1:9097")
    print("\nLo que el diario no tiene (sesiones más viejas que su retención) se busca en el almacén de trazas:")
    print(f'  {{ span.user.hash = "{which.user}" }}')
    print("y en Prometheus, que lo borra si tiene --web.enable-admin-api:")
    print(f"  curl -X POST -g 'http://127.0.0.1:9090{_DELETE_SERIES}={{user_hash=\"{which.user}\"}}'")


def _traces(found: Survey) -> list[tuple[str, str, str]]:
    """(date, GPT, trace id) of each."""
    return [
        (
            datetime.fromtimestamp(session.started_us / 1e6, UTC).date().isoformat(),
            session.gpt,
            part_trace_id(session.id, part).hex(),
        )
        for session in found.sessions
        for part in range(session.parts)
    ]


def _values(found: Survey, which: Which) -> dict[str, object]:
    return {
        "hash": which.user,
        "gpts": None if which.gpts is None else sorted(which.gpts),
        "sessions": len(found.sessions),
        "events": found.events,
        "ratings": found.ratings,
        "pending": found.pending,
        "parked": found.parked,
        "usage_hours": found.usage,
        "damaged_segments": found.damaged,
        "traces": [{"date": date, "gpt": gpt, "trace_id": trace} for date, gpt, trace in _traces(found)],
    }


# --- what is done -----------------------------------------------------------------------------------------------------


def _audit(loaded: Config, given: str | None) -> Path | None:
    """Where the line of audit goes; None: to standard output."""
    if given == STANDARD_OUTPUT:
        return None
    return audit_path(loaded) if given is None else Path(given)


def _erase(
    place: ErasingPlace, which: Which, found: Survey, audit: Path | None, quiet: bool
) -> tuple[Erased, Remains, bool]:
    """What was done, what is left, and whether he is still in other GPTs: then his hash has to be there, and is not
    counted."""
    line: dict[str, object] = {
        "operation": uuid.uuid4().hex[:12],
        "gpts": None if which.gpts is None else sorted(which.gpts),
    }
    try:
        _note(audit, {"at": _now(), **line, "what": "user forget", "state": "begun"})
    except OSError as error:
        raise StartRefused(
            f"no se puede escribir la línea de auditoría en {audit or 'la salida estándar'}: {error.strerror}. No se "
            "ha borrado nada. Nombra otro archivo con --audit ARCHIVO; con --audit - sale por la salida estándar."
        ) from None
    done = journal.erase(place, which, _progress(quiet))
    assert which.user is not None
    elsewhere = which.gpts is not None and not journal.survey(place, Which(which.user)).empty
    remains = place.purge(None if elsewhere else which.user)
    counts = {
        "sessions": done.sessions,
        "segments": done.records,
        "parked": done.parked,
        "usage_hours": done.usage,
        "traces": len(_traces(found)),
        "remains": None if elsewhere else remains.places,
    }
    _note(audit, {"at": _now(), **line, "what": "user forget", "state": "done", **counts})
    return done, remains, elsewhere


def _note(audit: Path | None, line: dict[str, object]) -> None:
    """Writes a line of audit; to standard output where there is no file: who asks for that keeps it. Raises OSError."""
    if audit is None:
        print(json.dumps(line), flush=True)
    else:
        note(audit, line)


def _progress(quiet: bool) -> Callable[[int], None]:
    def tell(count: int) -> None:
        if not quiet and sys.stderr.isatty():
            print(f"\r{count} segmentos reescritos", end="", file=sys.stderr, flush=True)

    return tell


def _tell_done(done: Erased, remains: Remains, elsewhere: bool, audit: Path | None) -> None:
    print(
        f"\nHecho: {done.sessions} sesiones, {done.records} segmentos, {done.parked} apartados y {done.usage} horas de "
        "uso ya no dicen de quién son ni qué decían. Los totales no cambian."
    )
    if elsewhere:
        print("La persona sigue en otros GPT, como se pidió.")
    if remains.places:
        print(f"El hash sigue en {remains.places} sitios de los bytes del archivo: {remains.advice}.")
    elif remains.advice:
        print(f"Queda por hacer: {remains.advice}.")
    print("Tampoco lo borra de las copias de seguridad anteriores ni de los almacenes a los que se exporta.")
    print(
        "Lo que iba de camino al almacén puede salir aún: dentro de un minuto repite la orden sin --yes, y no debe "
        "quedar nada."
    )
    if audit is None:
        print("Las dos líneas de auditoría, sin el id ni el hash, han salido aquí, en JSON: guárdalas.")
    else:
        print(f"La línea de auditoría, sin el id ni el hash, está en {audit}.")


def _now() -> str:
    return moment(int(datetime.now(UTC).timestamp() * 1e6))
