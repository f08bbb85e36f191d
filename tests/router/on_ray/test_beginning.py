"""Beginning: what a dead router left is cleared away or taken over, and nobody waits for one that is slow."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

import pytest

from actors.errors import RouterUnavailable
from router.config import RouterConfig
from router.on_ray import beginning
from router.on_ray.beginning import clear_away, first_number, take_over

CONFIG = RouterConfig.model_validate({"name": "agents"})


# --- cleared away -----------------------------------------------------------------------------


class Leftovers:
    """Stream actors that are found so many times more after they have been killed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, lingering: int) -> None:
        self.lingering = lingering
        self.killed: list[str] = []
        monkeypatch.setattr(beginning.ray_actors, "find_stream_actors", self.find)
        monkeypatch.setattr(beginning.ray, "kill", self.killed.append)
        monkeypatch.setattr(beginning, "CLEAR_RETRY_S", 0.0)

    def find(self, _config: RouterConfig, _shard: int) -> dict[str, str]:
        self.lingering -= 1
        return {"s1": "handle 1", "s2": "handle 2"} if self.lingering >= 0 else {}


@pytest.mark.parametrize("lingering", [0, 1, 3])
async def test_what_a_killed_router_left_is_killed_until_it_is_gone(monkeypatch, lingering):
    left = Leftovers(monkeypatch, lingering)
    await clear_away(CONFIG, 0)
    assert left.killed == ["handle 1", "handle 2"] * lingering
    assert left.lingering == -1


async def test_what_does_not_go_is_named_in_time(monkeypatch):
    Leftovers(monkeypatch, 10**9)
    monkeypatch.setattr(beginning, "CLEAR_DEADLINE_S", -1.0)
    with pytest.raises(RouterUnavailable, match=r"router 'agents' are still there .* s1, s2; see `ray list actors`"):
        await clear_away(CONFIG, 0)


# --- taken over -------------------------------------------------------------------------------


class Told:
    """Stands for a registry and a fleet; tells what they were told, in order."""

    def __init__(self, slow: Iterable[str] = (), broken: Iterable[str] = ()) -> None:
        self.said: list[tuple[str, Any]] = []
        self.answers = {actor_id: asyncio.Event() for actor_id in slow}
        self.broken = {*broken}
        self.tasks: list[asyncio.Task[None]] = []

    def expect(self, actor_ids: Iterable[str]) -> None:
        self.said.append(("expected", sorted(actor_ids)))

    def settle(self, actor_ids: Iterable[str], _now: float) -> None:
        self.said.append(("settled", sorted(actor_ids)))

    def after_event(self) -> None:
        self.said.append(("performed", None))

    async def adopt(self, actor_id: str, handle: str) -> None:
        assert handle == f"handle of {actor_id}"
        if actor_id in self.answers:
            await self.answers[actor_id].wait()
        if actor_id in self.broken:
            raise RuntimeError("nobody had thought of that")
        self.said.append(("adopted", actor_id))

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(coroutine))

    async def take_over(self, *actor_ids: str) -> None:
        found = {actor_id: f"handle of {actor_id}" for actor_id in actor_ids}
        await take_over(found, self, self, self.after_event)  # type: ignore[arg-type]

    @property
    def settled(self) -> list[list[str]]:
        return [what for kind, what in self.said if kind == "settled"]


async def test_all_that_answer_at_once_are_known_before_anybody_is_served():
    told = Told()
    await told.take_over("s1", "s2")
    assert told.said[0] == ("expected", ["s1", "s2"])
    assert sorted(told.said[1:3]) == [("adopted", "s1"), ("adopted", "s2")]
    assert told.said[3:] == [("settled", ["s1", "s2"]), ("performed", None)]


async def test_a_router_that_finds_nobody_begins_at_once():
    told = Told()
    await told.take_over()
    assert told.said == [("expected", []), ("settled", []), ("performed", None)]


async def test_who_is_slow_is_not_waited_for_and_taken_in_when_it_answers(monkeypatch):
    monkeypatch.setattr(beginning, "ADOPTION_PATIENCE_S", 0.01)
    told = Told(slow=["s2", "s3"])
    await told.take_over("s1", "s2", "s3")
    assert told.settled == [["s1"]]
    for number, actor_id in enumerate(("s3", "s2"), 1):
        told.answers[actor_id].set()
        await asyncio.wait(told.tasks, timeout=10.0, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*[task for task in told.tasks if task.done()])
        told.tasks = [task for task in told.tasks if not task.done()]
        assert told.settled == [["s1"], ["s3"], ["s2"]][: number + 1]
        assert told.said[-1] == ("performed", None)


@pytest.mark.parametrize("slow", [[], ["s1"]])
async def test_who_breaks_when_it_is_adopted_is_waited_for_no_longer_and_told_in_the_log(monkeypatch, caplog, slow):
    """Else the router would say "not yet" of all that it does not know, for ever."""
    monkeypatch.setattr(beginning, "ADOPTION_PATIENCE_S", 0.01)
    told = Told(slow=slow, broken=["s1"])
    await told.take_over("s1", "s2")
    for answer in told.answers.values():
        answer.set()
    await asyncio.gather(*told.tasks)
    assert sorted(itself for actor_ids in told.settled for itself in actor_ids) == ["s1", "s2"]
    assert "nobody had thought of that" in caplog.text


def test_a_clock_that_was_set_back_makes_no_fencing_number_lower_after_a_restart():
    before = first_number(0, 4_398_046_511.0)  # the last second for which there is room
    assert first_number(1, 0.0) > before
    assert first_number(0, 100.0) < first_number(0, 101.0)
