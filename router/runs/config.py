"""The configuration of a run: YAML in, one frozen pydantic model out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from actors.errors import ConfigError
from actors.settings import StreamSettings, explain
from router.config_files import parse_yaml, with_changes
from router.runs.endpoint import Endpoint
from router.runs.retries import Retries


class RunConfig(BaseModel):
    """Where to ask, how much at a time, and what to do when it fails."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    endpoint: Endpoint
    concurrency: int = Field(16, ge=1, le=100_000, description="So many requests are under way at a time.")
    retries: Retries = Field(default_factory=Retries)
    sources: int = Field(
        1, ge=0, le=256, description="Processes on the cluster that do the asking; 0: this one does it by itself."
    )
    router: str = Field(
        "local", min_length=1, description="The router's configuration: a file, or a packaged one by name."
    )
    connect: str | None = Field(None, min_length=1, description="Name of a running service to use instead.")
    namespace: str = Field("agent-stream-router", description="connect: its Ray namespace.")
    address: str = Field("auto", description="connect: the Ray cluster where it runs.")
    streams: StreamSettings = Field(
        default_factory=lambda: StreamSettings.load({"dialect": "chat"}), description="For requests without settings."
    )
    coalesce: bool = Field(default=False, description="Join neighbouring pieces of a message into one line.")

    @model_validator(mode="after")
    def _address_is_of_a_service(self) -> Self:
        strange = sorted(self.model_fields_set & {"namespace", "address"})
        if strange and self.connect is None:
            raise ValueError(f"{', '.join(strange)} has no meaning without connect, the name of a running service")
        return self

    @classmethod
    def load(cls, file: str | Path | None, changes: Mapping[str, Any]) -> RunConfig:
        """Return the configuration of a file (None: all defaults), with changes by dotted key. Raises ConfigError."""
        source = "options" if file is None else str(file)
        data: dict[str, Any] = {}
        if file is not None:
            try:
                data = parse_yaml(Path(file).read_text(encoding="utf-8"), source)
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{source}: cannot be read: {error}") from None
        data = with_changes(data, changes, source)
        if "endpoint" not in data:
            raise ConfigError(
                f"{source}: endpoint.base_url: where is the provider? Give --base-url, or a --config that says it"
            )
        if isinstance(data.get("streams"), dict):
            data["streams"] = {"dialect": "chat", **data["streams"]}
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(f"{source}: {explain(error, cls)}") from None
