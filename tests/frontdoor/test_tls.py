"""HTTPS on the API's own port, by real clients: what is bounded without TLS is bounded with it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from otel_bridge import config
from otel_bridge.commands.client import verifies
from otel_bridge.errors import StartRefused
from otel_bridge.server import SPARE_FILES
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge
from tests.harness.waiting import wait_for

BODY = json.dumps(GUIDE_SESSION).encode()
REQUEST = (
    b"POST /api/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
) % (len(BODY), BODY)


def write_pair(
    folder: Path, name: str = "localhost", password: bytes | None = None, days: float = 30
) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


class TlsBridge(Bridge):
    def __init__(self, folder: Path, text: str = "[gpts.devops-expert]\n", **environ: str) -> None:
        super().__init__(folder, text, **environ)
        self.certificate, self.key = write_pair(folder / "tls")
        self.arguments = ["--tls-cert", str(self.certificate), "--tls-key", str(self.key)]
        self.http.verify = str(self.certificate)
        self.http.trust_env = False  # else a variable of this place would name other authorities

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        context = context or ssl.create_default_context(cafile=str(self.certificate))
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return context.wrap_socket(plain, server_hostname="localhost")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., TlsBridge]]:
    made: list[TlsBridge] = []

    def start(text: str = "[gpts.devops-expert]\n", under: list[str] | None = None, **environ: str) -> TlsBridge:
        made.append(TlsBridge(tmp_path, text, **environ))
        made[-1].under = under or []
        made[-1].start()
        return made[-1]

    yield start
    for bridge in made:
        bridge.close()


def test_the_guides_calls_work_over_https_and_metrics_stay_plain_on_their_own_listener(
    make: Callable[..., TlsBridge],
) -> None:
    bridge = make()
    session = bridge.post("/sessions", GUIDE_SESSION)
    assert session.status_code == 201
    batch = [{**GUIDE_EVENT, "sesion_id": session.json()["id"], "contenido": "x" * 1000}] * 3000  # in many pieces
    assert bridge.post("/events", batch).status_code in (201, 207)
    document = bridge.http.get(f"{bridge.url}/openapi-gpt.json", timeout=10).json()
    assert document["servers"][0]["url"].startswith("https://localhost")
    assert len(bridge.http.get(f"{bridge.url}/openapi.json", timeout=10).content) > 30_000
    assert requests.get(bridge.metrics_url, timeout=10).status_code == 200
    assert f"https://127.0.0.1:{bridge.port}/api/sessions" in bridge.output()
    assert bridge.stop() == 0


def test_the_bridges_own_commands_reach_it(make: Callable[..., TlsBridge]) -> None:
    bridge = make()
    # As in a container: where the commands find it, too.
    bridge.environ |= {
        "OTEL_BRIDGE_TLS_CERT": str(bridge.certificate),
        "OTEL_BRIDGE_TLS_KEY": str(bridge.key),
        "OTEL_BRIDGE_PORT": str(bridge.port),
        "OTEL_BRIDGE_METRICS_PORT": str(bridge.metrics_port),
    }
    here = f"https://127.0.0.1:{bridge.port}"
    asked = bridge.run("ready")
    assert asked.returncode == 0 and f"{here}/readyz respondió 200" in asked.stdout
    assert asked.stderr == "", "no warning of a library"
    assert bridge.run("metrics", "otel_bridge_build_info").returncode == 0
    examined = bridge.run("doctor")
    assert "✔ puente" in examined.stdout and "✔ /metrics" in examined.stdout, examined.stdout
    assert examined.stderr == ""
    # Somebody who names a place is told whom the certificate is for.
    bridge.environ["SSL_CERT_FILE"] = str(bridge.certificate)
    assert bridge.run("ready", "--url", bridge.url).returncode == 0
    for command in (["ready"], ["doctor", "--wait", "0.1"], ["demo", "--duration", "1"]):
        done = bridge.run(*command, "--url", here)
        told = done.stdout + done.stderr
        assert done.returncode == 1 and "el certificado no es válido para ese nombre" in told, told
        assert "--url https://NOMBRE:PUERTO" in told
    del bridge.environ["SSL_CERT_FILE"]
    done = bridge.run("ready", "--url", bridge.url)
    assert done.returncode == 1 and "SSL_CERT_FILE" in done.stderr
    done = bridge.run("ready", "--url", here.replace("https", "http"))
    assert done.returncode == 1 and "Si sirve con TLS, pide por https://" in done.stderr
    done = bridge.run("ready", "--url", bridge.metrics_url.replace("http:", "https:"))
    assert done.returncode == 1 and "no se pudo hablar TLS con él" in done.stderr


@pytest.mark.parametrize(
    ("host", "looked_at"), [("127.0.0.1", False), ("::", False), ("0.0.0.0", False), ("10.1.2.3", True)]
)
def test_only_on_the_loopback_no_certificate_is_looked_at(host: str, looked_at: bool, tmp_path: Path) -> None:
    (tmp_path / "otel-bridge.toml").write_text("[gpts.uno]\n", encoding="utf-8")
    loaded = config.load(str(tmp_path / "otel-bridge.toml"), {"OTEL_BRIDGE_HOST": host})
    assert verifies(loaded) is looked_at


def test_curl_verifies_it(make: Callable[..., TlsBridge]) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    bridge = make()
    command = [curl, "--silent", "--show-error", "--http1.1", "--cacert", str(bridge.certificate)]
    for version in ("--tlsv1.2 --tls-max 1.2", "--tlsv1.3"):
        done = subprocess.run(
            [*command, *version.split(), f"{bridge.url}/readyz"], capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 0 and '"estado"' in done.stdout, done.stderr


def test_before_tls_1_2_nothing_is_spoken(make: Callable[..., TlsBridge]) -> None:
    bridge = make()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(str(bridge.certificate))
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        bridge.connect(old)
    with bridge.connect() as connection:
        assert connection.version() == "TLSv1.3"


def test_many_requests_sent_at_once_are_all_answered(make: Callable[..., TlsBridge]) -> None:
    bridge = make()
    with bridge.connect() as connection:
        connection.sendall(REQUEST * 50)
        got = b""
        while got.count(b'"gpt_id":"devops-expert"') < 50:
            more = connection.recv(65536)
            assert more, got[-300:]
            got += more
        assert got.count(b"HTTP/1.1 201") == 50


def test_a_request_in_single_bytes_and_one_whose_sender_ends_its_half_are_answered(
    make: Callable[..., TlsBridge],
) -> None:
    bridge = make()
    with bridge.connect() as connection:
        for i in range(0, len(REQUEST)):
            connection.send(REQUEST[i : i + 1])
        assert connection.recv(65536).startswith(b"HTTP/1.1 201")
    with bridge.connect() as connection:
        connection.sendall(REQUEST)
        raw = socket.socket(fileno=connection.fileno())
        raw.shutdown(socket.SHUT_WR)
        raw.detach()
        assert connection.recv(65536).startswith(b"HTTP/1.1 201")


def test_plain_http_and_nonsense_get_no_answer_and_leave_no_line_in_the_log(make: Callable[..., TlsBridge]) -> None:
    bridge = make()
    before = bridge.output()
    for sent in (REQUEST, b"\x16\x03\x01\xff\xff" + b"\x00" * 500, b"\x00" * 100_000):
        with socket.create_connection(("127.0.0.1", bridge.port), timeout=10) as plain:
            try:
                plain.sendall(sent)
                got = b"".join(iter(lambda: plain.recv(65536), b""))
            except ConnectionError:
                got = b""
            assert b"HTTP/" not in got
    assert bridge.http.get(f"{bridge.url}/readyz", timeout=10).status_code == 200
    assert bridge.output() == before


def test_a_handshake_that_is_not_ended_ends_in_its_time(make: Callable[..., TlsBridge]) -> None:
    bridge = make(OTEL_BRIDGE_BODY_TIMEOUT_SECONDS="1")
    begun = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), begun, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = begun.read()
    for sent in (b"", hello[:20], hello):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", bridge.port), timeout=10) as slow:
            slow.sendall(sent)
            try:
                while slow.recv(65536):
                    pass
            except ConnectionResetError:
                pass
            assert 0.5 < time.monotonic() - began < 5


def test_a_request_that_does_not_come_after_the_handshake_ends_in_its_time(make: Callable[..., TlsBridge]) -> None:
    bridge = make(OTEL_BRIDGE_BODY_TIMEOUT_SECONDS="1")
    with bridge.connect() as connection:
        connection.sendall(REQUEST[:40])
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")
        assert connection.recv(65536) == b""


def test_answers_that_nobody_reads_end_the_connection_in_its_time(make: Callable[..., TlsBridge]) -> None:
    bridge = make(OTEL_BRIDGE_BODY_TIMEOUT_SECONDS="1")
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with bridge.connect() as deaf:
        deaf.settimeout(0.2)
        began = time.monotonic()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            while time.monotonic() - began < 20:
                try:
                    deaf.send(request * 100)
                except (TimeoutError, ssl.SSLWantWriteError):
                    pass  # the bridge reads no more, until its answers are read
    assert time.monotonic() - began < 15
    assert bridge.http.get(f"{bridge.url}/readyz", timeout=10).status_code == 200


def test_handshakes_that_nobody_ends_take_no_more_than_their_share(make: Callable[..., TlsBridge]) -> None:
    """Beyond the cap and what may part they are reset at once; what is served goes on."""
    cap = 40
    if shutil.which("prlimit") is None:
        pytest.skip("prlimit is not installed")
    bridge = make(under=["prlimit", f"--nofile={cap + SPARE_FILES}:{cap + SPARE_FILES}"])
    with bridge.connect() as served:
        half = []
        for _ in range(cap + 150):
            with suppress(ConnectionResetError):  # before its connect has returned
                half.append(socket.create_connection(("127.0.0.1", bridge.port), timeout=5))

        def reset() -> int:
            """How many of them have been ended, before the time of a handshake is over."""
            ended = cap + 150 - len(half)
            for one in half:
                one.setblocking(False)
                try:
                    ended += one.recv(1) == b""
                except BlockingIOError:
                    pass
                except ConnectionError:
                    ended += 1
            return ended

        wait_for(lambda: reset() >= 80, "connections beyond the cap are reset", timeout=8)
        served.sendall(REQUEST)
        assert served.recv(65536).startswith(b"HTTP/1.1 201")
        for one in half:
            one.close()
    wait_for(lambda: requests.get(f"{bridge.url}/readyz", verify=bridge.http.verify, timeout=5).ok, "its room is free")


def test_a_renewed_certificate_is_served_after_a_hangup_and_a_broken_one_is_not(make: Callable[..., TlsBridge]) -> None:
    bridge = make()
    assert bridge.process is not None

    def served() -> bytes | None:
        blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        with bridge.connect(blind) as connection:
            return connection.getpeercert(binary_form=True)

    first = served()
    with bridge.connect() as kept:
        write_pair(bridge.certificate.parent)
        bridge.process.send_signal(signal.SIGHUP)
        wait_for(lambda: served() != first, "the renewed certificate")
        kept.sendall(REQUEST)  # a connection that is there stays
        assert kept.recv(65536).startswith(b"HTTP/1.1 201")
    second = served()
    bridge.key.write_text("-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----\n")
    bridge.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "stays in force" in bridge.output(), "what is wrong in the log")
    assert served() == second


def test_a_certificate_that_has_ended_or_soon_does_is_told(make: Callable[..., TlsBridge]) -> None:
    bridge = make()
    assert bridge.process is not None and "tls_cert: el certificado" not in bridge.output()
    for days, words in ((6.9, "caduca el"), (-1, "caducó el")):
        write_pair(bridge.certificate.parent, days=days)
        bridge.process.send_signal(signal.SIGHUP)
        wait_for(lambda: words in bridge.output(), "the warning in the log")  # noqa: B023
    bridge.environ |= {"OTEL_BRIDGE_TLS_CERT": str(bridge.certificate), "OTEL_BRIDGE_TLS_KEY": str(bridge.key)}
    asked = bridge.run("check")
    assert asked.returncode == 0 and "aviso: tls_cert: el certificado" in asked.stdout


def test_a_stop_waits_for_no_handshake(make: Callable[..., TlsBridge]) -> None:
    bridge = make()
    with bridge.connect(), socket.create_connection(("127.0.0.1", bridge.port), timeout=10):
        began = time.monotonic()
        assert bridge.stop() == 0
        assert time.monotonic() - began < 5


def test_what_cannot_be_served_stops_the_start_with_what_is_wrong(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path / "one")
    _, other = write_pair(tmp_path / "two")
    _, locked = write_pair(tmp_path / "three", password=b"s3cr3t")
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    file = tmp_path / "otel-bridge.toml"
    file.write_text("[gpts.a]\n")

    def load(cert: Path | str | None, its_key: Path | str | None) -> str:
        given = {"tls_cert": cert and str(cert), "tls_key": its_key and str(its_key)}
        try:
            config.load(str(file), {}, given)
        except StartRefused as refusal:
            return str(refusal)
        return ""

    assert load(certificate, key) == load(both, None) == load(None, None) == ""
    assert "no es la del certificado" in load(certificate, other)
    assert "contraseña" in load(certificate, locked)
    assert "tls_key: hay una clave sin su certificado" in load(None, key)
    assert "nómbralo en tls_key" in load(certificate, None)
    assert "no existe el archivo" in load(tmp_path / "none.pem", key)
    assert "no es un archivo" in load(tmp_path, key)
    assert "no tiene un certificado" in load(key, key)
    assert "tls_key" in load(certificate, certificate)
    said = load(certificate, key.read_text())
    assert "no se muestra" in said and key.read_text().splitlines()[1] not in said
    flags = ["--port", "0", "--tls-cert", str(certificate), "--tls-key", str(other)]
    refused = subprocess.run(
        [sys.executable, "-m", "otel_bridge", "serve", *flags],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert refused.returncode == 2 and "no es la del certificado" in refused.stderr


# --- what comes in one piece ------------------------------------------------------------------------------------------


class AtOnce:
    """A client that sends its records as one piece, while the bridge is held: it reads all of them in one turn."""

    def __init__(self, bridge: TlsBridge) -> None:
        assert bridge.process is not None
        self._process = bridge.process
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(bridge.certificate))
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.socket = socket.create_connection(("127.0.0.1", bridge.port), timeout=20)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.socket.sendall(self._outgoing.read())
                self._incoming.write(self.socket.recv(65536))
        self.socket.sendall(self._outgoing.read())

    def send(self, *requests: bytes, behind: bytes = b"", ends: bool = False) -> None:
        for request in requests:
            self._tls.write(request)
        self._process.send_signal(signal.SIGSTOP)
        self.socket.sendall(self._outgoing.read() + behind)
        if ends:
            self.socket.shutdown(socket.SHUT_WR)
        self._process.send_signal(signal.SIGCONT)

    def answers(self) -> list[int]:
        """Until the bridge ends the connection."""
        got = b""
        try:
            while data := self.socket.recv(65536):
                self._incoming.write(data)
        except ConnectionError:
            pass
        try:
            while data := self._tls.read(65536):
                got += data
        except ssl.SSLError:
            pass
        self.socket.close()
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", got)]


def opened(bridge: TlsBridge) -> float:
    return bridge.metric("otel_bridge_records_total", result="accepted", kind="session")


@pytest.mark.parametrize(
    "behind", [b"\x17\x03\x03\x00\x20" + b"x" * 32, b"GET / HTTP/1.0\r\n\r\n"], ids=["a record", "plain text"]
)
def test_a_post_in_front_of_a_broken_record_is_taken_in(make: Callable[..., TlsBridge], behind: bytes) -> None:
    bridge = make()
    client, before = AtOnce(bridge), opened(bridge)
    client.send(REQUEST, behind=behind)
    client.answers()
    wait_for(lambda: opened(bridge) == before + 1, "the session")


@pytest.mark.parametrize(
    "requests",
    [[REQUEST] * 4, [REQUEST.replace(b"{", b"[", 1), REQUEST], [REQUEST.replace(b"{", b"[", 1)] * 3 + [REQUEST]],
)
def test_all_that_comes_before_the_end_of_its_half_is_answered(
    make: Callable[..., TlsBridge], requests: list[bytes]
) -> None:
    client = AtOnce(make())
    client.send(*requests, ends=True)
    assert client.answers() == [201 if request == REQUEST else 400 for request in requests]
