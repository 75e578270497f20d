"""Which tokens are good, and what one opens: named claims → what a caller is told. Keys are made here."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge import config, errors
from otel_bridge.access import challenge, keys, tokens
from otel_bridge.access.caller import Access, Caller
from otel_bridge.access.challenge import Fault
from otel_bridge.access.keyset import KeySet
from otel_bridge.access.place import ProviderError
from otel_bridge.errors import Problem

ISSUER, PUBLIC = "https://login.example/realms/uno", "https://koomtai.com"
KEY = "otb_" + "k" * 43
SETTINGS = f"""
public_url = "{PUBLIC}"
oauth_issuer = "{ISSUER}"
oauth_audiences = ["api://metricas"]
"""
GPTS = f"""
[gpts.uno]
oauth_clients = ["app-uno", "app-dos"]
[gpts.dos]
oauth_clients = ["app-dos"]
api_key_hashes = ["{keys.hash_of(KEY.encode())}"]
"""
RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def public(key: Any, kid: str | None, **more: object) -> dict[str, object]:
    kind = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    found = next(algorithm for base, algorithm in kind.items() if isinstance(key, base))
    document = {**found.to_jwk(key.public_key(), as_dict=True), "use": "sig", **more}
    return document if kid is None else {**document, "kid": kid}


JWKS = [public(RSA, "rsa"), public(EC, "ec"), public(ED, "ed")]


class KnownKeys:
    """Keys that are known, and never looked up."""

    failing = False
    unsettled = False

    def __init__(self, documents: list[Any]) -> None:
        self.known: KeySet | None = KeySet(documents)

    def look_up(self) -> None:
        return None

    def retry_after(self) -> int:
        return 7


def loaded(folder: Path, text: str) -> config.Config:
    file = folder / "otel-bridge.toml"
    file.write_text(text, encoding="utf-8")
    return config.load(str(file), {})


@pytest.fixture
def access_of(tmp_path: Path) -> Callable[..., Access]:
    def make(settings: str = SETTINGS, gpts: str = GPTS, documents: list[Any] | None = None) -> Access:
        return Access(loaded(tmp_path, settings + gpts), KnownKeys(documents or JWKS))  # type: ignore[arg-type]

    return make


CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": PUBLIC, "sub": "ana", "client_id": "app-uno", "exp": 300, "iat": -5}


def signed(
    key: Any = RSA, kid: str | None = "rsa", alg: str = "RS256", typ: str | None = "at+jwt", **claims: Any
) -> str:
    """A token; times count from now, None leaves a claim out."""
    now = int(time.time())
    every = {
        name: value + now if name in ("exp", "iat", "nbf") and isinstance(value, int) else value
        for name, value in {**CLAIMS, **claims}.items()
        if value is not None
    }
    return jwt.encode(every, key, alg, headers={"typ": typ, **({} if kid is None else {"kid": kid})})


def caller_with(access: Access, token: str | bytes, **headers: str) -> Caller:
    value = token if isinstance(token, bytes) else token.encode()
    raw = [(b"authorization", b"Bearer " + value), *((n.encode(), v.encode()) for n, v in headers.items())]
    caller = access.caller(raw, "198.51.100.7", door="/mcp")
    asyncio.run(caller.identify())
    return caller


def refused(access: Access, token: str | bytes, gpt: str = "uno") -> Problem:
    caller = caller_with(access, token)
    with pytest.raises(Problem) as caught:
        caller.admit(next(one for one in access.gpts if one.id == gpt), 1)
    assert caller.gpts_of_key() == [] or caught.value.kind is errors.FORBIDDEN
    return caught.value


# --- which are good -------------------------------------------------------------------------------------------------

GOOD: dict[str, dict[str, Any]] = {
    "as RFC 9068 has it": {},
    "of no said type": {"typ": None},
    "of the plain type": {"typ": "JWT"},
    "of the long type": {"typ": "application/at+jwt"},
    "audience with a slash": {"aud": f"{PUBLIC}/"},
    "audience of mcp": {"aud": f"{PUBLIC}/mcp"},
    "audience of mcp with a slash": {"aud": f"{PUBLIC}/mcp/"},
    "audience of the API": {"aud": f"{PUBLIC}/api"},
    "audience that is configured": {"aud": "api://metricas"},
    "one audience of several": {"aud": ["https://other.example", PUBLIC]},
    "issuer with a slash": {"iss": f"{ISSUER}/"},
    "expired within the leeway": {"exp": -50},
    "of a clock ahead within the leeway": {"nbf": 50, "iat": 50},
    "without iat": {"iat": None},
    "without a subject": {"sub": None},
    "client as azp": {"client_id": None, "azp": "app-uno"},
    "client as appid": {"client_id": None, "appid": "app-uno"},
    "client as cid": {"client_id": None, "cid": "app-uno"},
    "without a key id": {"kid": None},
    "ES256": {"key": EC, "kid": "ec", "alg": "ES256"},
    "EdDSA": {"key": ED, "kid": "ed", "alg": "EdDSA"},
    "PS256 of an RSA key": {"alg": "PS256"},
    "RS512 of an RSA key": {"alg": "RS512"},
    "Keycloak's kind": {"typ": "JWT", "extra": None},
}


@pytest.mark.parametrize("given", GOOD.values(), ids=GOOD)
def test_a_good_token_opens_its_gpt(access_of: Callable[..., Access], given: dict[str, Any]) -> None:
    access = access_of()
    caller = caller_with(access, signed(**given))
    assert caller.gpts_of_key() == ["uno"] and caller.gpt_of_key() == "uno"
    caller.admit(access.gpts[0], 1)


BAD: dict[str, tuple[dict[str, Any], Fault]] = {
    "expired": ({"exp": -70}, challenge.EXPIRED),
    "without an end": ({"exp": None}, challenge.CLAIMS),
    "with an end that is no number": ({"exp": "soon"}, challenge.CLAIMS),
    "not valid yet": ({"nbf": 70}, challenge.EARLY),
    "issued in the future": ({"iat": 70}, challenge.EARLY),
    "for another": ({"aud": "https://other.example"}, challenge.AUDIENCE),
    "for one that begins alike": ({"aud": f"{PUBLIC}.evil.example"}, challenge.AUDIENCE),
    "for a path that is not ours": ({"aud": f"{PUBLIC}/admin"}, challenge.AUDIENCE),
    "for nobody": ({"aud": None}, challenge.CLAIMS),
    "for an empty list": ({"aud": []}, challenge.CLAIMS),
    "of another issuer": ({"iss": "https://evil.example"}, challenge.ISSUER),
    "of an issuer that begins alike": ({"iss": f"{ISSUER}x"}, challenge.ISSUER),
    "of a list of issuers": ({"iss": None, "issuer": ISSUER}, challenge.ISSUER),
    "signed by another key under our key's id": ({"key": OTHER}, challenge.SIGNATURE),
    "signed by another key without an id": ({"key": OTHER, "kid": None}, challenge.SIGNATURE),
    "of a key that is not published": ({"key": OTHER, "kid": "other"}, challenge.KEY),
    "of a key of another kind": ({"kid": "ec"}, challenge.KEY),
    "for identity by its type": ({"typ": "id+jwt"}, challenge.OTHER_USE),
    "for a logout by its type": ({"typ": "logout+jwt"}, challenge.OTHER_USE),
    "for identity at Cognito": ({"token_use": "id"}, challenge.OTHER_USE),
    "bound to a client's key": ({"cnf": {"jkt": "x"}}, challenge.BOUND),
    "with a subject that is no text": ({"sub": 7}, challenge.CLAIMS),
}


@pytest.mark.parametrize(("given", "fault"), BAD.values(), ids=BAD)
def test_a_bad_token_is_told_why_and_where_to_get_another(
    access_of: Callable[..., Access], given: dict[str, Any], fault: Fault
) -> None:
    token = signed(**given)
    problem = refused(access_of(), token)
    assert problem.kind is errors.UNAUTHENTICATED and problem.detail == fault.detail
    header = problem.headers["WWW-Authenticate"]
    assert header == (
        f'Bearer realm="otel-bridge", error="invalid_token", error_description="{fault.description}", '
        f'resource_metadata="{PUBLIC}/.well-known/oauth-protected-resource/mcp"'
    )
    assert header.isascii() and header.isprintable()
    assert token not in str(problem.document()) + header and str(CLAIMS["client_id"]) not in str(problem.document())


def test_no_algorithm_but_the_issuers_is_taken(access_of: Callable[..., Access]) -> None:
    access = access_of()
    now = int(time.time())
    claims = {**CLAIMS, "exp": now + 300, "iat": now}
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secret = base64.urlsafe_b64encode(pem).decode()
    unsigned = jwt.encode(claims, None, "none", headers={"kid": "rsa"})
    by_hmac = jwt.api_jws.PyJWS()
    hmac = by_hmac.get_algorithm_by_name("HS256")
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "rsa"}).encode()).rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    for made_of in (pem, secret.encode()):
        mac = base64.urlsafe_b64encode(hmac.sign(head + b"." + body, made_of)).rstrip(b"=")
        assert refused(access, head + b"." + body + b"." + mac).detail == challenge.ALGORITHM.detail
    assert refused(access, unsigned).detail == challenge.ALGORITHM.detail
    only = access_of(SETTINGS + 'oauth_algorithms = ["ES256"]\n')
    assert refused(only, signed()).detail == challenge.ALGORITHM.detail
    assert caller_with(only, signed(EC, "ec", "ES256")).gpt_of_key() == "uno"


def test_a_key_in_the_tokens_own_header_is_not_asked(access_of: Callable[..., Access]) -> None:
    own = {"jwk": public(OTHER, "own"), "jku": "https://evil.example/jwks", "kid": "own"}
    now = int(time.time())
    token = jwt.encode({**CLAIMS, "exp": now + 300, "iat": now}, OTHER, "RS256", headers=own)
    assert refused(access_of(), token).detail == challenge.KEY.detail


def test_a_tampered_token_is_refused(access_of: Callable[..., Access]) -> None:
    access, (head, _, mac) = access_of(), signed().split(".")
    body = jwt.utils.base64url_encode(json.dumps({**CLAIMS, "exp": 9e9, "client_id": "app-dos"}).encode()).decode()
    assert refused(access, f"{head}.{body}.{mac}").detail == challenge.SIGNATURE.detail


def test_a_token_that_is_too_long_is_not_looked_at(access_of: Callable[..., Access]) -> None:
    assert refused(access_of(), signed(more="x" * 9000)).detail == challenge.TOO_LONG.detail


# --- what it opens --------------------------------------------------------------------------------------------------


def test_a_client_opens_the_gpts_that_name_it_and_no_other(access_of: Callable[..., Access]) -> None:
    access = access_of()
    assert caller_with(access, signed(client_id="app-dos")).gpts_of_key() == ["uno", "dos"]
    problem = refused(access, signed(client_id="app-uno"), "dos")
    assert problem.kind is errors.FORBIDDEN and "WWW-Authenticate" not in problem.headers
    assert refused(access, signed(client_id="nadie")).kind is errors.FORBIDDEN
    assert refused(access, signed(client_id=None)).kind is errors.FORBIDDEN


ROLES = """
[gpts.uno]
oauth_clients = ["*"]
oauth_claims = { "realm_access.roles" = ["metricas", "admin"], "https://koomtai.com/equipo" = "devops" }
[gpts.dos]
oauth_claims = { scope = "gpt:dos" }
"""


@pytest.mark.parametrize(
    ("claims", "opened"),
    [
        ({}, []),
        ({"realm_access": {"roles": ["metricas"]}, "https://koomtai.com/equipo": "devops"}, ["uno"]),
        ({"realm_access": {"roles": ["admin", 7]}, "https://koomtai.com/equipo": ["ventas", "devops"]}, ["uno"]),
        ({"realm_access": {"roles": ["metricas"]}, "https://koomtai.com/equipo": "ventas"}, []),
        ({"realm_access": {"roles": ["metricas"]}}, []),
        ({"realm_access.roles": "metricas", "https://koomtai.com/equipo": "devops"}, ["uno"]),
        ({"realm_access": "roles", "https://koomtai.com/equipo": "devops"}, []),
        ({"realm_access": {"roles": {"metricas": True}}, "https://koomtai.com/equipo": "devops"}, []),
        ({"realm_access": {"roles": ["metricas"]}, "https://koomtai.com/equipo": "no devops"}, []),
        ({"realm_access": {"roles": "no admin"}, "https://koomtai.com/equipo": "devops"}, []),
        ({"realm_access": {"roles": ["no admin"]}, "https://koomtai.com/equipo": "devops"}, []),
        ({"scope": "openid gpt:dos"}, ["dos"]),
        ({"scope": ["gpt:dos"]}, ["dos"]),
        ({"scope": "gpt:dosx"}, []),
    ],
    ids=str,
)
def test_claims_open_a_gpt_where_all_that_it_asks_is_so(
    access_of: Callable[..., Access], claims: dict[str, Any], opened: list[str]
) -> None:
    assert caller_with(access_of(gpts=ROLES), signed(**claims)).gpts_of_key() == opened


@pytest.mark.parametrize(
    ("claims", "enough"),
    [
        ({"scope": "metricas leer"}, True),
        ({"scope": "leer otro metricas"}, True),
        ({"scp": ["metricas", "leer"]}, True),
        ({"scp": "metricas leer"}, True),
        ({"scope": "leer", "scp": ["metricas"]}, True),
        ({"scope": "metricas"}, False),
        ({"scope": "metricasleer"}, False),
        ({"scope": 7, "scp": {"metricas": 1}}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_token_without_the_scopes_is_told_which(
    access_of: Callable[..., Access], claims: dict[str, Any], enough: bool
) -> None:
    access = access_of(SETTINGS + 'oauth_scopes = ["metricas", "leer"]\n')
    if enough:
        assert caller_with(access, signed(**claims)).gpt_of_key() == "uno"
        return
    problem = refused(access, signed(**claims))
    assert problem.kind is errors.INSUFFICIENT_SCOPE
    assert 'error="insufficient_scope"' in problem.headers["WWW-Authenticate"]
    assert 'scope="metricas leer"' in problem.headers["WWW-Authenticate"]


def test_an_api_key_goes_on_opening_its_gpt(access_of: Callable[..., Access]) -> None:
    access = access_of()
    caller = caller_with(access, KEY)
    caller.admit(access.gpts[1], 1)
    assert caller.gpts_of_key() == ["dos"]
    assert refused(access, KEY).kind is errors.FORBIDDEN
    assert refused(access, "otb_guess").detail == challenge.OPAQUE.detail


def test_a_registered_key_that_looks_like_a_token_is_a_key(access_of: Callable[..., Access]) -> None:
    access = access_of(gpts=f'[gpts.uno]\napi_key_hashes = ["{keys.hash_of(b"a.b.c")}"]\n')
    caller = caller_with(access, "a.b.c")
    caller.check_in()
    caller.admit(access.gpts[0], 1)
    assert caller.gpts_of_key() == ["uno"]


def test_limits_count_by_client_and_subject_and_guesses_by_address(access_of: Callable[..., Access]) -> None:
    access = access_of('rate_limit = "2/hour"\n' + SETTINGS)
    gpt = access.gpts[0]
    for token in (signed(), signed(jti="another token of the same")):
        caller_with(access, token).admit(gpt, 1)
    with pytest.raises(Problem) as caught:
        caller_with(access, signed()).admit(gpt, 1)
    assert caught.value.kind is errors.RATE_LIMITED
    caller_with(access, signed(sub="eva")).admit(gpt, 1)
    caller_with(access, signed(client_id="app-dos")).admit(gpt, 1)
    for kind in (errors.UNAUTHENTICATED, errors.UNAUTHENTICATED, errors.RATE_LIMITED):
        assert refused(access, signed(exp=-900)).kind is kind
    caller_with(access, signed(sub="eva")).admit(gpt, 1)  # what guesses cost, they cost nobody else


def test_an_open_gpt_is_open_to_whoever_brings_a_bad_token(access_of: Callable[..., Access]) -> None:
    access = access_of(gpts=GPTS + "[gpts.abierto]\n")
    caller_with(access, signed(exp=-900)).admit(access.gpts[2], 1)
    assert not access.all_closed and access_of().all_closed


# --- the door without a GPT -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpts", "token", "kind"),
    [
        (GPTS, signed, None),
        (GPTS, KEY, None),
        (GPTS, partial(signed, client_id="nadie"), errors.FORBIDDEN),
        (GPTS, partial(signed, exp=-900), errors.UNAUTHENTICATED),
        (GPTS, "", errors.UNAUTHENTICATED),
        (GPTS, "otb_guess", errors.UNAUTHENTICATED),
        (GPTS + "[gpts.abierto]\n", "", None),
        (GPTS + "[gpts.abierto]\n", partial(signed, client_id="nadie"), None),
        (GPTS + "[gpts.abierto]\n", partial(signed, exp=-900), errors.UNAUTHENTICATED),
        (GPTS + "[gpts.abierto]\n", "opaque", errors.UNAUTHENTICATED),
        (GPTS + "[gpts.abierto]\n", KEY, None),
    ],
)
def test_checking_in_needs_a_good_token_or_no_token_where_something_is_open(
    access_of: Callable[..., Access], gpts: str, token: str | Callable[[], str], kind: errors.ErrorKind | None
) -> None:
    # Signed here: what is signed when tests are collected has expired when it is their turn.
    caller = caller_with(access_of(gpts=gpts), token() if callable(token) else token)
    if kind is None:
        caller.check_in()
        return
    with pytest.raises(Problem) as caught:
        caller.check_in()
    assert caught.value.kind is kind


# --- remembering ----------------------------------------------------------------------------------------------------


def test_a_verified_token_is_not_verified_again_until_it_expires(
    access_of: Callable[..., Access], monkeypatch: pytest.MonkeyPatch
) -> None:
    access, token = access_of(), signed()
    verifications: list[int] = []
    check = tokens.Tokens._check
    monkeypatch.setattr(tokens.Tokens, "_check", lambda *a: verifications.append(1) or check(*a))
    for _ in range(3):
        assert caller_with(access, token).gpt_of_key() == "uno"
    assert len(verifications) == 1
    later = time.time() + 3600
    monkeypatch.setattr(tokens.time, "time", lambda: later)
    caller_with(access, token)
    assert len(verifications) == 2


def test_what_is_remembered_is_bounded_and_forgotten_with_the_keys(
    access_of: Callable[..., Access], monkeypatch: pytest.MonkeyPatch
) -> None:
    access = access_of()
    monkeypatch.setattr(tokens, "REMEMBERED", 3)
    made = [signed(EC, "ec", "ES256", jti=str(i)) for i in range(5)]
    for token in made:
        assert caller_with(access, token).gpt_of_key() == "uno"
    assert access.tokens is not None and len(access.tokens) == 3
    source: Any = access.tokens._keys
    source.known = KeySet([public(OTHER, "rsa")])  # the issuer has withdrawn the key
    assert refused(access, made[4]).detail == challenge.KEY.detail
    assert len(access.tokens) == 0


def test_without_keys_a_token_is_neither_good_nor_bad(access_of: Callable[..., Access]) -> None:
    access = access_of('rate_limit = "1/hour"\n' + SETTINGS)
    good, unknown = signed(), signed(OTHER, "new")
    assert access.tokens is not None
    source: Any = access.tokens._keys
    source.failing = True
    assert caller_with(access, good).gpt_of_key() == "uno"  # its key is known
    for known in (source.known, None):
        source.known = known
        problem = refused(access, unknown if known else good)
        assert problem.kind is errors.PROVIDER_AWAY and problem.headers == {"Retry-After": "7"}
    assert refused(access, signed(iss="https://evil.example")).detail == challenge.ISSUER.detail


def test_a_key_that_is_still_being_looked_up_is_not_unknown_yet(access_of: Callable[..., Access]) -> None:
    """A token of a new key is a good one: a client that is told 401 throws it away."""
    access = access_of()
    assert access.tokens is not None
    source: Any = access.tokens._keys
    new = signed(OTHER, "new")
    assert refused(access, new).detail == challenge.KEY.detail
    source.unsettled = True
    assert refused(access, new).kind is errors.PROVIDER_AWAY


# --- junk -----------------------------------------------------------------------------------------------------------

_NAMES = ("alg", "kid", "typ", "crit", "b64", "iss", "aud", "exp", "scope", "cnf", "sub")
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=5),
    max_leaves=8,
)
_PART = st.one_of(
    st.binary(max_size=40).map(lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=")),
    _JSON.map(lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")),
    st.binary(max_size=20).map(lambda raw: raw.replace(b".", b"")),
)


@given(head=_PART, body=_PART, mac=_PART)
def test_junk_is_refused_and_never_an_error(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, body: bytes, mac: bytes
) -> None:
    problem = refused(_shared(tmp_path_factory), b".".join((head, body, mac)))
    assert problem.kind is errors.UNAUTHENTICATED


@given(
    header=st.fixed_dictionaries(
        {},
        optional={
            "kid": st.sampled_from(["rsa", "ec", "", "x", None, 7, ["rsa"], {"a": 1}]),
            "typ": st.sampled_from(["JWT", "", None, 7, [], "at+jwt"]),
            "crit": st.sampled_from([[], ["exp"], "exp", None, [7]]),
            "b64": st.sampled_from([True, False, None, "x"]),
        },
    ),
    claims=st.dictionaries(
        st.sampled_from([*CLAIMS, "nbf", "azp", "scope", "scp", "cnf", "typ", "token_use", "jti"]),
        st.sampled_from(
            [None, True, 0, -1, 10**400, "\ud800", 1e308, "", "x", ISSUER, PUBLIC, [], [PUBLIC], [[]], {}, {"a": []}]
        ),
        max_size=4,
    ),
)
def test_any_claims_of_the_issuer_itself_are_answered(
    tmp_path_factory: pytest.TempPathFactory, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    now = int(time.time())
    head = jwt.utils.base64url_encode(json.dumps({"alg": "EdDSA", "kid": "ed", **header}).encode())
    every = {**CLAIMS, "exp": now + 300, "iat": now, **claims}
    body = jwt.utils.base64url_encode(json.dumps(every).encode())
    mac = jwt.utils.base64url_encode(ED.sign(head + b"." + body))
    access = _shared(tmp_path_factory)
    caller = caller_with(access, head + b"." + body + b"." + mac)
    try:
        caller.admit(access.gpts[0], 1)
    except Problem as problem:
        assert problem.kind in (errors.UNAUTHENTICATED, errors.FORBIDDEN)


_made: list[Access] = []


def _shared(factory: pytest.TempPathFactory) -> Access:
    if not _made:
        text = 'rate_limit = "off"\n' + SETTINGS + GPTS
        _made.append(Access(loaded(factory.mktemp("config"), text), KnownKeys(JWKS)))  # type: ignore[arg-type]
    return _made[0]


# --- the set of keys ------------------------------------------------------------------------------------------------


def test_a_set_keeps_what_signs_and_leaves_out_the_rest() -> None:
    unusable: list[Any] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"},
        public(RSA, "encryption", use="enc"),
        public(RSA, "wrap", key_ops=["wrapKey"]),
        public(RSA, "other", alg="RSA-OAEP"),
        {"kty": "RSA", "kid": "half", "n": "AQAB"},
        {"kty": "RSA", "kid": "numbers", "n": 5, "e": 3},
        {"kty": "EC", "kid": "curve", "crv": [], "x": "", "y": ""},
        {"kty": "OKP", "kid": "exchange", "crv": "X25519", "x": "AAAA"},
        {"kty": ["RSA"]},
        {},
        None,
        "text",
        7,
    ]
    for document in unusable:
        with pytest.raises(ProviderError):
            KeySet([document])
    found = KeySet([*unusable, *JWKS])
    assert len(found) == 3
    assert [len(found.find(kid, "RS256")) for kid in ("rsa", "encryption", "ec", None)] == [1, 0, 0, 1]
    assert len(KeySet([public(RSA, "a", alg="RS256")]).find("a", "PS256")) == 0
    assert len(KeySet([public(RSA, str(i)) for i in range(300)])) == 100


def test_key_ids_that_tokens_make_up_are_not_remembered() -> None:
    found = KeySet(JWKS)
    for i in range(100):
        assert found.find(f"made-up-{i}", "RS256") == ()
    assert len(found._made) == 0
