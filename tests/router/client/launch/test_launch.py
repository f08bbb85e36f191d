"""Agents that a router runs: what they say is sent, how they end, when they run again, what leaving the loop does."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import random
import threading
from typing import Any

import pytest
from client_fakes import FakeRouter, door, until
from ray.exceptions import WorkerCrashedError

from actors.errors import AgentBusy, AgentNotStarted, InvalidArgument, RequestFailed, UnknownRequest
from actors.protocol.calls import OpenCall, Registration
from actors.protocol.frames import read, unpack
from actors.protocol.labels import Labels, read_labels
from actors.result import Result, Timings
from router.client.launch import agent_run, policies
from router.client.launch.agent_run import AgentRun, Attempts
from router.client.launch.launches import MappedResults, new_name
from router.client.launch.performing import Order, conduct, last_line, perform, pickled
from router.client.launch.policies import WAIT_S_MAX, RetryPolicy, name_of_attempt
from router.client.reading import bar
from router.client.reading.results import Results
from router.client.stream_router import StreamRouter

# --- policies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retries", "again"),
    [
        ("never", set()),
        ("lost", {None, "lost", "publisher_lost"}),
        ("failed", {None, "lost", "publisher_lost", "error", "incomplete", "timeout_stall"}),
    ],
)
def test_a_policy_says_which_ends_are_worth_another_try(retries, again):
    policy = RetryPolicy(retries, 2)
    ends = (None, "lost", "publisher_lost", "error", "incomplete", "timeout_stall", "cancelled", "end_turn", "refusal")
    assert {end for end in ends if policy.wait_s(1, end, random.Random(1)) is not None} == again
    assert {end for end in ends if policy.wait_s(2, end, random.Random(1)) is not None} == set()


def test_pauses_grow_and_are_bounded():
    policy = RetryPolicy("failed", 100)
    pauses = [policy.wait_s(attempt, "error", random.Random(attempt)) for attempt in range(1, 20)]
    assert 0.25 <= pauses[0] <= 0.5
    assert pauses[0] < pauses[3] < pauses[6]
    assert all(WAIT_S_MAX / 2 <= pause <= WAIT_S_MAX for pause in pauses[8:])


def test_each_try_is_a_request_of_its_own():
    assert [name_of_attempt("req", attempt) for attempt in (1, 2, 3)] == ["req", "req.2", "req.3"]


@pytest.mark.parametrize("agent", [print, functools.partial(print, 1), lambda: None, object()])
def test_a_name_made_of_an_agent_can_name_a_request(agent):
    name = new_name(agent)
    assert name.isprintable()
    assert name != new_name(agent)


def opened_by(frame: bytes) -> list[Registration]:
    return [Registration(*parts) for parts in read(OpenCall, frame).registrations]


# --- what an agent says -----------------------------------------------------------------------------------


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


@pytest.fixture
async def client(router):
    client = door(router)
    yield client
    await client.close()


MESSAGE = {"message_type": "tool_return_message", "tool_return": "15", "status": "success", "tool_call_id": "c"}


async def spoken(*arguments):
    yield b'{"n": 1}'
    yield MESSAGE
    for argument in arguments:
        yield {"n": argument}


def read_in_a_thread(argument):
    assert threading.current_thread() is not threading.main_thread()
    yield b'{"n": 1}'
    yield MESSAGE
    yield {"n": argument}


async def with_a_stream(stream, argument):
    await stream.chunk(b'{"n": 1}')
    await stream.message(MESSAGE)
    await stream.chunk({"n": argument})


class Called:
    async def __call__(self, argument):
        async for one in spoken(argument):
            yield one


async def _later(argument):
    return spoken(argument)


def source_of(argument):
    return _later(argument)


async def run(client, router, agent, *arguments, request_id="req") -> Any:
    """Run an agent against a router that confirms what ends; return what it answered."""
    order = Order(request_id, None, None, "reject", pickled(agent, "the agent"), pickled(arguments, "its arguments"))
    running = asyncio.create_task(conduct(client, order))

    def has_ended() -> bool:
        return running.done() or any(kind in ("finish", "fail") for kind, _ in said(router, request_id))

    await until(has_ended)
    if not running.done():
        router.say_publisher(request_id, "sealed", stop_reason="end_turn")
    return await asyncio.wait_for(running, 5)


def said(router, request_id="req") -> list[Any]:
    """Return what was sent: (kind, body), of a chunk ("chunk", bytes)."""
    items = router.items.get(request_id, [])
    return [("chunk", item) if isinstance(item, bytes) else (item[0], unpack(item[1])) for item in items]


@pytest.mark.parametrize(
    "agent", [spoken, functools.partial(spoken), read_in_a_thread, with_a_stream, Called(), source_of]
)
async def test_whatever_an_agent_is_what_it_says_is_sent_in_order(client, router, agent):
    assert await run(client, router, agent, 2) is None
    kinds = said(router)
    assert [kind for kind, _ in kinds] == ["chunk", "message", "chunk", "finish"]
    assert [body for kind, body in kinds if kind == "chunk"] == [b'{"n": 1}', b'{"n":2}']


async def raising(*_):
    yield b'{"n": 1}'
    raise LookupError("no such city, api_key=abcdefghijklmnop")


def raising_in_a_thread(*_):
    yield b'{"n": 1}'
    raise LookupError("no such city, api_key=abcdefghijklmnop")


async def raising_with_a_stream(stream, *_):
    await stream.chunk(b'{"n": 1}')
    raise LookupError("no such city, api_key=abcdefghijklmnop")


@pytest.mark.parametrize("agent", [raising, raising_in_a_thread, raising_with_a_stream])
async def test_one_that_raises_ends_as_error_with_the_last_line_of_its_traceback(client, router, agent):
    assert await run(client, router, agent, 2) is None
    (_, chunk), (kind, body) = said(router)
    assert chunk == b'{"n": 1}'
    assert kind == "fail"
    assert body["error_type"] == "LookupError"
    assert body["detail"] == "LookupError: no such city, api_key=[removed]"


@pytest.mark.parametrize("agent", [lambda _: None, lambda _: 5, bool])
async def test_what_gives_nothing_that_can_be_sent_is_told_so_in_its_end(client, router, agent):
    assert await run(client, router, agent, 2) is None
    [(kind, body)] = said(router)
    assert kind == "fail"
    assert "Publisher.pump: expected an asynchronous iterator" in body["detail"]


async def test_one_that_its_process_cannot_read_is_told_so_in_its_end(client, router):
    order = Order("req", None, None, "reject", b"nothing", b"nothing")
    running = asyncio.create_task(conduct(client, order))
    await until(lambda: said(router))
    router.say_publisher("req", "sealed", stop_reason="error")
    assert await running is None
    [(kind, body)] = said(router)
    assert kind == "fail"
    assert "Unpickl" in body["detail"]


async def test_a_cancel_of_its_request_stops_it(client, router):
    left = asyncio.Event()

    async def waits():
        try:
            yield b'{"n": 1}'
            await asyncio.Event().wait()
        finally:
            left.set()

    async def body() -> None:
        async with client.publish("req") as stream:
            await perform(stream, waits, ())

    running = asyncio.create_task(body())
    await until(lambda: said(router))
    router.say_publisher("req", "sealed", cancel="now", stop_reason="cancelled")
    with pytest.raises(RequestFailed):
        await asyncio.wait_for(running, 5)
    assert left.is_set()


async def test_its_labels_go_with_it(client, router):
    labels = {"tags": {"team": "blue"}, "metadata": {"run": 7}}
    order = Order("req", None, None, "reject", pickled(spoken, "x"), pickled((), "x"), **labels)
    running = asyncio.create_task(conduct(client, order))
    await until(lambda: said(router))
    [registration] = [parts for name, calls in router.handle.calls if name == "open" for parts in opened_by(calls[0])]
    assert read_labels(registration.labels) == Labels({"team": "blue"}, {"run": 7})
    running.cancel()
    await asyncio.wait([running])


async def test_a_request_that_is_refused_is_an_answer(client, router):
    router.refusals["req"] = ("agent_busy", "not now")
    assert await run(client, router, spoken, 2) == ("agent_busy", "not now")


def test_the_last_line_of_a_traceback():
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert last_line(ValueError("bad")) == "ValueError: bad"
    assert last_line(ZeroDivisionError()) == "ZeroDivisionError"
    assert last_line(pickle.PickleError("x")) == "_pickle.PickleError: x"
    assert "Odd" in last_line(Odd())


def test_what_cannot_be_passed_on_is_refused_by_name():
    with pytest.raises(InvalidArgument, match=r"the agent is to run in another process.*make in the agent"):
        pickled(threading.Lock(), "the agent")


# --- tries ------------------------------------------------------------------------------------------------


def ended(request_id: str, stop_reason: str = "end_turn") -> Result:
    return Result(request_id, "", "", (), stop_reason, None, Timings(None, 0.0), ())


class View:
    """A router whose requests end as told."""

    def __init__(self) -> None:
        self.ends: dict[str, asyncio.Future[Result]] = {}
        self.open: set[str] = set()
        self.cancelled: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    def end_of(self, request_id: str) -> asyncio.Future[Result]:
        return self.ends.setdefault(request_id, asyncio.get_running_loop().create_future())

    def end(self, request_id: str, stop_reason: str = "end_turn") -> None:
        self.open.add(request_id)
        self.end_of(request_id).set_result(ended(request_id, stop_reason))

    async def read(self, request_id: str) -> Result:
        return await asyncio.shield(self.end_of(request_id))

    async def is_open(self, request_id: str) -> bool:
        return request_id in self.open

    async def cancel(self, request_id: str, _detail: str | None) -> bool:
        if request_id not in self.open:
            raise UnknownRequest(request_id)
        self.cancelled.append(request_id)
        return True

    def spawn(self, coroutine):
        self.tasks.append(asyncio.create_task(coroutine))
        return self.tasks[-1]

    def messages(self, request_id: str, *, wait_s: float):
        return request_id, wait_s


class Submitted:
    """References to agents by their request."""

    def __init__(self, monkeypatch) -> None:
        self.references: dict[str, asyncio.Future[Any]] = {}
        self.cancelled: list[str] = []
        monkeypatch.setattr(agent_run.ray, "cancel", self._cancel)
        monkeypatch.setattr(policies, "FIRST_WAIT_S", 0.0)

    def __call__(self, order: Order) -> asyncio.Future[Any]:
        found = self.references[order.request_id] = asyncio.get_running_loop().create_future()
        return found

    def _cancel(self, reference) -> None:
        self.cancelled += [name for name, found in self.references.items() if found is reference]


@pytest.fixture
def submitted(monkeypatch) -> Submitted:
    return Submitted(monkeypatch)


@pytest.fixture
async def view():
    return View()


def attempts_of(view, submitted, retries="never", attempts=3) -> Attempts:
    order = Order("req", None, None, "reject", b"", b"")
    return Attempts(view, order, submitted, RetryPolicy(retries, attempts))


async def test_an_agent_that_ends_well_is_run_once(view, submitted):
    run = AgentRun(attempts_of(view, submitted, "failed"), view, raise_failed=True)
    await until(lambda: "req" in submitted.references)
    submitted.references["req"].set_result(None)
    assert not run.done
    view.end("req")
    assert (await run).request_id == "req"
    assert (run.attempts, run.done) == (1, True)


async def test_an_agent_that_fails_is_run_again_under_another_id(view, submitted):
    run = AgentRun(attempts_of(view, submitted, "failed"), view, raise_failed=True)
    for name in ("req", "req.2"):
        await until(lambda name=name: name in submitted.references)
        assert run.request_id == name
        view.end(name, "error")
    await until(lambda: "req.3" in submitted.references)
    view.end("req.3", "error")
    with pytest.raises(RequestFailed, match=r"req\.3"):
        await run
    assert run.attempts == 3


async def test_a_failed_end_is_returned_where_it_is_wanted_so(view, submitted):
    run = AgentRun(attempts_of(view, submitted), view, raise_failed=False)
    view.end("req", "error")
    assert (await run).stop_reason == "error"


async def test_a_process_that_dies_before_it_begins_is_named_and_run_again(view, submitted):
    run = AgentRun(attempts_of(view, submitted, "lost", 2), view, raise_failed=True)
    for name in ("req", "req.2"):
        await until(lambda name=name: name in submitted.references)
        submitted.references[name].set_exception(WorkerCrashedError())
    with pytest.raises(AgentNotStarted, match=r"'req\.2' was not started"):
        await run


async def test_a_process_that_dies_later_leaves_the_end_to_the_router(view, submitted):
    run = AgentRun(attempts_of(view, submitted), view, raise_failed=False)
    await until(lambda: "req" in submitted.references)
    view.open.add("req")
    submitted.references["req"].set_exception(WorkerCrashedError())
    await until(submitted.references["req"].done)
    assert not run.done
    view.end("req", "publisher_lost")
    assert (await run).stop_reason == "publisher_lost"


async def test_what_refuses_its_request_is_raised_by_name(view, submitted):
    run = AgentRun(attempts_of(view, submitted, "failed"), view, raise_failed=True)
    await until(lambda: "req" in submitted.references)
    submitted.references["req"].set_result(("agent_busy", "not now"))
    with pytest.raises(AgentBusy, match="not now"):
        await run
    assert run.attempts == 1


async def test_a_cancel_is_the_last_word(view, submitted):
    run = AgentRun(attempts_of(view, submitted, "failed"), view, raise_failed=False)
    await until(lambda: "req" in submitted.references)
    view.open.add("req")
    assert await run.cancel()
    assert view.cancelled == ["req"]
    view.end("req", "error")  # it raised while it was being stopped
    assert (await run).request_id == "req"


async def test_a_cancel_that_is_refused_changes_nothing(view, submitted):
    run = AgentRun(attempts_of(view, submitted, "failed"), view, raise_failed=False)
    await until(lambda: "req" in submitted.references)
    with pytest.raises(InvalidArgument, match=r"AgentRun.cancel: detail is text"):
        await run.cancel(object())  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"AgentRun.messages: wait_s is a number of seconds"):
        run.messages(wait_s="soon")  # type: ignore[arg-type]
    view.end("req", "error")
    await until(lambda: "req.2" in submitted.references)
    view.end("req.2")
    assert (await run).request_id == "req.2"


async def test_a_cancel_of_what_has_not_begun_keeps_it_from_beginning(view, submitted):
    run = AgentRun(attempts_of(view, submitted, "failed"), view, raise_failed=False)
    await until(lambda: "req" in submitted.references)
    assert await run.cancel()
    assert submitted.cancelled == ["req"]
    early = AgentRun(attempts_of(view, submitted), view, raise_failed=False)
    await early.cancel()
    with pytest.raises(AgentNotStarted, match="cancelled before it began"):
        await early
    run_task = run._task
    run_task.cancel()
    await asyncio.wait([run_task])


async def test_whoever_leaves_the_loop_keeps_from_beginning_what_has_not_begun(view, submitted):
    room = asyncio.Semaphore(3)

    def submit(order: Order) -> Any:
        if order.request_id == "r-1":
            view.end("r-1")
        elif order.request_id == "r-2":
            view.open.add("r-2")
        return submitted(order)

    async def one(request_id: str) -> Result:
        async with room:
            order = Order(request_id, None, None, "reject", b"", b"")
            return await Attempts(view, order, submit, RetryPolicy("never", 1)).last()

    results = MappedResults([f"r-{n}" for n in range(1, 6)], one, progress=False)
    assert isinstance(results, Results)
    async for result in results:
        assert result.request_id == "r-1"
        break
    else:
        pytest.fail("nothing came")
    await until(lambda: view.tasks and all(task.done() for task in view.tasks))
    assert "r-5" not in submitted.references
    assert set(submitted.cancelled) == set(submitted.references) - {"r-1", "r-2"}


async def test_no_more_than_so_many_run_at_a_time(client, monkeypatch):
    running = [0, 0]

    async def last(self) -> Result:
        running[0] += 1
        running[1] = max(running)
        for _ in range(5):
            await asyncio.sleep(0)
        running[0] -= 1
        return ended(self.request_id)

    monkeypatch.setattr(Attempts, "last", last)
    told = []
    results = client.map(spoken, range(20), concurrency=4, name="q", progress=lambda *counts: told.append(counts))
    assert [result.request_id for result in await results] == [f"q-{n}" for n in range(1, 21)]
    assert running == [0, 4]
    assert told[-1] == (20, 20)


async def test_a_bar_is_drawn_at_a_terminal_alone(monkeypatch, capsys):
    drawn = bar.Bar()
    drawn.begin(2)
    drawn(1, 2)
    drawn.end()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this for a terminal
    drawn.begin(2)
    drawn(2, 2)
    drawn.end()
    assert "2/2" in capsys.readouterr().err


# --- one name, two doors ----------------------------------------------------------------------------------


async def test_start_of_the_class_starts_routers_and_of_a_router_an_agent(client):
    assert list(inspect.signature(StreamRouter.start).parameters) == ["config", "token"]
    assert "agent" in inspect.signature(client.start).parameters
    assert (StreamRouter.start.__doc__ or "").startswith("Start the routers")
    assert (client.start.__doc__ or "").startswith("Run an agent")
    with pytest.raises(InvalidArgument, match=r"router\.start: agent is a function"):
        client.start("configs/local.yaml")


async def test_an_agent_started_from_a_thread_without_an_event_loop_is_refused_by_name():
    client = door(FakeRouter())
    with pytest.raises(InvalidArgument, match="this thread runs none"):
        await asyncio.to_thread(client.start, len)
    await client.close()
