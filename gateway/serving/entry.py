"""The ways in: who asks, by a token, a signed token, a ticket, or what a trusted proxy says."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from aiohttp import web

from actors.errors import ConfigError, InvalidArgument, NotPermitted
from gateway.access import ANYBODY, Caller, Tokens
from gateway.config import GatewayConfig
from gateway.formats.many import joined, names_in
from gateway.jwks import pyjwt
from gateway.serving.keys import IssuerKeys
from gateway.tickets import Tickets
from gateway.trusted_proxy import TrustedProxy

SECRET_CHARACTERS_MIN = 16


class Entry:
    """Finds out who asks. Raises ConfigError for files and variables that are not there."""

    def __init__(self, config: GatewayConfig) -> None:
        self.tokens: Tokens | None = read_tokens(config)
        self.keys: IssuerKeys | None = None
        if config.jwt is not None:
            pyjwt()  # raises where it is not installed
            self.keys = IssuerKeys(config.jwt)
        self._proxy = None if config.proxy is None else TrustedProxy(config.proxy)
        self.tickets: Tickets | None = _tickets(config, self.tokens)

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked who they are."""
        return self.tokens is None and self.keys is None and self._proxy is None

    @property
    def tenants(self) -> set[str]:
        """Whose runs the tokens of the file are for."""
        return set() if self.tokens is None else self.tokens.tenants

    async def begin(self) -> None:
        """Get what is checked with. Raises ConfigError."""
        if self.keys is not None:
            await self.keys.begin()

    async def close(self) -> None:
        """Fetch nothing more."""
        if self.keys is not None:
            await self.keys.close()

    async def caller(self, request: web.Request) -> Caller:
        """Return who asks. Raises NotPermitted, KeysMissing."""
        if self.is_open:
            return ANYBODY
        if self._proxy is not None and self._proxy.is_at(request.remote):
            named = self._proxy.caller(lambda header: request.headers.getall(header, []))
            if named is not None:
                return named
        token = _token(request)
        if token is not None:
            return await self._holder(token)
        ticket = request.query.get("token")
        if ticket is not None and self.tickets is not None and request.method == "GET":
            return self.tickets.holder(ticket, stream_named(request), time.time())
        raise NotPermitted("this gateway wants a token: Authorization: Bearer TOKEN")

    async def _holder(self, token: str) -> Caller:
        if self.tokens is not None and (self.keys is None or self.tokens.knows(token)):
            return self.tokens.caller(token)
        if self.keys is not None:
            return await self.keys.caller(token)
        raise NotPermitted("this gateway takes no tokens; who may come, its proxy says")


def stream_named(request: web.Request) -> str:
    """Return which stream a request is about, or which several, as a ticket is made for it."""
    try:
        names = names_in(request.rel_url.raw_query_string)
    except InvalidArgument:
        return ""
    return request.match_info.get("id", "") if names is None else name_of_many(names)


def name_of_many(names: Iterable[str]) -> str:
    """Return the name under which a ticket is made for several streams; none is called so, for it is not printable."""
    return "\n" + joined(names)


def _token(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("x-api-key")


def read_tokens(config: GatewayConfig) -> Tokens | None:
    """Return the tokens of the file; None: there is none. Raises ConfigError."""
    if config.tokens_file is None:
        return None
    file = Path(config.tokens_file).expanduser()
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"gateway.tokens_file {file} cannot be read: {error}") from None
    return Tokens.parse(text, str(file))


def _tickets(config: GatewayConfig, tokens: Tokens | None) -> Tickets | None:
    """Return what makes tickets; None where there is no secret that all gateways of the service know."""
    if config.ticket_key_env is not None:
        secret = os.environ.get(config.ticket_key_env, "")
        if len(secret) < SECRET_CHARACTERS_MIN:
            raise ConfigError(
                f"gateway.ticket_key_env: the environment variable {config.ticket_key_env} is to hold a secret of "
                f"{SECRET_CHARACTERS_MIN} characters or more, the same for all gateways of the service"
            )
        return Tickets(secret.encode("utf-8", "surrogateescape"))
    return None if tokens is None else Tickets(tokens.secret)
