"""OTLP over HTTP."""

from __future__ import annotations

import email.utils
import http.client
import re
import time
from typing import Any

import urllib3

from otel_bridge import __version__
from otel_bridge.config import Otlp, Signal
from otel_bridge.export.deadline import deadline
from otel_bridge.export.http_connection import connections
from otel_bridge.export.renewal import Renewed
from otel_bridge.export.response import error_message, read_response
from otel_bridge.export.result import SendResult, shorten
from otel_bridge.gzipped import gzipped

_BODY_LIMIT = 4 << 20
"""Bytes that are read of an answer's body: as many as gRPC takes by default."""
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")
"""What http.client says of a proxy's answer to CONNECT."""
_PROTOBUF = ("application/x-protobuf", "application/protobuf")


class HttpTransport:
    """OTLP/HTTP with protobuf bodies. Thread-safe."""

    def __init__(self, otlp: Otlp, signal: Signal = "traces") -> None:
        self._otlp = otlp
        self._signal: Signal = signal
        self._pools = Renewed(lambda: _pools(otlp), urllib3.PoolManager.clear)
        self._headers = {
            "Content-Type": "application/x-protobuf",
            "User-Agent": f"otel-bridge/{__version__}",
            **dict(otlp.headers),
        }
        if otlp.gzip:
            self._headers["Content-Encoding"] = "gzip"

    def send(self, body: bytes) -> SendResult:
        """Sends a serialised `Export…ServiceRequest`; takes half a second over `timeout_seconds` at the most."""
        if self._otlp.gzip:
            body = gzipped(body)
        with self._pools.use() as pool, deadline.within(self._otlp.timeout_seconds + 0.5):
            return self._exchange(pool, body).without(self._otlp.secrets)

    def _exchange(self, pool: urllib3.PoolManager, body: bytes) -> SendResult:
        try:
            response = pool.request(
                "POST",
                self._otlp.endpoint,
                body=body,
                headers=self._headers,
                redirect=False,
                preload_content=False,
                decode_content=True,
            )
            try:
                # An answer is never read without bound.
                text = response.read(_BODY_LIMIT)
                if deadline.passed:
                    message = f"no whole answer within {self._otlp.timeout_seconds:g} s"
                    return SendResult("retry", message, may_be_record=True)
                return _classify(response.status, text, response.headers, self._signal)
            finally:
                response.drain_conn() if response.status < 300 else response.close()
                response.release_conn()
        except urllib3.exceptions.ProxyError as error:
            return _proxy_refusal(error)
        except urllib3.exceptions.HTTPError as error:
            if _is_no_http(error):
                return SendResult("config", "what answers there speaks no HTTP: is it the port of gRPC, or of TLS?")
            # A record can make the receiver drop the connection; it cannot keep it from being made.
            dropped = isinstance(error, urllib3.exceptions.ProtocolError | urllib3.exceptions.ReadTimeoutError)
            dropped = dropped and not deadline.connecting
            return SendResult("retry", shorten(f"{type(error).__name__}: {error}"), may_be_record=dropped)
        except OSError as error:
            return SendResult("config", shorten(f"{type(error).__name__}: {error}"))
        except ValueError as error:  # its message may repeat a header
            return SendResult("config", f"{type(error).__name__}: the endpoint or a header cannot be sent")

    def close(self) -> None:
        self._pools.close()


def _pools(otlp: Otlp) -> urllib3.PoolManager:
    options: dict[str, Any] = {}
    if otlp.certificate:
        options["ca_certs"] = otlp.certificate
    if otlp.client_certificate:
        options["cert_file"], options["key_file"] = otlp.client_certificate, otlp.client_key
    options |= {"maxsize": 8, "retries": False, "timeout": urllib3.Timeout(total=otlp.timeout_seconds)}
    return connections(otlp.proxy, options)


def _is_no_http(error: urllib3.exceptions.HTTPError) -> bool:
    cause = error.args[-1] if error.args else None
    return isinstance(cause, http.client.BadStatusLine) and not isinstance(cause, http.client.RemoteDisconnected)


def _proxy_refusal(error: urllib3.exceptions.ProxyError) -> SendResult:
    """What keeps a tunnel from being made is never a record's fault."""
    cause = error.original_error
    refusal = _TUNNEL_REFUSED.search(str(cause))
    final = refusal is not None and refusal[1].startswith("4") and refusal[1] not in ("408", "429")
    return SendResult("config" if final else "retry", shorten(f"the proxy: {cause}"))


def _classify(status: int, body: bytes, headers: Any, signal: Signal) -> SendResult:
    if 200 <= status < 300:
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            return SendResult("config", f"HTTP {status} with a web page: what answers there is no OTLP receiver")
        result = read_response(body, kind in _PROTOBUF, signal)
        return result if result.kind != "config" else result._replace(message=f"HTTP {status}, but {result.message}")
    message = shorten(f"HTTP {status} {error_message(body)}")
    if status in (408, 429) or status >= 500:
        return SendResult("retry", message, _retry_after(headers.get("Retry-After")), may_be_record=status == 500)
    if status in (400, 413, 422):
        # The Collector, and whatever else is Go's, says 400.
        return SendResult("poison", message, too_large=status == 413 or "request body too large" in message)
    if 300 <= status < 400:
        message = f"{message} → {headers.get('Location', '?')}: redirects are not followed"
    return SendResult("config", message)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a `Retry-After` header, which holds seconds or an HTTP date; None where it holds neither."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
