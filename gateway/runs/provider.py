"""An agent that is a provider: asks it, and publishes what it says."""

from __future__ import annotations

import asyncio
import random

from router import Publisher
from router.runs.bodies import build_body, model_of
from router.runs.endpoint import Endpoint
from router.runs.requests import Request
from router.runs.retries import Retries
from router.sources.http import HttpProviderError, HttpSource


async def ask_provider(stream: Publisher, endpoint: Endpoint, key: str | None, request: Request) -> None:
    """Publish a provider's answer; before its first chunk, ask again where that makes sense.

    Raises HttpProviderError, ConfigError (no model); the request ends as `error` then.
    """
    body = build_body(endpoint.api, request, endpoint.model)
    path = endpoint.path(model_of(request, endpoint.model))
    retries, rng = Retries(), random.Random()
    async with HttpSource(
        endpoint.base_url, headers=endpoint.auth_headers(key), timeouts=endpoint.timeouts.for_source()
    ) as http:
        attempts = 0
        while True:
            attempts += 1
            chunks = 0
            try:
                async for chunk in http.stream(path, body, chunk_bytes_max=stream.settings.chunk_bytes_max):
                    chunks += 1
                    await stream.chunk(chunk)
            except HttpProviderError as error:
                wait_s = None if chunks else retries.wait_s(attempts, error, rng)
                if wait_s is None:
                    raise
                await asyncio.sleep(wait_s)
            else:
                return
