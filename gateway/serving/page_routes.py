"""The page at `/`: plain files of the package. Anybody may have them; what they show is asked for as all else is.

GET /               the page
GET /page/NAME      its parts
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import NamedTuple

from aiohttp import web

from gateway.serving.route import TEXT, Answer, Route

PAGE = "/"
PART = "/page/{name}"
_INDEX = "index.html"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

HEADERS = {
    # Nothing but its own files is run, and no text becomes markup: what a run says may come from anybody.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept, and asked for anew each time: a gateway may be of another version now
}


class _File(NamedTuple):
    body: bytes
    content_type: str
    etag: str


class PageRoutes:
    """Answers with the page's files, which are read once."""

    def __init__(self) -> None:
        self._files = {
            file.name: _read(file.name, file.read_bytes()) for file in files("gateway").joinpath("page").iterdir()
        }

    def routes(self) -> list[Route]:
        """See `Routes`."""
        page = {200: Answer("The page.", {"text/html": TEXT})}
        part = {200: Answer("It.", dict.fromkeys(_TYPES.values(), TEXT))}
        return [
            Route("GET", PAGE, self._page, "Show runs to whoever looks at them.", answers=page),
            Route("GET", PART, self._part, "Have a part of the page.", answers=part),
        ]

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return self._answer(request, _INDEX)

    async def _part(self, request: web.Request) -> web.StreamResponse:
        return self._answer(request, request.match_info["name"])

    def _answer(self, request: web.Request, name: str) -> web.StreamResponse:
        file = self._files.get(name)
        if file is None:
            raise web.HTTPNotFound
        headers = {**HEADERS, "ETag": file.etag}
        if request.headers.get("If-None-Match") == file.etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)


def _read(name: str, body: bytes) -> _File:
    kind = _TYPES.get(name[name.rfind(".") :], "application/octet-stream")
    return _File(body, kind, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
