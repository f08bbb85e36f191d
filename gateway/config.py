"""The section `gateway` of a configuration: YAML in, one frozen pydantic model out.

A router's configuration may have it, and the routers themselves leave it alone: it can change while they run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from actors.errors import ConfigError
from actors.settings import PartOfSettings, explain
from gateway.access_config import JwtConfig, ProxyConfig, is_loopback
from router.config import GATEWAY, RouterConfig, parse_config
from router.config_files import find_config, parse_yaml, with_changes
from router.runs.endpoint import Endpoint

Format = Literal["native", "letta", "chat", "responses", "ui", "agui", "langgraph"]
FORMATS: tuple[Format, ...] = ("native", "letta", "chat", "responses", "ui", "agui", "langgraph")
WRITE_BYTES_MAX = 64 * 1024


class _Section(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class NamedActor(_Section):
    """A Ray actor that runs already, and the method of it that is called for each run."""

    name: str = Field(min_length=1, description="The name that it was started with.")
    namespace: str | None = Field(
        None, min_length=1, description="Its Ray namespace; null: that of the service (`namespace`)."
    )
    method: str = Field(
        "run",
        pattern=r"^[A-Za-z]\w*$",
        description="A generator, asynchronous or not: called with the client's input, a dict.",
    )

    def in_service(self, namespace: str) -> Self:
        """Return it with a namespace: its own, else that of the service."""
        return self if self.namespace is not None else self.model_copy(update={"namespace": namespace})


class AgentConfig(_Section):
    """What a client may have run: a function of ours, a provider behind an address, or an actor that runs."""

    run: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="module:function, called with the client's input, a dict; what `StreamRouter.start` takes.",
    )
    endpoint: Endpoint | None = Field(None, description="A provider that is asked instead; as of `stream-router run`.")
    actor: NamedActor | None = Field(None, description="A named Ray actor whose method is called instead.")
    settings: PartOfSettings = Field(
        default_factory=dict, description="StreamSettings of its requests; of an endpoint, the dialect is chat."
    )

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        given = [name for name in ("run", "endpoint", "actor") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "expected one of run (module:function), endpoint (a provider) and actor (a named Ray actor), got "
                + (" and ".join(given) or "none")
            )
        return self

    @property
    def stream_settings(self) -> dict[str, Any] | None:
        """The settings of its requests; None: the router's own."""
        if self.endpoint is not None:
            return {"dialect": "chat", "provider": self.endpoint.api, **self.settings}
        return dict(self.settings) or None


class GatewayConfig(_Section):
    """What `stream-router gateway` serves, where, and to whom."""

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Where it listens. Beyond this machine it wants a tokens_file, jwt or proxy.",
    )
    port: int = Field(8283, ge=0, le=65_535, description="0: any that is free.")
    workers: int = Field(
        1, ge=1, le=64, description="Processes that share the port; --detached: so many on each node of the cluster."
    )
    formats: tuple[Format, ...] = Field(FORMATS, description="Whose routes there are.")
    page: bool = Field(True, description="Whether there is a page to look at, at `/`; it reads the format native.")
    agents: dict[str, AgentConfig] = Field(default_factory=dict, description="What clients may have run, by name.")
    runner_actors: int = Field(2, ge=0, le=256, description="Actors that agents share; 0: a Ray task for each run.")
    runs_max: int = Field(1000, ge=1, description="Runs under way at a time; more are refused (429).")
    tokens_file: str | None = Field(
        None,
        min_length=1,
        description="Who may come: a line each, NAME TOKEN SCOPES [TENANT [AGENTS]].",
    )
    jwt: JwtConfig | None = Field(None, description="Who may come: signed tokens of an issuer.")
    proxy: ProxyConfig | None = Field(None, description="Who may come: whom a proxy names in its headers.")
    ticket_key_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="The environment variable of the secret that signs tickets; null: the tokens_file is it.",
    )
    ticket_s: float = Field(60.0, gt=0, le=3600, description="How long a ticket for one stream opens it (?token=).")
    cors_origins: tuple[str, ...] = Field((), description="Whose pages may read answers; *: everybody's.")
    body_bytes_max: int = Field(1024 * 1024, ge=1024, description="Of one request; more is refused (413).")
    head_bytes_max: int = Field(8 * 1024, ge=1024, description="Of one header, and of the address.")
    head_timeout_s: float = Field(10.0, gt=0, description="A connection whose first head takes longer is closed.")
    body_timeout_s: float = Field(30.0, gt=0, description="A body that takes longer is refused (408).")
    readers_max: int = Field(10_000, ge=1, description="Streams read at a time; more are refused (503).")
    tenant_opens_per_s: float | None = Field(
        None, gt=0, description="Requests of one tenant a second, at one gateway; more are refused (429). null: any."
    )
    tenant_runs_max: int | None = Field(
        None, ge=1, description="Runs of one tenant under way at a time; more are refused (429). null: runs_max."
    )
    gather_ms: float = Field(
        10.0,
        ge=0,
        le=100,
        description="Messages that come so soon after others wait for what else comes. 0: none does.",
    )
    heartbeat_s: float = Field(15.0, ge=0.05, le=300, description="Something is sent at least so often.")
    window_bytes_max: int = Field(
        1024 * 1024,
        ge=WRITE_BYTES_MAX,
        description="Of a stream's bytes, kept for all its readers in one format; who falls out of it is closed.",
    )
    write_timeout_s: float = Field(
        30.0, gt=0, description="A reader that takes nothing for so long is closed, and who has not taken an answer."
    )
    drain_s: float = Field(10.0, ge=0, description="How long answers under way may take when it is told to end.")

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and (not origin.startswith(("http://", "https://")) or origin.count("/") != 2):  # noqa: PLR2004
                raise ValueError(f"expected an origin such as https://app.example.com, or *, got {origin!r}")
        return origins

    @model_validator(mode="after")
    def _strangers_show_a_token(self) -> Self:
        if not (self.tokens_file or self.jwt or self.proxy or is_loopback(self.host)):
            raise ValueError(
                f"host is {self.host}, which others can reach, and no tokens_file says who may come: set tokens_file "
                "(a line each: NAME TOKEN read,run,cancel), jwt or proxy, or leave host at 127.0.0.1"
            )
        return self


def load_config(path: str | Path) -> tuple[GatewayConfig, RouterConfig]:
    """Return the section `gateway` of a configuration file, and the rest. Raises ConfigError."""
    file = find_config(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    return gateway_section(parse_yaml(text, str(file)).get(GATEWAY), str(file)), parse_config(text, str(file))


def gateway_section(section: Any, source: str = "configuration") -> GatewayConfig:
    """Validate the section `gateway`; None: all defaults. Raises ConfigError."""
    try:
        return GatewayConfig.model_validate({} if section is None else section)
    except ValidationError as error:
        raise ConfigError(f"{source}: {GATEWAY}: {explain(error, GatewayConfig)}") from None


def with_options(section: GatewayConfig, changes: Mapping[str, Any]) -> GatewayConfig:
    """Return a section with changes by dotted key. Raises ConfigError."""
    return gateway_section(with_changes(section.model_dump(mode="json"), changes, "--set"), "options")
