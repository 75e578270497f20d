"""A caller: one reading of a request's headers, and the only way to keys and limits.

A limit is counted per API key, or per client and subject of an access token, else per GPT and client address; a batch
counts each item. Guessed keys, and names of GPTs and sessions that do not exist, are counted by address.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from otel_bridge import errors
from otel_bridge.access import challenge, keys
from otel_bridge.access.addresses import Addresses, Headers
from otel_bridge.access.challenge import Challenge
from otel_bridge.access.limits import RateLimits
from otel_bridge.config import Config, Gpt, Rate
from otel_bridge.errors import ErrorKind, Problem

if TYPE_CHECKING:
    from otel_bridge.access.jwks import IssuerKeys
    from otel_bridge.access.tokens import Principal, Tokens

_TRACEPARENT = re.compile(r"^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-|$)")
HISTORY = b"otel-bridge-historial"
"""The header that says that a post is history. `otel-bridge import` sends it."""
_IDEMPOTENCY_KEY = re.compile(rb"[\x21-\x7e]{1,255}").fullmatch
_HINT = re.compile(r"[\x21-\x7e]{1,200}").fullmatch


class Conversation(NamedTuple):
    """The conversation that a request says it belongs to: ChatGPT's, or an MCP client's. A hint, and proof of
    nothing."""

    id: str
    user: str | None
    """Its user, as `usuario_id`."""
    shared: bool = False
    """Whether several users may be in it."""

    @property
    def usuario_id(self) -> str:
        """Its user, or itself as one."""
        return self.user or f"openai-conversation:{self.id}"


def conversation_of(conversation: object, user: object, prefix: str) -> Conversation | None:
    """A conversation from two hints, where the first is fit to be one."""
    conversation_id = _hint(conversation)
    return None if conversation_id is None else Conversation(conversation_id, user_of(user, prefix))


def user_of(user: object, prefix: str) -> str | None:
    """A `usuario_id` from a hint that is fit to be one; `prefix` tells where it is from."""
    user_id = _hint(user)
    return None if user_id is None else f"{prefix}:{user_id}"


def _hint(value: object) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value if isinstance(value, str) and _HINT(value) else None


class Access:
    """What callers are judged by: the registered keys, the issuer's tokens, the limits, the trusted proxies. Used from
    one event loop."""

    def __init__(self, config: Config, issuer_keys: IssuerKeys | None = None, key: bytes = b"") -> None:
        """Without `issuer_keys` no access token is taken. `key`: of the user hash. Raises StartRefused."""
        self.limits = RateLimits(config.rate_limit_storage, key)
        self._issuer_keys = issuer_keys
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Takes on a configuration; callers that exist go on under the new one."""
        self.rate = config.rate_limit
        self.addresses = Addresses(config.trusted_proxies)
        self.gpts = tuple(config.gpts.values())
        self.key_hashes = tuple(dict.fromkeys(digest for gpt in self.gpts for digest in gpt.api_key_hashes))
        self.all_closed = all(gpt.closed for gpt in self.gpts)
        """Whether there is no GPT that may be posted for without a credential."""
        self.refusals = Challenge(config)
        self.scopes = config.oauth_scopes
        self.tokens: Tokens | None = None
        """None: no access token is taken."""
        if config.oauth_issuer is not None and self._issuer_keys is not None:
            from otel_bridge.access.tokens import Tokens  # most configurations have none: 10 MiB and 60 ms

            self.tokens = Tokens(config, self._issuer_keys, self.refusals)

    def caller(self, raw: Headers, peer: str, conversation: Conversation | None = None, door: str = "") -> Caller:
        """The caller of a request with these headers (lower-case names), from that address; `conversation` where
        something else than the headers tells it. Raises Problem (400) for an unusable `Idempotency-Key`."""
        caller = Caller(self, raw, dict(raw), peer, conversation)
        caller.door = door
        return caller


class Caller:
    """Who makes a request, as far as its headers and its connection tell."""

    link: bytes | None = None
    """The caller's trace id (16 bytes) and span id (8), from `traceparent`; an unusable one is ignored (W3C Trace
    Context)."""
    idempotency_key: str | None = None
    historic = False
    """Whether it says that what it posts is history: it happened long ago, and is nothing of today's."""
    door: str = ""
    """The path that metadata for clients describes (access/challenge.py), where it is another than the API's."""
    _admitted: Mapping[str, asyncio.Future[None] | Problem | None] = MappingProxyType({})
    """By GPT, what `admit` has said of it."""
    _key_hash: str | None = None
    _principal: Principal | None = None
    """Who the access token speaks for that it bears, once that is verified."""
    _token_problem: Problem | None = None
    """Why that token is not good."""

    def __init__(
        self,
        access: Access,
        raw: Headers,
        headers: Mapping[bytes, bytes],
        peer: str,
        conversation: Conversation | None = None,
    ) -> None:
        self._access = access
        self._raw = raw
        self._peer = peer
        self.headers = headers
        self.conversation = conversation
        if b"traceparent" in headers:
            match = _TRACEPARENT.match(headers[b"traceparent"].decode("latin-1"))
            self.link = None if match is None else bytes.fromhex(match[1] + match[2])
        if b"idempotency-key" in headers:
            if not _IDEMPOTENCY_KEY(headers[b"idempotency-key"]):
                raise Problem(
                    errors.HEADER_INVALID,
                    "«Idempotency-Key» debe tener de 1 a 255 caracteres ASCII visibles, sin espacios.",
                )
            self.idempotency_key = headers[b"idempotency-key"].decode()
        if HISTORY in headers:
            if headers[HISTORY] != b"1":
                raise Problem(errors.HEADER_INVALID, "«Otel-Bridge-Historial» solo puede valer 1.")
            self.historic = True
        if conversation is None and b"openai-conversation-id" in headers:
            self.conversation = conversation_of(
                headers[b"openai-conversation-id"], headers.get(b"openai-ephemeral-user-id"), "openai-user"
            )

    @property
    def address(self) -> str:
        """The client's address as it is counted: IPv4, or an IPv6 /64; `?` where it is unreadable."""
        return self._access.addresses.client(self._peer, self._raw)

    def admit(self, gpt: Gpt, items: int) -> asyncio.Future[None] | None:
        """Lets this request in for a GPT, once: checks its key and counts its items.

        Raises Problem (401, 403, 429), at once or from what it returns: that must be awaited where it is not None.
        Asked again, it says the same and counts nothing.
        """
        if gpt.id in self._admitted:
            said = self._admitted[gpt.id]
        else:
            said = self._ask(gpt, items)
            self._admitted = {**self._admitted, gpt.id: said}
        if isinstance(said, Problem):
            raise said
        return said

    def _ask(self, gpt: Gpt, items: int) -> asyncio.Future[None] | Problem | None:
        rate = self._access.rate if gpt.rate_limit is None else gpt.rate_limit
        try:
            who = self._check_credential(gpt, rate) if gpt.closed else self.address if rate else ""
            return self._access.limits.take(f"{gpt.id}/{who}", rate, items) if rate else None
        except Problem as problem:
            return problem

    async def admitted(self, gpt: Gpt, items: int) -> None:
        """`admit`, awaited where that must be."""
        pending = self.admit(gpt, items)
        if pending is not None:
            await pending

    async def admitted_to(self, gpt_id: str | None, gpts: Mapping[str, Gpt], unknown: ErrorKind) -> None:
        """`admitted`, to what was looked up and is that GPT's; None: it was not found, the problem `unknown`.
        Raises Problem.

        A GPT that has left the configuration has taken its keys along: what is its is shown to nobody."""
        gpt = None if gpt_id is None else gpts.get(gpt_id)
        if gpt is None:
            self.admit_unknown(1)
            raise Problem(unknown if gpt_id is None else errors.GPT_NOT_FOUND)
        await self.admitted(gpt, 1)

    @property
    def token(self) -> bytes:
        """The access token that it bears, where tokens are taken; empty where there is none. Its shape tells.

        A registered key of that shape opens its GPT all the same: a token that is not good leaves that to the keys."""
        if self._access.tokens is None or b"authorization" not in self.headers:
            return b""
        token = keys.bearer(self.headers)
        return token if token.count(b".") == 2 else b""

    async def identify(self) -> None:
        """Verifies the access token that it bears, where it bears one. Comes before everything that depends on who it
        is; a token that is not good matters only where a credential is needed."""
        token, tokens = self.token, self._access.tokens
        if token and tokens is not None:
            try:
                self._principal = await tokens.verify(token, self.door)
            except Problem as problem:
                self._token_problem = problem

    @property
    def presents_key(self) -> bool:
        """Whether there is a header that may hold a key or a token."""
        return b"authorization" in self.headers or b"x-api-key" in self.headers

    @property
    def key_hash(self) -> str:
        """Of the key that this request presents, as the configuration holds it; empty where there is none."""
        if self._key_hash is None:
            key = keys.presented(self.headers)
            self._key_hash = "" if key is None else keys.hash_of(key)
        return self._key_hash

    @property
    def holder(self) -> str:
        """Whose credential it presents: the same for each of a client's tokens. Empty where it presents none."""
        return self.key_hash if self._principal is None else self._principal.who

    def _check_credential(self, gpt: Gpt, rate: Rate | None) -> str:
        """What a caller with a valid key or token is counted by. Raises Problem (401, 403, 429, 503)."""
        principal = self._principal
        if principal is not None:
            if gpt.id in principal.gpts and principal.has_scopes:
                return principal.who
        elif keys.among(self.key_hash, gpt.api_key_hashes):
            return self.key_hash[7:39]
        raise self._refusal(gpt.id, rate)

    def check_in(self) -> None:
        """Lets in what is asked for no GPT in particular: a token must be good, and where every GPT needs a credential,
        one that opens any. Raises Problem (401, 403, 429, 503)."""
        access = self._access
        must = access.all_closed or (access.tokens is not None and keys.bearer(self.headers) != b"")
        principal = self._principal
        if principal is not None and principal.has_scopes and not access.all_closed:
            return  # it opens what is open to everybody
        if must and not self.gpts_of_key():
            raise self._refusal("?", access.rate)

    def _refusal(self, place: str, rate: Rate | None) -> Problem:
        """Why the credential is none here. Raises Problem (429) where too many were tried."""
        access, problem, principal = self._access, self._token_problem, self._principal
        if problem is not None and problem.kind is errors.PROVIDER_AWAY:
            return problem  # nobody has guessed anything
        if rate:
            access.limits.guess(f"{place}/!{self.address}", rate, 1)
        if problem is not None:
            return problem
        if principal is not None:
            return access.refusals.stranger() if principal.has_scopes else access.refusals.insufficient(self.door)
        if keys.among(self.key_hash, access.key_hashes):
            return Problem(errors.FORBIDDEN)
        if self.presents_key:
            return access.refusals.bad(challenge.OPAQUE, self.door)
        return access.refusals.missing(self.door)

    def admit_unknown(self, items: int) -> None:
        """Counts what names no GPT or session that exists: looking for them is limited, too. Raises Problem (429)."""
        access = self._access
        if access.rate:
            access.limits.guess(f"?/{self.address}", access.rate, items)

    def refuse_guesses(self) -> None:
        """Before a search that costs: raises Problem (429) where this address has named too much that does not exist,
        and shows no key that is known."""
        access = self._access
        if access.rate and not self.gpts_of_key():
            access.limits.refuse_spent(f"?/{self.address}", access.rate)

    def gpts_of_key(self) -> list[str]:
        """The GPTs that this request's key or token opens: one, unless the operator gave several the same."""
        principal = self._principal
        if principal is not None:
            return [gpt.id for gpt in self._access.gpts if gpt.id in principal.gpts] if principal.has_scopes else []
        if not self.key_hash:
            return []
        return [gpt.id for gpt in self._access.gpts if keys.among(self.key_hash, gpt.api_key_hashes)]

    def gpt_of_key(self) -> str | None:
        """The one GPT that this request's key or token opens."""
        gpts = self.gpts_of_key()
        return gpts[0] if len(gpts) == 1 else None
