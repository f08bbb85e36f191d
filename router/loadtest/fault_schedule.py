"""Which fault strikes when. Pure: from the seed alone; `fault_injector.py` does them.

`kill-stream-actor:2,kill-router:1,kill-node:1,rpc-failures:0.05,stop-actor:1`

The router promises to survive the death of any one part. So that a test of that promise does not
become a test of two deaths at once, the window of time is cut into as many slots as there are
strikes, and each strikes at a random moment in the first half of its slot.
"""

from __future__ import annotations

import difflib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from router.loadtest.distributions import Distribution, Number

KILL_STREAM_ACTOR, KILL_ROUTER, KILL_GATEWAY, KILL_NODE, STOP_ACTOR, RPC_FAILURES = (
    "kill-stream-actor",
    "kill-router",
    "kill-gateway",
    "kill-node",
    "stop-actor",
    "rpc-failures",
)
STRIKES: dict[str, str] = {
    KILL_STREAM_ACTOR: "SIGKILL to a stream actor that has requests",
    KILL_ROUTER: "SIGKILL to a router actor",
    KILL_GATEWAY: "SIGKILL to a gateway that readers come by",
    KILL_NODE: "a worker node and all on it gone at once",
    STOP_ACTOR: "SIGSTOP to a stream actor, SIGCONT after a while: a process that hangs, then continues",
}
KINDS = (*STRIKES, RPC_FAILURES)


def parse_faults(text: str) -> dict[str, float]:
    """Return `kind:number,...` as a mapping. Raises ValueError."""
    faults: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, colon, number = part.partition(":")
        try:
            faults[kind.strip()] = float(number) if colon else 1.0
        except ValueError:
            raise ValueError(f"{part!r}: expected kind:number, as in kill-router:1") from None
    return faults


def _check_faults(value: Any) -> Any:
    faults = parse_faults(value) if isinstance(value, str) else value
    if not isinstance(faults, Mapping):
        raise ValueError(  # noqa: TRY004  # pydantic wants a ValueError
            f"expected kind:number,... or a mapping of kinds to numbers, got {value!r}"
        )
    for kind, number in faults.items():
        if kind not in KINDS:
            near = difflib.get_close_matches(str(kind), KINDS, n=1)
            raise ValueError(
                f"{kind!r} is no fault; {f'did you mean {near[0]!r}?' if near else 'there are ' + ', '.join(KINDS)}"
            )
        if not isinstance(number, (int, float)) or isinstance(number, bool) or number < 0:
            raise ValueError(f"{kind}: expected a number of at least 0, got {number!r}")
        if kind in STRIKES and number != int(number):
            raise ValueError(f"{kind}: how often? expected a whole number, got {number!r}")
        if kind == RPC_FAILURES and number > RPC_SHARE_MAX:
            raise ValueError(f"{kind}: a share of all calls, at most {RPC_SHARE_MAX}, got {number!r}")
    return dict(faults)


RPC_SHARE_MAX = 0.5


class Chaos(BaseModel):
    """Which faults are done, and when."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    faults: Annotated[dict[str, float], BeforeValidator(_check_faults)] = Field(default_factory=dict)
    from_s: float = Field(5.0, ge=0, description="No strike before this, in seconds after the run's start.")
    until_s: float | None = Field(
        None, gt=0, description="None after this; None: 80 % of the time the run should take."
    )
    stop_s: Number = Field(
        default_factory=lambda: Distribution(uniform=(2.0, 14.0)),
        description="How long stop-actor stops it. From about 9 s on, the router gives a silent actor up.",
    )

    @model_validator(mode="after")
    def _window_is_one(self) -> Self:
        if self.until_s is not None and self.until_s <= self.from_s:
            raise ValueError(f"until_s is {self.until_s:g} but from_s {self.from_s:g}: until_s must be later")
        return self

    @property
    def kills_nodes(self) -> int:
        """How many nodes will be killed."""
        return int(self.faults.get(KILL_NODE, 0))

    @property
    def rpc_failures(self) -> float:
        """The share of calls between workers that fail."""
        return self.faults.get(RPC_FAILURES, 0.0)


@dataclass(frozen=True)
class Strike:
    """One fault. `pick` (0 to 1) says which of those that could be hit then; `stop_s` for stop-actor."""

    at_s: float
    kind: str
    pick: float
    stop_s: float = 0.0


def schedule(chaos: Chaos, seed: int, run_s: float) -> list[Strike]:
    """Return the strikes of a run that should take `run_s`, in order of time."""
    rng = random.Random(f"{seed}/chaos")
    kinds = [kind for kind in STRIKES for _ in range(int(chaos.faults.get(kind, 0)))]
    rng.shuffle(kinds)
    until_s = chaos.until_s if chaos.until_s is not None else max(0.8 * run_s, chaos.from_s)
    slot_s = (until_s - chaos.from_s) / max(len(kinds), 1)
    return [
        Strike(
            at_s=chaos.from_s + slot_s * (number + rng.uniform(0.0, 0.5)),
            kind=kind,
            pick=rng.random(),
            stop_s=chaos.stop_s.sample(rng) if kind == STOP_ACTOR else 0.0,
        )
        for number, kind in enumerate(kinds)
    ]


def rpc_failure_setting(share: float) -> str:
    """Return the value of RAY_testing_rpc_failure that lets so many calls between workers fail.

    Two fifths of them never arrive, two fifths are done but their answer is lost, one fifth fail while
    under way. Ray counts in whole per cents, so the smallest share is one per cent of each.
    """
    hundredths = round(100 * share)
    lost_request = max(1, round(hundredths * 0.4))
    lost_answer = max(1, round(hundredths * 0.4))
    failure = {
        "num_failures": -1,
        "req_failure_prob": lost_request,
        "resp_failure_prob": lost_answer,
        "in_flight_failure_prob": max(0, hundredths - lost_request - lost_answer),
    }
    return json.dumps({"CoreWorkerService.grpc_client.PushTask": failure})
