"""The text around a number, which says whether it can be personal: units, technical words, labels."""

from __future__ import annotations

import re

from otel_bridge.privacy.redaction.alternatives import by_first_letter

WINDOW = 48
"""How many characters before a number are read."""

_JOINTS = ",/:;- "
"""What may stand between one number and the next."""

# A number before a unit, a currency or a counted noun is a measure.
UNIT = (
    r"(?! ?(?:[kKMGTP]i?[Bb]\b|[Bb]ytes?\b|B\b|bits?\b|[mµun]?s\b|seg(?:undo)?s?\b|min\b|horas?\b|d[ií]as|%|€|\$|"
    r"USD|EUR|MXN|COP|ARS|CLP|PEN|UYU|BRL|[kKMG]?[Hh]z\b|px\b|"
    r"peticion|request|evento|event|token|registro|record|fila|row|l[ií]nea|line|usuario|user|ve(?:z|ces)|mensaje|"
    r"message|objeto|object|item|elemento|entrada|salida|byte|cliente|sesion|llamada|segundo|operacion|milisegundo|"
    r"conexion|connection|archivo|fichero|file|bloque|block|p[aá]gina|page|nodo|node|pod|clave|key|second|microsegundo|"
    # What `ls -l` and `du` print after a size, and columns of counters, some of them 0.
    r"[A-Za-z]{3} {1,2}[0-9]{1,2} {1,2}[0-9]{2}(?:[0-9]{2}|:)|/(?:var|usr|home|opt|data|mnt|srv|tmp|lib|root)\b|"
    r"\t\.{0,2}/|[ \t]{0,9}(?:[0-9]{1,7}[ \t]{1,9}){0,3}0(?!\S)|req\b|iterac|iterat|"
    r"free\b|used\b|total\b|avail|libres?\b|usad|hit|operation|ops\b|iops|paquete|packet|ciclo|cycle|caracter|char|"
    r"palabra|word|métrica|metric|serie|muestra|sample))"
)
# In a row of CSV a name may stand before a number (`ana,612345678`), but no other number: see `is_joined`.
BEFORE = r"(?<![\w.+#$€=@])(?<![0-9],)(?<![0-9] ,)(?<![^\]]/)(?<![0-9]-)(?<![0-9a-f]{4}-)(?<![0-9]:)(?<![A-Za-z_]-)"
# A decimal, a port or a denominator must not follow; another personal number or the next field may.
END = r"(?!\w|[.-][0-9]|(?!,?[:/]?(?:[0-9][ .-]?){8})(?:,[0-9]{1,3}(?![0-9])|[:/][0-9])|-\w)"
AFTER = END + UNIT

# Words before a number that say: an id, a count or a measure.
_COUNTED = r"""
    ids? identificador pid uid gid tid ppid offset watermark ack sku ref\.? art size tama[ñn]o bytes total count
    cuenta contador counter seq secuencia sequence lsn xid xxid txid oxid oid build compilaci[oó]n job trabajo
    pipeline run task tarea ticket issue incidencia pr mr jira case caso request req order orden pedido invoice
    factura versi[oó]n revisi[oó]n rev ports? puertos? epoch timestamp ts time tiempos? duration duraci[oó]n
    duraciones latenc[iy]\w* memoria memory mem rss vsz heap inodes? blocks? bloques? sectors? l[ií]neas? lines?
    posici[oó]n position indice índice index code c[oó]digos? status error errno exit serial serie hash checksum crc
    sum suma partici[oó]n partition lag hits misses l[ií]mite limit max m[aá]ximo min m[ií]nimo avg media mean
    p[0-9]{2,3} percentil\w* seed semilla commit tag account cuenta project proyecto valor(?:es)? values? medidas?
    muestras? respuestas? procesados? le[ií]dos? escritos? evento event mensaje message span trace nonce block height
    balance uptime ops rows? filas? registros? records? requests peticiones chunk shard segment segmento
    generaci[oó]n generation resourceversion pvc? container contenedor proceso process thread hilo gpu cpu slot
    sesi[oó]n session lote batch checkpoint iter iteraci[oó]n steps? paso tokens referencia reference contrato length
    etag elapsed maxmemory versioncode s/n ocupan? paquetes packets
"""
_TECHNICAL = re.compile(
    rf"(?:\b|_)(?:{by_first_letter((*_COUNTED.split(), 'n[uú]mero de (?:serie|pedido|caso|ticket|orden)'))})"
    r"(?: (?:fue|fueron|es|son|de|del|n[uú]mero|n[º°o]\.?|no\.?|is|was|were|of|in|en|number|nr|#)){0,2}"
    r"[ \t]{0,2}[\"'`]?[ ]?[:=#|]{0,2}[ \t]{0,2}[\"'`(\[]?\Z"
).search


_MARKS = " \t\r\n:=#()\"'`*/|+-["


def follows_word(low: str, start: int) -> bool:
    """Whether a word stands before this place, with only marks between: nothing else can be a label. It costs a
    twentieth of a search for labels."""
    before = low[max(0, start - WINDOW) : start].rstrip(_MARKS)[-1:]
    return before.isalpha() or before in (".", "º", "°", "$", "_")


# A key of JSON, or the name of a variable: "diskSize": …, read_bytes: …, uint64 = …
_KEY = re.compile(
    r"(?:[\"'][\w .-]{1,40}[\"']|\b\w*(?:_\w+|[a-z][A-Z]\w*))[ \t]{0,2}[:=][ \t]{0,2}[\"']?\Z|[=}][ ]?[\"']?\Z"
).search


def follows_key(text: str, start: int) -> bool:
    """Whether a number is the value of a key. Labels that announce a personal number are tried before this."""
    return _KEY(text, max(0, start - WINDOW), start) is not None


def is_technical(low: str, start: int) -> bool:
    """Whether the words before this place say that a number is an id, a count or a measure."""
    return follows_word(low, start) and _TECHNICAL(low, max(0, start - WINDOW), start) is not None


def is_joined(text: str, begin: int, last: int) -> bool:
    """Whether a number that begins here follows the one that ends at `last` with no more than a joint between. Then
    what may not stand before a number alone (`612345678,`) may."""
    return 0 < begin - last <= 2 and text[begin - 1] in _JOINTS


def starts_word(text: str, match: re.Match[str] | None) -> bool:
    """Whether a label matched, and is not the end of a longer word."""
    return match is not None and (match.start() == 0 or not text[match.start() - 1].isalnum())
