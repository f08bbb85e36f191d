"""A router's configuration: YAML in, one frozen pydantic model out.

Every key has a default, so an empty file is a valid configuration; unknown keys are refused with their path and the
nearest right one. The files in `configs/` show every key with its meaning. A section `gateway` is left to the gateway.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from actors.errors import ConfigError
from actors.settings import StreamSettings, explain
from actors.transport import local
from actors.transport.meeting import Reach

from .config_files import find_config, parse_yaml

DEFAULT_CONFIG = "local"
GATEWAY = "gateway"
WARM_ACTORS = 2
QUEUED_BYTES_PER_ACTOR_MIN = 4 * 1024
"""As much as a publisher may send before it has heard of its credit."""

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


class _Section(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class RayConfig(_Section):
    """Which Ray to use. Ignored where Ray is initialised already: that one is used as it is."""

    address: str | None = Field(
        "local",
        min_length=1,
        description="local: a Ray of our own, inside this process's lifetime. auto or host:port: a running cluster. "
        "None: whatever Ray finds by its own rules (RAY_ADDRESS, a running cluster, else a Ray of our own).",
    )
    num_cpus: int | None = Field(None, ge=0, description="CPUs of a Ray of our own; None: the machine's.")
    include_dashboard: bool = Field(default=False, description="Start the dashboard of a Ray of our own.")
    worker_niceness: int = Field(
        0, ge=0, le=19, description="Nice value of a local Ray's workers. Ray's own 15 lets a busy driver starve them."
    )
    log_to_driver: bool = Field(default=False, description="Copy the actors' output to the driver's terminal.")
    runtime_env: dict[str, Any] = Field(
        default_factory=dict,
        description="Ray's own runtime_env of the actors: environment variables, code for nodes without it.",
    )

    @property
    def is_embedded(self) -> bool:
        """Whether a Ray is started for us alone."""
        return self.address == "local"


class NetworkConfig(_Section):
    """TCP connections between processes of different nodes, beside Ray. Where they cannot be made, Ray carries all."""

    enabled: bool = Field(
        default=False, description="Calls between nodes go over TCP, encrypted where Ray itself uses TLS."
    )
    port_min: int = Field(0, ge=0, le=65_535, description="Ports that actors may listen on; 0: any that is free.")
    port_max: int = Field(0, ge=0, le=65_535, description="The last of them; 0 with port_min 0.")

    @model_validator(mode="after")
    def _ports_in_order(self) -> Self:
        if self.port_max < self.port_min or (self.port_min == 0) != (self.port_max == 0):
            raise ValueError(
                f"port_min is {self.port_min}, port_max {self.port_max}: give a range's ends, or 0 for both"
            )
        return self


class StreamActorsConfig(_Section):
    """The pool of stream actors of one router actor, and how requests are put on them."""

    max_actors: int = Field(4, ge=1, description="The pool never grows beyond this many actors per router.")
    warm_actors: int = Field(
        WARM_ACTORS,
        ge=0,
        description="So many with room for another packed stream are started ahead and kept, so that no open, and no "
        "stream whose actor dies, waits for a start. Left out: 2, or max_actors.",
    )
    packed_streams_per_actor: int = Field(
        512,
        ge=1,
        description="An actor takes so many streams before the next one is used; few busy actors cost less than many. "
        "1: a request has an actor to itself while there are fewer than max_actors.",
    )
    max_streams_per_actor: int = Field(
        512, ge=1, description="Where max_actors hold so many each, an open waits or is refused. 1: strict isolation."
    )
    when_pool_full: Literal["wait", "refuse"] = Field(
        "wait", description="wait: an open waits up to open_timeout_s for a place. refuse: PoolFull at once."
    )
    open_timeout_s: float = Field(30.0, gt=0)
    idle_ttl_s: float = Field(
        300.0, gt=0, description="An actor without requests for so long is stopped, down to warm_actors."
    )
    recycle_after_requests: int = Field(
        10_000, ge=1, description="An actor that has served so many requests is replaced when it is empty."
    )
    num_cpus: float = Field(0.0, ge=0, description="CPUs that Ray reserves for each stream actor.")
    memory_bytes: int | None = Field(None, gt=0, description="Memory that Ray reserves for each stream actor.")
    resources: dict[str, float] = Field(default_factory=dict, description="Custom resources of each stream actor.")
    spread: bool = Field(default=False, description="Spread the actors over the nodes of the cluster.")

    @model_validator(mode="before")
    @classmethod
    def _warm_follows_max(cls, data: Any) -> Any:
        if isinstance(data, dict) and "warm_actors" not in data and isinstance(data.get("max_actors"), int):
            return {**data, "warm_actors": min(WARM_ACTORS, data["max_actors"])}
        return data

    @model_validator(mode="after")
    def _warm_within_max(self) -> Self:
        if self.warm_actors > self.max_actors:
            raise ValueError(
                f"warm_actors is {self.warm_actors} but max_actors is {self.max_actors}: "
                "lower warm_actors or raise max_actors"
            )
        return self


class LimitsConfig(_Section):
    """What the routers of one name accept before they refuse (each router actor has its share)."""

    open_requests_max: int = Field(20_000, ge=1, description="Open requests; more are refused with LimitExceeded.")
    opens_per_s_max: float | None = Field(None, gt=0, description="New requests per second; None: no such limit.")
    sealed_bytes_max: int = Field(
        1024 * 1024 * 1024, gt=0, description="Logs of ended requests per router actor; beyond it the oldest go early."
    )
    queued_bytes_max: int = Field(
        256 * 1024 * 1024,
        gt=0,
        description="Items on their way through a router actor, an equal share for each of its max_actors stream "
        "actors; beyond it publishers wait.",
    )
    request_id_bytes_max: int = Field(256, ge=1, le=65_536, description="Length of a request ID in UTF-8.")


class PublisherConfig(_Section):
    """How a publishing process sends, and what it keeps so that it can replay after a crash."""

    gather_ms: float = Field(2.0, ge=0, le=100, description="Chunks that come so soon after a call leave together.")
    replay_bytes_max: int = Field(256 * 1024 * 1024, gt=0, description="Held in memory per process; more goes to disk.")
    spill_dir: str | None = Field(None, min_length=1, description="Its folder; None: the system's temporary folder.")


class SubscriberConfig(_Section):
    """How a reading process is given what it reads. A gateway has a setting of its own."""

    gather_ms: float = Field(0.0, ge=0, le=100, description="Messages that come so soon after others come together.")


class RecordConfig(_Section):
    """Which requests' raw chunks their publishers keep on disk, with their times. Off while `folder` is None."""

    folder: str | None = Field(None, min_length=1, description="Where, on the machine of the publisher; None: off.")
    sample: float = Field(1.0, ge=0, le=1, description="Fraction of requests, chosen by their ID.")
    request_ids: tuple[str, ...] = Field((), description="Only requests of these IDs; * and ? stand for anything.")
    request_bytes_max: int = Field(16 * 1024 * 1024, gt=0, description="Raw bytes of one request; more is left out.")
    bytes_max: int = Field(1024 * 1024 * 1024, gt=0, description="Size of the folder; beyond it no recording begins.")
    compressed: bool = Field(default=True, description="gzip, about a tenth of the size.")


class PriceConfig(_Section):
    """What a million tokens of a model cost, in dollars."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0, description="None: as other input.")


class MetricsConfig(_Section):
    """Figures for Prometheus, through Ray's metrics agent on each node."""

    enabled: bool = Field(default=True, description="Costs nothing per chunk; seen where Ray runs its metrics agent.")
    interval_s: float = Field(5.0, ge=0.1, description="How often each router actor hands them over.")
    prices: dict[str, PriceConfig] = Field(
        default_factory=dict, description="By model, or a pattern of its name (gpt-4.1*); the first that fits counts."
    )
    agents: list[str] = Field(
        default_factory=list, description="Patterns of agent IDs, each a series; none: the first agents_max agents."
    )
    agents_max: int = Field(50, ge=0, le=1000, description="Agents that have series of their own; else `other`.")
    models_max: int = Field(50, ge=0, le=1000, description="Models that have series of their own; else `other`.")


class LogsConfig(_Section):
    """What the actors write into Ray's log files."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="info: two lines a request, its opening and its end."
    )
    format: Literal["text", "json"] = Field("text", description="json: one object a line, with request_id and epoch.")


class TracingConfig(_Section):
    """OpenTelemetry spans of requests, responses and tool calls. Off while `setup` is None; needs the extra `otel`."""

    setup: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="module:function, called in each router and stream actor; returns the TracerProvider to use.",
    )


class TenantsConfig(_Section):
    """Whether teams share the service, each with requests of its own, and where the key of their tokens is kept."""

    enabled: bool = Field(
        default=False, description="Every process shows a token (see docs/security.md), and sees its own subject only."
    )
    key_env: str = Field(
        "STREAM_ROUTER_KEY",
        min_length=1,
        description="The environment variable that holds the key, where router actors run.",
    )
    key_file: str | None = Field(
        None, min_length=1, description="A file that holds it, on every machine that may run a router; goes first."
    )


class ArchiveConfig(_Section):
    """Where ended requests are kept as Parquet. Off while `folder` is None; needs the extra `archive`."""

    folder: str | None = Field(
        None, min_length=1, description="A folder, or an address that fsspec knows (s3://bucket/agents); None: off."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="fsspec's own options for that store.")
    batch_requests: int = Field(500, ge=1, description="A file is written as soon as so many have ended,")
    batch_bytes: int = Field(32 * 1024 * 1024, gt=0, description="or their logs are so large,")
    wait_s: float = Field(10.0, gt=0, description="or the first of them has waited so long.")
    queue_bytes_max: int = Field(
        256 * 1024 * 1024,
        gt=0,
        description="Logs that wait, per router actor; beyond it, the oldest are left out of the archive.",
    )


class RouterConfig(_Section):
    """A router's configuration. Frozen: a running router never has half of a change."""

    name: str = Field("agents", pattern=_NAME, description="What StreamRouter.connect(name=...) looks for.")
    namespace: str = Field("agent-stream-router", pattern=_NAME, description="The Ray namespace of all actors.")
    routers: int = Field(1, ge=1, le=256, description="Router actors side by side; each has its own stream actors.")
    detached: bool = Field(default=False, description="The routers outlive the process that started them.")
    transport: Literal["auto", "ray", "local"] = Field(
        "auto",
        description="What carries the calls between processes: Ray (ray); sockets between processes of one node and "
        "Ray between nodes (auto); the same, and an error where this system has no such sockets (local).",
    )
    network: NetworkConfig = Field(default_factory=NetworkConfig)
    ray: RayConfig = Field(default_factory=RayConfig)
    stream_actors: StreamActorsConfig = Field(default_factory=StreamActorsConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    publisher: PublisherConfig = Field(default_factory=PublisherConfig)
    subscriber: SubscriberConfig = Field(default_factory=SubscriberConfig)
    record: RecordConfig = Field(default_factory=RecordConfig)
    metrics: MetricsConfig = Field(default_factory=MetricsConfig)
    logs: LogsConfig = Field(default_factory=LogsConfig)
    tracing: TracingConfig = Field(default_factory=TracingConfig)
    tenants: TenantsConfig = Field(default_factory=TenantsConfig)
    archive: ArchiveConfig = Field(default_factory=ArchiveConfig)
    streams: StreamSettings = Field(
        default_factory=StreamSettings, description="The settings of requests that bring none of their own."
    )

    @model_validator(mode="after")
    def _transport_is_possible(self) -> Self:
        if self.transport == "local" and not local.is_possible():
            raise ValueError(f"transport local needs Linux, and this is {sys.platform}; set it to auto or ray")
        if self.network.enabled and self.transport == "ray":
            raise ValueError("network.enabled needs sockets, and transport is ray; set transport to auto or local")
        return self

    @property
    def reach(self) -> Reach | None:
        """How far processes go without Ray, wherever they come to stand; None: nowhere."""
        if self.transport == "ray":
            return None
        ports = (self.network.port_min, self.network.port_max) if self.network.enabled else None
        return Reach("", "", True, ports)

    @model_validator(mode="after")
    def _each_actor_has_a_share(self) -> Self:
        given, actors_max = self.limits.queued_bytes_max, self.stream_actors.max_actors
        if given < (least := QUEUED_BYTES_PER_ACTOR_MIN * actors_max):
            raise ValueError(
                f"limits.queued_bytes_max is {given}, and each of stream_actors.max_actors = {actors_max} needs "
                f"{QUEUED_BYTES_PER_ACTOR_MIN} bytes of it: set it to {least} or more"
            )
        return self

    @model_validator(mode="after")
    def _detached_needs_a_cluster(self) -> Self:
        if self.detached and self.ray.is_embedded:
            raise ValueError(
                "detached routers need a Ray that outlives this process: set ray.address to 'auto' or host:port, "
                "or leave detached false"
            )
        return self

    @classmethod
    def load(cls, source: str | Path | RouterConfig | None = None) -> RouterConfig:
        """Return a configuration from a path or a packaged name, or pass a configuration through."""
        return source if isinstance(source, RouterConfig) else load_config(source or DEFAULT_CONFIG)

    def router_name(self, shard: int) -> str:
        """Return the Ray name of a router actor."""
        return router_name(self.name, shard)

    def stream_actor_name(self, shard: int, actor_id: str) -> str:
        """Return the Ray name of a stream actor."""
        return f"{self.name}/{shard}/{actor_id}"


def router_name(name: str, shard: int) -> str:
    """Return the Ray name of a router actor of the routers `name`."""
    return f"{name}/router-{shard}"


def load_config(path: str | Path) -> RouterConfig:
    """Read and validate a configuration file.

    A path that does not exist, but whose last part names a packaged configuration (`local`, `local.yaml`,
    `configs/local.yaml`), means the packaged one, so that the same call works in a checkout and when installed.

    Raises ConfigError: no such file (naming those that are there), not YAML (with line and column),
    an unknown key (with its path and the nearest right one), a wrong value.
    """
    file = find_config(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    return parse_config(text, str(file))


def parse_config(text: str, source: str = "configuration") -> RouterConfig:
    """Validate YAML text; `source` is what errors call it. Raises ConfigError."""
    try:
        return RouterConfig.model_validate({k: v for k, v in parse_yaml(text, source).items() if k != GATEWAY})
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, RouterConfig)}") from None
