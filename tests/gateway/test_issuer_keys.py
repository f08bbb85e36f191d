"""The keys of an issuer: new ones are found, old ones are kept, and an issuer that is away holds up nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from actors.errors import ConfigError, NotPermitted
from gateway.access_config import JwtConfig
from gateway.serving.keys import BYTES_MAX, IssuerKeys, KeysMissing, fetch_keys
from tests.gateway.fakes import until
from tests.gateway.issuer import AUDIENCE, ISSUER, jwk, jwks, token


def config(jwks_at: str = "https://issuer.example/keys", **more: Any) -> JwtConfig:
    return JwtConfig(jwks=jwks_at, issuer=ISSUER, audience=AUDIENCE, **more)


class Issuer:
    """Answers with its keys, or with an error, when it is let."""

    def __init__(self, raw: bytes = b"") -> None:
        self.answer: bytes | ConfigError = raw
        self.asked = 0
        self.lets = asyncio.Event()
        self.lets.set()

    async def __call__(self, _: JwtConfig) -> bytes:
        self.asked += 1
        await self.lets.wait()
        if isinstance(self.answer, ConfigError):
            raise self.answer
        return self.answer


@asynccontextmanager
async def kept(issuer: Issuer, **more: Any) -> AsyncIterator[IssuerKeys]:
    keys = IssuerKeys(config(**more), issuer)
    await keys.begin()
    try:
        yield keys
    finally:
        await keys.close()


async def test_a_new_key_is_found_by_the_first_token_that_names_it():
    issuer = Issuer(jwks(jwk("ES256", "k1")))
    async with kept(issuer, retry_s=1e-6) as keys:
        assert (await keys.caller(token())).name == "ada"
        issuer.answer = jwks(jwk("ES256", "k1"), jwk("RS256", "k2"))
        assert (await keys.caller(token("RS256", "k2"))).name == "ada"
        assert issuer.asked == 2


async def test_made_up_keys_have_an_issuer_asked_no_more_than_now_and_then():
    issuer = Issuer(jwks(jwk("ES256", "k1")))
    async with kept(issuer) as keys:
        for number in range(50):
            with pytest.raises(NotPermitted, match="names a key"):
                await keys.caller(token(key_id=f"made-up-{number}"))
        assert issuer.asked == 1


async def test_all_who_wait_for_a_key_wait_for_one_fetch_and_who_leaves_ends_it_not():
    issuer = Issuer(jwks(jwk("ES256", "k1")))
    issuer.lets.clear()
    async with kept(issuer) as keys:
        waiting = [asyncio.ensure_future(keys.caller(token())) for _ in range(10)]
        await until(lambda: issuer.asked == 1)
        waiting.pop().cancel()
        issuer.lets.set()
        assert {caller.name for caller in await asyncio.gather(*waiting)} == {"ada"}
        assert issuer.asked == 1


async def test_an_issuer_that_is_away_keeps_nobody_out_whose_key_is_known():
    issuer = Issuer(jwks(jwk("ES256", "k1")))
    async with kept(issuer, refresh_s=1e-6, retry_s=1e-6) as keys:
        await keys.caller(token())
        issuer.answer = ConfigError("it is away")
        issuer.lets.clear()
        assert (await keys.caller(token())).name == "ada", "old keys are fetched while they are used"
        issuer.lets.set()
        with pytest.raises(KeysMissing):
            await keys.caller(token(key_id="k2"))
        issuer.answer = jwks(jwk("ES256", "k2"))
        assert (await keys.caller(token(key_id="k2"))).name == "ada"
        with pytest.raises(NotPermitted):
            await keys.caller(token())


async def test_a_gateway_starts_without_its_issuer_and_says_that_it_cannot_tell():
    issuer = Issuer()
    issuer.answer = ConfigError("it is away")
    async with kept(issuer, retry_s=1e-6) as keys:
        with pytest.raises(KeysMissing):
            await keys.caller(token())
        issuer.answer = jwks(jwk("ES256", "k1"))
        assert (await keys.caller(token())).name == "ada"


async def test_a_file_of_keys_is_read_and_read_again(tmp_path: Path):
    file = tmp_path / "keys.json"
    for raw, said in ((None, "cannot be read"), (b"{}", "expected a JWKS")):
        if raw is not None:
            file.write_bytes(raw)
        with pytest.raises(ConfigError, match=said):
            await IssuerKeys(config(str(file))).begin()
    file.write_bytes(jwks(jwk("ES256", "k1")))
    keys = IssuerKeys(config(str(file), retry_s=1e-6))
    await keys.begin()
    assert (await keys.caller(token())).name == "ada"
    file.write_bytes(jwks(jwk("ES256", "k2")))
    assert (await keys.caller(token(key_id="k2"))).name == "ada"
    await keys.close()


Handler = Callable[[web.Request], Any]


@asynccontextmanager
async def at(handler: Handler) -> AsyncIterator[str]:
    """Serve an address of keys."""
    app = web.Application()
    app.router.add_get("/keys", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    finally:
        await runner.cleanup()


async def test_keys_are_fetched_from_an_address():
    async def keys(_: web.Request) -> web.Response:
        return web.Response(body=jwks(jwk("ES256", "k1")))

    async with at(keys) as url:
        assert await fetch_keys(config(url)) == jwks(jwk("ES256", "k1"))


async def _redirects(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "https://other.example"})


async def _says_too_much(_: web.Request) -> web.Response:
    return web.Response(body=b"x" * (BYTES_MAX + 1))


async def _says_nothing(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


@pytest.mark.parametrize(
    ("handler", "said"),
    [(_redirects, "answers 302"), (_says_too_much, "more than"), (_says_nothing, "cannot be fetched: TimeoutError")],
)
async def test_what_answers_with_something_else_is_named(handler: Handler, said: str):
    async with at(handler) as url:
        with pytest.raises(ConfigError, match=said):
            await fetch_keys(config(url, fetch_timeout_s=0.1))


async def test_where_nothing_listens_is_named():
    with pytest.raises(ConfigError, match=r"http://127.0.0.1:9/keys cannot be fetched: ClientConnector"):
        await fetch_keys(config("http://127.0.0.1:9/keys"))
