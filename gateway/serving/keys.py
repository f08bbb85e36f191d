"""The keys of an issuer, kept up to date: read from a file, or fetched, and never so that anybody else waits for it.

Whoever shows a token of an unknown key waits for one fetch, all of them for the same one, and not again before
`retry_s` has passed. Keys that have grown old are fetched while they are used. Where that fails, they stay.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from actors.errors import ConfigError, NotPermitted
from gateway.access import Caller
from gateway.access_config import JwtConfig
from gateway.jwks import PublicKeys, UnknownKey, caller_of, claims_of

log: logging.Logger = logging.getLogger("gateway.keys")

BYTES_MAX = 256 * 1024


class KeysMissing(Exception):  # it never leaves this package
    """Whether a token is good cannot be said now: its issuer's keys could not be had."""


Fetch = Callable[[JwtConfig], Awaitable[bytes]]


async def fetch_keys(config: JwtConfig) -> bytes:
    """Return what the issuer says its keys are. Raises ConfigError for whatever goes wrong."""
    if not config.is_address:
        try:
            return await asyncio.to_thread(_read, config.jwks)
        except OSError as error:
            raise ConfigError(f"gateway.jwt.jwks {config.jwks} cannot be read: {error}") from None
    limit = aiohttp.ClientTimeout(total=config.fetch_timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as http,
            http.get(config.jwks, allow_redirects=False) as answered,
        ):
            if answered.status != 200:  # noqa: PLR2004
                raise ConfigError(f"gateway.jwt.jwks {config.jwks} answers {answered.status}")
            raw = await answered.content.read(BYTES_MAX + 1)
            while len(raw) <= BYTES_MAX and (more := await answered.content.read(BYTES_MAX)):
                raw += more
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ConfigError(
            f"gateway.jwt.jwks {config.jwks} cannot be fetched: {type(error).__name__}: {error}"
        ) from None
    if len(raw) > BYTES_MAX:
        raise ConfigError(f"gateway.jwt.jwks {config.jwks} has more than {BYTES_MAX} bytes")
    return raw


def _read(file: str) -> bytes:
    return Path(file).expanduser().read_bytes()


class IssuerKeys:
    """The keys of one issuer. Use within one event loop."""

    def __init__(self, config: JwtConfig, fetch: Fetch = fetch_keys) -> None:
        self._config = config
        self._fetch = fetch
        self._keys: PublicKeys | None = None
        self._asked_at_s: float | None = None
        self._failed = False
        self._asking: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Get the keys. Raises ConfigError where they are in a file, and it is not right."""
        if not self._config.is_address:
            self._keys = PublicKeys.parse(await self._fetch(self._config), f"gateway.jwt.jwks {self._config.jwks}")
            self._asked_at_s = asyncio.get_running_loop().time()
        else:
            self._ask()  # an issuer that is away for a moment keeps no gateway from starting

    async def close(self) -> None:
        """Fetch no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def caller(self, token: str) -> Caller:
        """Return whose token this is. Raises NotPermitted, KeysMissing."""
        if self._is_older_than(self._config.refresh_s):
            self._ask()
        for is_last in (False, True):
            try:
                if self._keys is not None:
                    return caller_of(claims_of(token, self._keys, self._config), self._config.claims)
            except UnknownKey:
                pass
            if is_last or not (self._asking is not None or self._is_older_than(self._config.retry_s)):
                break
            await asyncio.wait([self._ask()])
        if self._keys is None or self._failed:
            raise KeysMissing("the issuer's keys cannot be had now; try again")
        raise NotPermitted("this token names a key (kid) that its issuer does not have")

    def _is_older_than(self, seconds: float) -> bool:
        return self._asked_at_s is None or asyncio.get_running_loop().time() - self._asked_at_s >= seconds

    def _ask(self) -> asyncio.Task[None]:
        """Fetch the keys, unless that is under way."""
        if self._asking is None:
            self._asked_at_s = asyncio.get_running_loop().time()
            self._asking = asyncio.ensure_future(self._refresh())
        return self._asking

    async def _refresh(self) -> None:
        try:
            raw = await self._fetch(self._config)
            self._keys = PublicKeys.parse(raw, f"gateway.jwt.jwks {self._config.jwks}")
            self._failed = False
        except ConfigError as error:
            self._failed = True
            log.warning("%s; %s", error, "no token can be checked" if self._keys is None else "the old keys are kept")
        finally:
            self._asking = None
