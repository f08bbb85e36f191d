"""The workload of a load test: YAML in, one frozen pydantic model out.

Like a router's configuration: every key has its meaning here, unknown keys are refused with their
path and the nearest right one. `configs/loadtest/` shows them at work.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from actors.errors import ConfigError, StreamRouterError
from actors.settings import StreamSettings, explain
from router.config import RouterConfig, load_config
from router.config_files import parse_yaml, with_changes
from router.loadtest.distributions import Number, fixed
from router.loadtest.fault_schedule import KILL_GATEWAY, Chaos
from router.loadtest.figure_names import METRICS, full_name
from router.loadtest.format_readers import TELL_GAPS, TIMED, SseFormat
from router.runs.endpoint import Endpoint
from router.scripted_provider.script import Script

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
# What a script gets from the plan of each stream, and so must not say for all.
_SCRIPT_BY_PLAN = ("seed", "events_per_s", "first_event_s")


class _Section(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class Arrival(_Section):
    """When streams start; which keys count depends on `kind`."""

    kind: Literal["concurrency", "rate", "ramp", "spikes"] = "concurrency"
    concurrency: int = Field(24, ge=1, description="concurrency: so many streams are open at any time.")
    rate_per_s: float = Field(10.0, gt=0, description="rate: new streams a second; spikes: between the spikes.")
    poisson: bool = Field(default=True, description="Independent users; false: even waits.")
    from_per_s: float = Field(1.0, ge=0, description="ramp: the rate at the start ...")
    to_per_s: float = Field(20.0, gt=0, description="... and from `over_s` on.")
    over_s: float = Field(30.0, gt=0)
    spike_per_s: float = Field(100.0, gt=0, description="spikes: the rate in a spike ...")
    spike_s: float = Field(2.0, gt=0, description="... of so long ...")
    every_s: float = Field(20.0, gt=0, description="... once in so long.")

    @model_validator(mode="after")
    def _keys_are_of_the_kind(self) -> Self:
        mine = {
            "concurrency": {"concurrency"},
            "rate": {"rate_per_s", "poisson"},
            "ramp": {"from_per_s", "to_per_s", "over_s", "poisson"},
            "spikes": {"rate_per_s", "spike_per_s", "spike_s", "every_s", "poisson"},
        }[self.kind]
        strange = sorted(self.model_fields_set - mine - {"kind"})
        if strange:
            raise ValueError(
                f"{', '.join(strange)} has no meaning for kind {self.kind}; its keys are {', '.join(sorted(mine))}"
            )
        if self.kind == "spikes" and self.spike_s >= self.every_s:
            raise ValueError(
                f"spike_s is {self.spike_s:g} but every_s {self.every_s:g}: a spike must end before the next"
            )
        return self


class Target(_Section):
    """The provider of the streams."""

    kind: Literal["scripted", "memory", "endpoint"] = Field(
        "scripted",
        description="scripted: recordings over HTTP from a process of our own. memory: recordings played inside the "
        "publishing processes, without HTTP. endpoint: a real provider, which costs money.",
    )
    recordings: str | None = Field(
        None, min_length=1, description="Folder of recordings: *.sse, or what `record:` kept."
    )
    processes: int = Field(1, ge=1, le=64, description="scripted: so many provider processes.")
    endpoint: Endpoint | None = Field(None, description="endpoint: where, which API, whose key.")
    requests: str | None = Field(None, min_length=1, description="endpoint: JSONL of requests, taken in turn.")

    @model_validator(mode="after")
    def _endpoint_is_whole(self) -> Self:
        given = self.endpoint is not None and self.requests is not None
        if self.kind == "endpoint" and not given:
            raise ValueError("kind endpoint needs `endpoint` (base_url, api, ...) and `requests` (a JSONL file)")
        if self.kind != "endpoint" and (self.endpoint is not None or self.requests is not None):
            raise ValueError(f"`endpoint` and `requests` have no meaning for kind {self.kind}")
        return self


class Synthetic(_Section):
    """Generated OpenAI chat streams, where recordings are too short, too long or too similar."""

    chunks: Number = Field(default_factory=lambda: fixed(200), description="Content chunks of a stream.")
    chunk_chars: Number = Field(default_factory=lambda: fixed(8), description="Characters in each.")
    reasoning_share: float = Field(0.0, ge=0, le=1, description="So much of it, at the start, is reasoning.")
    variants: int = Field(16, ge=1, le=256, description="So many different ones are made and used in turn.")


class Kind(_Section):
    """One kind of stream in the mix. Of several filters of recordings all must match; without any, all do."""

    weight: float = Field(1.0, gt=0, description="Its share is weight / sum of the weights.")
    recordings: tuple[str, ...] = Field((), description="Names or patterns: anthropic-*, openai-tool-2.")
    providers: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()
    synthetic: Synthetic | None = None
    events_per_s: Number = Field(
        default_factory=lambda: fixed(20), description="Pace of a stream; 0: as fast as it goes."
    )
    first_event_s: Number = Field(default_factory=lambda: fixed(0.3), description="The model's time to think.")
    script: dict[str, Any] = Field(
        default_factory=dict, description="What else the provider does: jitter, stall_s, ..."
    )
    settings: StreamSettings = Field(
        default_factory=lambda: StreamSettings.load({"dialect": "chat"}), description="Of the streams; dialect chat."
    )

    @model_validator(mode="before")
    @classmethod
    def _dialect_is_chat(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(data.get("settings"), Mapping):
            return {**data, "settings": {"dialect": "chat", **data["settings"]}}
        return data

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.synthetic is not None and (self.recordings or self.providers or self.apis):
            raise ValueError("synthetic streams have no recordings, providers or apis to choose from; make two kinds")
        strange = [key for key in _SCRIPT_BY_PLAN if key in self.script]
        if strange:
            raise ValueError(f"script.{strange[0]}: set {strange[0]} beside `script`, not in it")
        try:
            Script.load(self.script)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self


class Slow(_Section):
    """Readers that read at a fixed, low rate."""

    share: float = Field(0.0, ge=0, le=1, description="Of all readers.")
    messages_per_s: float = Field(10.0, gt=0)


class Late(_Section):
    """Readers that start when the stream is under way, or has ended."""

    share: float = Field(0.0, ge=0, le=1, description="Of all readers.")
    delay_s: Number = Field(default_factory=lambda: fixed(3), description="After the stream's start.")


class ReadersConfig(_Section):
    """Who reads the streams."""

    per_stream: Number = Field(default_factory=lambda: fixed(1), description="Readers of each stream, at least 1.")
    slow: Slow = Field(default_factory=Slow)
    late: Late = Field(default_factory=Late)
    via: Literal["router", "sse"] = Field("router", description="sse: over HTTP, by way of gateways.")
    format: SseFormat = Field("native", description="sse: what the gateways are read in.")
    gateways: int = Field(1, ge=1, le=64, description="sse: so many gateways, each a process; readers take turns.")

    @model_validator(mode="after")
    def _gateways_are_read(self) -> Self:
        strange = sorted(self.model_fields_set & {"format", "gateways"})
        if self.via != "sse" and strange:
            raise ValueError(f"{', '.join(strange)} has no meaning for readers via {self.via}; set via: sse")
        return self


class Generators(_Section):
    """The processes that make the load, so that one driver is not the limit."""

    publishers: int = Field(1, ge=1, le=256)
    readers: int = Field(1, ge=1, le=256)
    placement: Literal["driver", "spread"] = Field(
        "driver", description="driver: all on the node of the driver. spread: over the nodes of the cluster."
    )


class RouterUnderTest(_Section):
    """The router that is put under load."""

    config: str = Field("local", min_length=1, description="A configuration file, or a packaged one by name.")
    overrides: dict[str, Any] = Field(default_factory=dict, description="Keys of it to set otherwise, nested as there.")
    connect: str | None = Field(None, min_length=1, description="Name of a running router to use instead.")
    namespace: str = "agent-stream-router"
    address: str = Field("auto", description="Of the Ray cluster where the running router is.")

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        of_running, of_own = {"namespace", "address"}, {"config", "overrides"}
        strange = sorted(self.model_fields_set & (of_running if self.connect is None else of_own))
        if strange:
            why = "without connect" if self.connect is None else "with connect: a running router keeps its own"
            raise ValueError(f"{', '.join(strange)} has no meaning {why}")
        return self


class Limit(_Section):
    """The bounds of a figure; a bare number is `max`."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _has_a_side(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("expected a number, or min and/or max")
        return self


def _limit(value: Any) -> Any:
    return {"max": value} if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class Workload(_Section):
    """A load test. `streams`, `duration_s` or both bound it: whichever comes first."""

    name: str = Field("loadtest", pattern=_NAME)
    description: str = ""
    seed: int = 0
    streams: int | None = Field(None, ge=1, description="So many streams in all.")
    duration_s: float | None = Field(None, gt=0, description="No stream starts later than this.")
    drain_s: float = Field(120.0, gt=0, description="How long streams and readers may take to end after that.")
    target: Target = Field(default_factory=Target)
    arrival: Arrival = Field(default_factory=Arrival)
    mix: tuple[Kind, ...] = Field(default_factory=lambda: (Kind(),))
    readers: ReadersConfig = Field(default_factory=ReadersConfig)
    generators: Generators = Field(default_factory=Generators)
    router: RouterUnderTest = Field(default_factory=RouterUnderTest)
    chaos: Chaos = Field(default_factory=Chaos)
    thresholds: dict[str, Annotated[Limit, BeforeValidator(_limit)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.streams is None and self.duration_s is None:
            raise ValueError("how much load? set streams, duration_s or both")
        if not self.mix:
            raise ValueError("mix is empty; leave it out for all recordings, or name a kind of stream")
        for name in self.thresholds:
            if full_name(name) not in METRICS:
                near = difflib.get_close_matches(name, METRICS, n=1, cutoff=0.4)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"thresholds.{name}: there is no such figure{hint}")
        if self.chaos.faults.get(KILL_GATEWAY) and self.readers.via != "sse":
            raise ValueError("chaos: kill-gateway needs readers that come by way of one; set readers.via: sse")
        self._check_format()
        if self.router.connect is not None:
            if self.chaos.kills_nodes:
                raise ValueError("chaos: kill-node needs a cluster of our own; without router.connect one is started")
            if self.chaos.rpc_failures:
                raise ValueError(
                    "chaos: rpc-failures must be set before Ray starts; without router.connect one is started with them"
                )
        return self

    def _check_format(self) -> None:
        """Raise ValueError for what readers of a format cannot know."""
        if self.readers.via != "sse":
            return
        name = self.readers.format
        if name not in TELL_GAPS and any(kind.settings.when_full == "drop_oldest" for kind in self.mix):
            raise ValueError(
                f"mix: when_full is drop_oldest, and the format {name} has no word for what was dropped; read it as "
                f"{' or '.join(sorted(TELL_GAPS))}"
            )
        timed = [limit for limit in self.thresholds if limit.startswith("added_latency_ms")]
        if name not in TIMED and timed:
            raise ValueError(
                f"thresholds.{timed[0]}: events of the format {name} do not say which message they come of, so that "
                f"added latency is not measured; it is in {', '.join(sorted(TIMED))}"
            )

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> Workload:
        """Return a workload from a YAML file, a packaged one by name, or from plain values.

        `changes` are values by dotted key (`arrival.rate_per_s`). Raises ConfigError by key.
        """
        if isinstance(source, Mapping):
            return _validate(with_changes(dict(source), changes or {}, "workload"), "workload")
        file = _find(Path(source).expanduser())
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            packaged = ", ".join(packaged_workloads()) or "missing"
            raise ConfigError(f"{file}: cannot be read: {error.strerror}; packaged workloads are {packaged}") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{file}: not UTF-8 text: {error}") from None
        return _validate(with_changes(parse_yaml(text, str(file)), changes or {}, str(file)), str(file))

    def router_config(self) -> RouterConfig:
        """Return the configuration of the router under test, overrides in it. Raises ConfigError."""
        base = load_config(self.router.config)
        if not self.router.overrides:
            return base
        merged = _merge(base.model_dump(mode="json"), self.router.overrides)
        try:
            return RouterConfig.model_validate(merged)
        except ValidationError as error:
            raise ConfigError(f"router.overrides: {explain(error, RouterConfig)}") from None


def _find(wanted: Path) -> Path:
    """Return the file of a path; a name or path that is not there may mean a packaged workload."""
    packaged = packaged_workloads()
    if not wanted.exists() and wanted.stem in packaged and str(wanted.parent) in {".", "configs/loadtest"}:
        return packaged[wanted.stem]
    return wanted


def packaged_workloads() -> dict[str, Path]:
    """Return the workloads that come with the package, by name."""
    here = Path(__file__).resolve().parent.parent
    for folder in (here / "configs" / "loadtest", here.parent / "configs" / "loadtest"):  # installed; a checkout
        if folder.is_dir():
            return {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    return {}


def _validate(data: Mapping[str, Any], source: str) -> Workload:
    try:
        return Workload.model_validate(dict(data))
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, Workload)}") from None
    except StreamRouterError as error:
        raise ConfigError(f"{source}: {error}") from None


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
