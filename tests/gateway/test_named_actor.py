"""An agent that is a named Ray actor, without Ray: what is called, what is given on, and what an error says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, cast

import pytest
import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError, TaskCancelledError

from gateway.config import NamedActor
from gateway.runs.named_actor import NamedActorFailed, ask_actor, why_failed

CREW = NamedActor(name="crew", namespace="here", method="answer")
WHO = "the actor 'crew' (namespace 'here')"
RAISED = RayTaskError("answer", "Traceback ...", ValueError("no more"), proctitle="x", pid=1, ip="127.0.0.1")
NEVER = object()


class Call:
    """A call under way, as Ray gives it: what it yields are references, which are awaited."""

    def __init__(self, *says: Any) -> None:
        self._says = says
        self.is_cancelled = False

    async def __aiter__(self) -> AsyncIterator[Awaitable[Any]]:
        for said in self._says:
            yield _referred(said)


async def _referred(said: Any) -> Any:
    if isinstance(said, Exception):
        raise said
    if said is NEVER:
        await asyncio.Event().wait()
    return said


class Handle:
    """What Ray finds under a name; `answer` is its method."""

    def __init__(self, call: Call | Exception) -> None:
        self.answer = self
        self.called: list[tuple[dict[str, Any], Any]] = []
        self._call = call
        self._options: dict[str, Any] = {}

    def options(self, **options: Any) -> Handle:
        self._options = options
        return self

    def remote(self, given: Any) -> Call:
        self.called.append((self._options, given))
        if isinstance(self._call, Exception):
            raise self._call
        return self._call


Find = Callable[[Any], None]


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Find:
    """Have Ray find this under the actor's name, or raise it."""

    def found(what: Any) -> None:
        def get_actor(name: str, namespace: str | None) -> Any:
            assert (name, namespace) == ("crew", "here")
            if isinstance(what, Exception):
                raise what
            return what

        monkeypatch.setattr(ray, "get_actor", get_actor)

    monkeypatch.setattr(ray, "cancel", lambda call: setattr(call, "is_cancelled", True))
    return found


async def said() -> list[Any]:
    return [one async for one in ask_actor(CREW, {"messages": []})]


async def test_what_the_method_yields_is_given_on_and_ray_makes_no_second_call(find: Find):
    call = Call({"choices": []}, {"message_type": "assistant_message", "content": "Hi"})
    handle = Handle(call)
    find(handle)
    assert await said() == [{"choices": []}, {"message_type": "assistant_message", "content": "Hi"}]
    once = {"num_returns": "streaming", "max_task_retries": 0, "retry_exceptions": False}
    assert handle.called == [(once, {"messages": []})]
    assert not call.is_cancelled


async def test_who_leaves_the_run_cancels_the_call(find: Find):
    call = Call("one", NEVER)
    find(Handle(call))
    async with aclosing(cast("Any", ask_actor(CREW, {}))) as yielded:
        assert await anext(yielded) == "one"
        waiting = asyncio.ensure_future(anext(yielded))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert call.is_cancelled
    call.is_cancelled = False
    async with aclosing(cast("Any", ask_actor(CREW, {}))) as yielded:
        await anext(yielded)  # and so where it is left between two things that it said
    assert call.is_cancelled


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (ValueError("Failed to look up"), "there is no actor 'crew' in the Ray namespace 'here': start it there"),
        (object(), f"{WHO} has no method 'answer'"),
        (
            Handle(ValueError("not a generator")),
            f"the method 'answer' of {WHO} cannot be called as an agent: not a gen",
        ),
        (Handle(Call("one", RAISED)), f"{WHO} raised in 'answer': ValueError: no more"),
        (Handle(Call("one", ActorDiedError())), f"{WHO} died or cannot be reached, and 'answer' cannot go on"),
        (RayError("no GCS"), f"{WHO} cannot be asked, or what 'answer' yields cannot be read: no GCS"),
    ],
)
async def test_an_actor_that_fails_is_named_with_what_to_do(find: Find, found: Any, text: str):
    find(found)
    with pytest.raises(NamedActorFailed) as caught:
        await said()
    assert str(caught.value).startswith(text)


def test_a_call_that_others_have_cancelled_says_so():
    assert "and not by a cancel of its run" in why_failed(CREW, TaskCancelledError())


def test_what_ray_says_in_many_lines_is_said_in_its_first_and_its_last():
    said = why_failed(CREW, RayError("it died, \x1b[36mray::crew\x1b[39m\n  File ...\nRuntimeError: no room.\n\n"))
    assert "it died, ray::crew ... RuntimeError: no room; " in said
    assert "be read: RayError; " in why_failed(CREW, RayError(""))


def test_it_is_looked_for_in_the_services_namespace_unless_it_names_another():
    assert NamedActor(name="crew").in_service("agents") == NamedActor(name="crew", namespace="agents")
    assert CREW.in_service("agents") == CREW
