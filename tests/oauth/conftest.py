"""A real identity provider (npm `oidc-provider`), installed as its lock file says; where this machine lacks what that
takes, the tests say so and are skipped."""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from tests.harness.install import NpmPackages, lack
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

HERE = Path(__file__).parent
NODE = (20, 19)


class IdentityProvider:
    """Starts, stops, and starts again with other keys at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._log = folder / "provider.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.claims: dict[str, Any] = {}
        """Further claims of a client's tokens, by client."""
        self.clients: list[str] = []
        self.new_key("primera")

    def new_key(self, kid: str) -> None:
        self.kid = kid
        self.key: RSAPrivateKey = generate_private_key(65537, 2048)

    def start(self) -> IdentityProvider:
        own = jwt.algorithms.RSAAlgorithm.to_jwk(self.key, as_dict=True)
        clients = [
            {
                "client_id": name,
                "client_secret": f"secreto-de-{name}",
                "grant_types": ["client_credentials"],
                "redirect_uris": [],
                "response_types": [],
                "scope": "metricas",
            }
            for name in self.clients
        ]
        settings = {
            "issuer": self.issuer,
            "jwks": {"keys": [{**own, "kid": self.kid, "use": "sig", "alg": "RS256"}]},
            "clients": clients,
            "claims": self.claims,
        }
        file = self._folder / "provider.json"
        file.write_text(json.dumps(settings), encoding="utf-8")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["node", str(HERE / "provider.mjs"), str(file)], cwd=HERE, stdout=log, stderr=subprocess.STDOUT
            )
        wait_for(self._answers, f"identity provider: {self._log.read_text()[-500:]}")
        return self

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self._log.read_text()
        return requests.get(f"{self.issuer}/.well-known/openid-configuration", timeout=5).status_code == 200

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def token(self, client: str, resource: str, scope: str = "metricas") -> str:
        """An access token that a client gets for itself."""
        answer = requests.post(
            f"{self.issuer}/token",
            data={"grant_type": "client_credentials", "resource": resource, "scope": scope},
            auth=(client, f"secreto-de-{client}"),
            timeout=10,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def forged(self, good: str, **claims: Any) -> str:
        """A good token with other claims, signed with the provider's own key; None leaves a claim out."""
        was = jwt.decode(good, options={"verify_signature": False})
        now = {name: value for name, value in {**was, **claims}.items() if value is not None}
        return jwt.encode(now, self.key, "RS256", headers={"kid": self.kid, "typ": "at+jwt"})


@pytest.fixture(scope="session")
def installed() -> None:
    missing = lack("node", NODE, "--version") or lack("npm", (0, 0), "--version")
    if missing is not None:
        pytest.skip(missing)
    with (HERE / ".npm-lock").open("w") as mutex:  # two workers may have a file of these tests each
        fcntl.flock(mutex, fcntl.LOCK_EX)
        packages = NpmPackages(HERE)
        try:
            packages.wait()
        finally:
            packages.close()


@pytest.fixture(scope="module")
def make_provider(
    installed: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], IdentityProvider]]:
    """`make_provider()` → one that has not been started."""
    made: list[IdentityProvider] = []

    def make() -> IdentityProvider:
        made.append(IdentityProvider(tmp_path_factory.mktemp("provider")))
        return made[-1]

    yield make
    for one in made:
        one.stop()
