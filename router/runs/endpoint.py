"""Where a provider is and how it is spoken to."""

from __future__ import annotations

import os
from typing import ClassVar, Literal
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from actors.errors import ConfigError
from router.sources.http import HttpTimeouts

Api = Literal["openai-chat", "openai-responses", "anthropic-messages", "gemini"]

ANTHROPIC_VERSION = "2023-06-01"
_VERSION_PATHS: dict[Api, str] = {
    "openai-chat": "/v1",
    "openai-responses": "/v1",
    "anthropic-messages": "/v1",
    "gemini": "/v1beta",
}


class Timeouts(BaseModel):
    """How long to wait for a provider."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    connect_s: float = Field(10.0, gt=0)
    response_s: float = Field(120.0, gt=0, description="For the head of the answer.")
    silence_s: float | None = Field(300.0, gt=0, description="For each next byte; None: for ever.")

    def for_source(self) -> HttpTimeouts:
        """Return them as the HTTP source takes them."""
        return HttpTimeouts(connect_s=self.connect_s, response_s=self.response_s, silence_s=self.silence_s)


class Endpoint(BaseModel):
    """A provider's address. The key is never in a configuration: only the name of the variable that holds it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field(
        description="As the provider's own SDK takes it: https://host, https://host/v1. Without a path, the API's own "
        "one is added."
    )
    api: Api = "openai-chat"
    model: str | None = Field(None, min_length=1, description="For requests that name none.")
    key_env: str | None = Field(None, min_length=1, description="Name of the environment variable with the key.")
    headers: dict[str, str] = Field(default_factory=dict, description="Further headers; no keys here.")
    timeouts: Timeouts = Field(default_factory=Timeouts)

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"expected http://host:port or https://host/path, got {url!r}")
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "an address with a user, a password or a query; name the key's variable in key_env instead"
            )
        return url.rstrip("/")

    def key(self) -> str | None:
        """Return the key from the environment. Raises ConfigError where the named variable is not set."""
        if self.key_env is None:
            return None
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise ConfigError(
                f"key_env names {self.key_env}, but no such variable is set (or it is empty); export it first"
            )
        return key

    def auth_headers(self, key: str | None) -> dict[str, str]:
        """Return the headers of a request."""
        headers = dict(self.headers)
        if self.api == "anthropic-messages":
            headers = {"anthropic-version": ANTHROPIC_VERSION, **headers}
        if key is None:
            return headers
        if self.api == "anthropic-messages":
            return {"x-api-key": key, **headers}
        if self.api == "gemini":
            return {"x-goog-api-key": key, **headers}
        return {"authorization": f"Bearer {key}", **headers}

    def path(self, model: str) -> str:
        """Return what follows `base_url` for a stream of this model.

        An address that ends in a version (`/v1`, `/v1beta`, `/openai/v1`) has it already; so has one of
        an OpenAI-compatible API with any path, as in their SDK.
        """
        own = urlsplit(self.base_url).path
        is_openai = self.api in {"openai-chat", "openai-responses"}
        last = own.rpartition("/")[2]
        has_version = last[:1] == "v" and last[1:2].isdigit()
        version = "" if has_version or (own and is_openai) else _VERSION_PATHS[self.api]
        if self.api == "openai-chat":
            return f"{version}/chat/completions"
        if self.api == "openai-responses":
            return f"{version}/responses"
        if self.api == "anthropic-messages":
            return f"{version}/messages"
        return f"{version}/models/{quote(model.removeprefix('models/'), safe='')}:streamGenerateContent?alt=sse"
