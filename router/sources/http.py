"""Streams of HTTP providers: a POST in, raw chunks out, one a server-sent event.

What goes wrong becomes an `HttpProviderError` that says which kind of wrong it was, whether asking
again makes sense, and when. Nothing is retried here: after the first chunk a retry would make
another answer, and before it the caller knows best.

Redirects are followed within one origin only (scheme, host, port), with the same POST: to another origin neither
keys nor headers nor the request go. A body that is no stream is read all the same: a JSON answer or error is a chunk
as any other; a page, or nothing at all, is a named error.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urljoin, urlsplit

import aiohttp

from actors.errors import ProviderError
from actors.providers.sse import EVENT_BYTES_MAX, SseDecoder, SseEvent
from router.sources.refusals import read_refusal

_SHOWN_BYTES_MAX = 64 * 1024
_SHOWN_CHARS_MAX = 300
_RETRYABLE_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_REDIRECTS_MAX = 5
_REDIRECTS = frozenset({301, 302, 307, 308})
_STREAM_TYPES = frozenset(
    {
        "text/event-stream",
        "text/plain",
        "application/octet-stream",
        "application/x-ndjson",
        "application/jsonl",
        "application/jsonlines",
        "application/stream+json",
    }
)
_SECRET_HEADERS = frozenset(
    {"authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", "proxy-authorization"}
)
# What keys look like where a provider repeats them in its error text.
_SECRET_TEXT = re.compile(
    r"(?i)\b(?:bearer\s+[\w.~+/=-]{8,}|(?:sk|pk|rk|gsk|xai|key|AIza)[-_][\w-]{12,}|AIza[\w-]{20,})"
)
_TAG = re.compile(r"<[^>]*>")

Kind = Literal["unreachable", "timeout", "status", "not_a_stream", "empty", "redirect", "cut"]


class HttpProviderError(ProviderError):
    """A provider refused, failed, or broke off.

    `kind`: unreachable (no connection), timeout (none in time, or silence), status (an HTTP error),
    not_a_stream (a good status, but a page), empty (a good status, and nothing), redirect (to another origin), cut
    (the connection broke in mid-stream). `should_retry`: what the provider itself says of asking again; None: nothing.
    """

    def __init__(
        self,
        text: str,
        kind: Kind,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.status = status
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may well succeed later. Never so once a chunk has been taken."""
        if self.should_retry is not None:
            return self.should_retry
        return self.kind in {"unreachable", "timeout", "empty"} or (
            self.kind == "status" and self.status in _RETRYABLE_STATUS
        )


@dataclass(frozen=True, slots=True)
class HttpTimeouts:
    """How long to wait: for a connection, for the answer's head, and for each next byte (None: for ever)."""

    connect_s: float = 10.0
    response_s: float = 120.0
    silence_s: float | None = 300.0


class HttpSource:
    """Opens streams at one provider. Make one a process and keep it: it holds the connections.

    async with HttpSource("http://127.0.0.1:8000") as source:
        async for chunk in source.stream("/v1/chat/completions", {"model": ..., "stream": True}):
            await stream.chunk(chunk)
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeouts: HttpTimeouts | None = None,
        connections_max: int = 0,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers or {})
        self._timeouts = timeouts or HttpTimeouts()
        self._connections_max = connections_max  # 0: as many as there are streams
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._timeouts.connect_s, sock_read=self._timeouts.silence_s
        )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections_max), timeout=timeout, headers=self._headers
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def stream(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        chunk_bytes_max: int = EVENT_BYTES_MAX,
    ) -> AsyncIterator[bytes]:
        """Yield the data of each event as the provider sent it, `[DONE]` included.

        Raises HttpProviderError; ChunkTooLarge for an event of more than `chunk_bytes_max` bytes.
        """
        url = f"{self._base_url}{path}"
        decoder = SseDecoder(chunk_bytes_max)
        is_empty = True
        async with self._open(url, body, headers or {}) as response:
            try:
                async for data in response.content.iter_any():
                    for event in decoder.feed(data):
                        is_empty = False
                        yield event.data
            except TimeoutError:
                raise HttpProviderError(
                    f"{url}: silent for {self._timeouts.silence_s} s in mid-stream", "timeout", status=response.status
                ) from None
            except (aiohttp.ClientError, ConnectionError) as error:
                raise HttpProviderError(
                    f"{url}: the connection was cut in mid-stream ({_name(error)})", "cut", status=response.status
                ) from None
            rest = decoder.close()
            if is_empty and (decoder.is_text or not rest):
                raise self._no_stream(url, response, headers or {}, rest)
            for event in rest:
                yield event.data

    def _no_stream(
        self, url: str, response: aiohttp.ClientResponse, headers: Mapping[str, str], rest: list[SseEvent]
    ) -> HttpProviderError:
        """Return the error of a whole body that had no event in it: it is a page, or there was nothing."""
        if not rest:
            text = f"{url}: expected a stream of events, got an empty answer with status {response.status}"
            return HttpProviderError(text, "empty", status=response.status)
        shown = self._clean(rest[0].data.decode("utf-8", "replace"), headers)
        text = f"{url}: the answer is {response.content_type}, not a stream of events: {shown}"
        return HttpProviderError(text, "not_a_stream", status=response.status)

    @asynccontextmanager
    async def _open(
        self, url: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        response = await self._post(url, body, headers)
        try:
            if response.status != 200 or not _is_stream(response.content_type):  # noqa: PLR2004 - HTTP OK
                raise await self._refusal(url, response, headers)
            yield response
        finally:
            response.close()

    async def _post(self, url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Return the answer to a POST, redirects within the origin followed."""
        if self._session is None:
            raise ProviderError("use HttpSource as a context manager: async with HttpSource(...) as source")
        try:
            async with asyncio.timeout(self._timeouts.response_s):
                return await self._follow(self._session, url, body, headers)
        except TimeoutError:
            text = f"{url}: no answer within {self._timeouts.response_s} s"
            raise HttpProviderError(text, "timeout") from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise ProviderError(f"{url}: not an HTTP address; it looks like http://host:port/path") from None
        except (aiohttp.ClientError, OSError) as error:
            text = f"{url}: cannot be reached ({_name(error)}); is the provider running there?"
            raise HttpProviderError(text, "unreachable") from None

    async def _follow(
        self, session: aiohttp.ClientSession, url: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        at = url
        for _ in range(_REDIRECTS_MAX):
            response = await session.post(at, json=body, headers=headers, allow_redirects=False)
            to = response.headers.get("location")
            if response.status not in _REDIRECTS or to is None:
                return response
            response.close()
            at = _redirected(url, str(response.url), to, response.status)
        raise HttpProviderError(f"{url}: redirected {_REDIRECTS_MAX} times without an answer", "redirect")

    async def _refusal(
        self, url: str, response: aiohttp.ClientResponse, headers: Mapping[str, str]
    ) -> HttpProviderError:
        refusal = read_refusal(await _read_body(response), response.headers)
        text = self._clean(refusal.text, headers)
        if response.status == 200:  # noqa: PLR2004 - HTTP OK
            return HttpProviderError(
                f"{url}: the answer is {response.content_type}, not a stream of events: {text}",
                "not_a_stream",
                status=200,
            )
        after_s = refusal.retry_after_s
        wait = "" if after_s is None else f"; try again in {after_s:g} s"
        return HttpProviderError(
            f"{url}: status {response.status} {response.reason}: {text}{wait}",
            "status",
            status=response.status,
            retry_after_s=after_s,
            should_retry=refusal.should_retry,
        )

    def _clean(self, text: str, headers: Mapping[str, str]) -> str:
        """Take out of a provider's text what it must not repeat: our keys, whatever looks like one, markup."""
        for name, value in {**self._headers, **headers}.items():
            if name.lower() in _SECRET_HEADERS:
                for secret in {value, value.rpartition(" ")[2]} - {""}:
                    text = text.replace(secret, "***")
        text = " ".join(_SECRET_TEXT.sub("***", _TAG.sub(" ", text)).split())
        return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}…"


def route(api: str, model: str) -> str:
    """Return the path at which a provider of this API serves streams."""
    paths = {
        "openai-chat": "/v1/chat/completions",
        "openai-responses": "/v1/responses",
        "anthropic-messages": "/v1/messages",
        "gemini": f"/v1beta/models/{model}:streamGenerateContent?alt=sse",
    }
    try:
        return paths[api]
    except KeyError:
        raise ProviderError(f"no route is known for {api!r}; known are {', '.join(paths)}") from None


async def _read_body(response: aiohttp.ClientResponse) -> str:
    try:
        raw = await response.content.read(_SHOWN_BYTES_MAX)
    except (aiohttp.ClientError, OSError, TimeoutError):
        return "(the body could not be read)"
    return raw.decode("utf-8", "replace")


def _redirected(url: str, at: str, to: str, status: int) -> str:
    """Return where a redirect leads. Raises HttpProviderError where that is another origin."""
    there = urljoin(at, to)
    if _origin(there) != _origin(at):
        scheme, host, _ = _origin(there)
        raise HttpProviderError(
            f"{url}: status {status} leads to {scheme}://{host}, another origin; neither the key nor the request is "
            "sent there; if it is meant, make it the base_url",
            "redirect",
            status=status,
        )
    return there


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)


def _is_stream(content_type: str) -> bool:
    # Servers send events as plain text or without a type, JSON where events were asked for; a page is neither.
    return content_type in _STREAM_TYPES or content_type.endswith(("/json", "+json"))


def _name(error: BaseException) -> str:
    return str(error) or type(error).__name__
