"""One kept connection to the bridge. Whatever happens, `post` returns a Reply."""

from __future__ import annotations

import gzip as _gzip
import http.client
import logging
import re
import ssl
import urllib.parse

from otel_bridge_client.replies import Reply, seconds

MAX_ANSWER_BYTES = 8 << 20
GZIP_FROM_BYTES = 1024

_PATH = re.compile(r"[\x21-\x7e]*").fullmatch

log = logging.getLogger("otel_bridge_client")


def read_url(base_url: str | None, api_key: str | None) -> urllib.parse.SplitResult | None:
    """None, and an error in the log, for what cannot be used."""
    if not base_url:
        return None
    try:
        url = urllib.parse.urlsplit(str(base_url).strip().rstrip("/"))
        url.port  # noqa: B018 raises for one that is no number
        usable = url.scheme in ("http", "https") and bool(url.hostname) and bool(_PATH(url.path))
    except ValueError:
        usable = False
    if not usable:
        log.error("otel-bridge: base_url is not a URL such as https://koomtai.com/api: nothing will be sent")
        return None
    if api_key and not re.fullmatch(r"[\x21-\x7e]+", api_key):
        log.error("otel-bridge: api_key has characters that no key has: nothing will be sent")
        return None
    if api_key and url.scheme == "http" and url.hostname not in ("localhost", "127.0.0.1", "::1"):
        log.warning("otel-bridge: the API key travels unencrypted to %s: use https", url.hostname)
    return url if url.path else url._replace(path="/api")


class Transport:
    """Used by one thread at a time."""

    def __init__(
        self,
        url: urllib.parse.SplitResult,
        headers: dict[str, str],
        timeout: float,
        gzip: bool,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self._url = url
        self._headers = headers
        self._timeout = timeout
        self._gzip = gzip
        self._ssl = ssl_context
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: bytes) -> Reply:
        headers = self._headers
        if self._gzip and len(body) >= GZIP_FROM_BYTES:
            headers = {**headers, "Content-Encoding": "gzip"}
            body = _gzip.compress(body, 5)
        while True:
            reused = self._connection is not None
            try:
                connection = self._connect()
                connection.request("POST", self._url.path + path, body, headers)
                response = connection.getresponse()
                data = response.read(MAX_ANSWER_BYTES)
                retry_after = seconds(response.getheader("Retry-After"))
                if response.will_close or not response.isclosed():
                    self.close()
                return Reply(response.status, data, retry_after)
            except (ConnectionError, http.client.BadStatusLine) as error:
                self.close()
                if not reused:  # else the bridge had closed an idle connection: at once on a new one
                    return Reply(0, words=type(error).__name__)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                return Reply(0, words=type(error).__name__)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def forget(self) -> None:
        """After a fork: the connection is the parent's."""
        self._connection = None

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._url.hostname or "", self._url.port
            if self._url.scheme == "https":
                context = self._ssl or ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=context)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        return self._connection
