"""Calls through a socket arrive, their errors come back by name, and what was on a broken one is an unknown outcome."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
import stat
from pathlib import Path

import pytest
from ray.exceptions import ActorUnavailableError
from transport_fakes import DEADLINE_S, HERE, Actor, Asker, Handle, connect, elsewhere, until

from actors.errors import UnknownRequest
from actors.stream.stream_actor import StreamActor
from actors.transport import local
from actors.transport.connection import PART_BYTES, Connection, End
from actors.transport.line import CARRIED, Line, Raised
from actors.transport.meeting import Address
from actors.transport.stream_codec import HEAD, LARGE_BYTES, Kind, encode, encode_call
from router.on_ray.router_actor import RouterActor

pytestmark = pytest.mark.skipif(not local.is_possible(), reason="needs Linux")


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    # As long as temporary directories become: a socket's own path may have 107 characters.
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(local.tempfile, "gettempdir", lambda: str(long))
    return long


def names_in(folder) -> list[Path]:
    return list(Path(folder).iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def met(actor: Actor) -> Line:
    made = Line(Handle(actor), HERE)
    made.meet_soon()
    await until(lambda: made.connection is not None)
    return made


# --- calls ------------------------------------------------------------------------------------


async def test_calls_go_through_ray_until_the_two_have_met_and_then_no_more():
    actor = Actor()
    line = Line(Handle(actor), HERE)
    assert await line.feed.remote(b"a", b"b") == b"ab"
    await until(lambda: line.connection is not None)
    assert (line.means, line.why) == ("local", "")
    assert await line.feed.remote("me", [None, 3], b"c") == b"c"
    assert actor.called == [(b"a", b"b"), ("me", [None, 3], b"c")]
    assert line.handle.through_ray == ["feed", "meet"]
    line.close()


async def test_answers_come_in_their_own_order_and_large_ones_whole():
    actor = Actor()
    line = await met(actor)
    waiting = line.poll.remote(b"late")
    large = os.urandom(8 * 1024 * 1024)
    assert await line.feed.remote(large) == large
    assert not waiting.done()
    actor.may_answer.set()
    assert await waiting == b"late"
    line.close()


async def test_what_a_method_raises_comes_back_by_name():
    line = await met(Actor())
    with pytest.raises(Raised) as raised:
        await line.tell.remote(b"x")
    assert isinstance(raised.value.cause, UnknownRequest)
    with pytest.raises(Raised, match="ZeroDivisionError"):
        await line.watch.remote(b"x")
    assert await line.feed.remote(b"still") == b"still"
    line.close()


async def test_an_error_that_quotes_half_a_surrogate_pair_comes_back_too():
    actor = Actor()
    line = await met(actor)

    async def quotes(_frame):
        raise UnknownRequest("no request 'half \ud83d'")

    actor.tell = quotes
    with pytest.raises(Raised, match="ud83d"):
        await asyncio.wait_for(line.tell.remote(b"x"), DEADLINE_S)
    line.close()


async def test_what_cannot_be_packed_is_refused_in_the_call_and_leaves_nobody_waiting():
    line = await met(Actor())
    with pytest.raises(TypeError):
        line.feed.remote(object())
    assert not line.connection._waiting
    line.close()


async def test_whoever_comes_and_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("actors.transport.door.MEET_DEADLINE_S", 0.05)
    silent = local.connect(Address(*Actor().door.meet("here")))
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.get_running_loop().sock_recv(silent, 100) == b""
    silent.close()


async def test_a_call_that_is_followed_has_many_answers_and_the_one_that_renews_it_takes_its_place():
    actor, asker = Actor(), Asker()
    connection = await connect(actor.door.meet("here"))
    first = connection.ask("follow", (b"x",), asker)
    await until(lambda: actor.replies)
    second = connection.ask("follow", (b"y",), asker)
    await until(lambda: len(actor.replies) == 2)
    assert actor.replies[0].is_beside(actor.replies[1])
    assert actor.replies[0].more(1)
    assert actor.replies[1].more(2)
    assert actor.replies[0].more(3)
    actor.replies[1].last(4)
    await until(lambda: len(asker.heard) == 3)
    assert asker.heard == [(first, 1), (second, 2), (second, 4, "last")], "what is renewed is answered no more"
    connection.close()


async def test_a_call_that_is_followed_fails_by_name_and_with_its_connection():
    actor, asker = Actor(), Asker()
    connection = await connect(actor.door.meet("here"))
    connection.ask("follow", (b"refused",), asker)
    await until(lambda: asker.heard)
    connection.ask("follow", (b"x",), asker)
    await until(lambda: actor.replies)
    connection.close()
    await until(lambda: len(asker.heard) == 2)
    assert asker.heard == [("RuntimeError",), ("ActorUnavailableError",)]
    with pytest.raises(ActorUnavailableError):
        connection.ask("follow", (b"y",), asker)
    await until(lambda: not actor.replies[0].more(1))


async def test_methods_that_only_ray_can_carry_go_through_ray():
    actor = Actor()
    actor.describe = actor.feed
    line = await met(actor)
    await line.describe.remote(b"x")
    assert line.handle.through_ray[-1] == "feed"
    line.close()


# --- what breaks ------------------------------------------------------------------------------


async def test_a_connection_that_breaks_is_an_unknown_outcome_and_the_next_call_goes_through_ray():
    actor = Actor()
    line = await met(actor)
    waiting = line.poll.remote(b"x")
    await asyncio.sleep(0)
    line.connection._transport.abort()
    with pytest.raises(ActorUnavailableError, match="the connection broke"):
        await waiting
    line._meet_at = 0.0
    assert await line.feed.remote(b"again") == b"again"
    assert line.handle.through_ray.count("feed") == 1
    await until(lambda: line.connection is not None)  # and they meet again
    line.close()


async def test_a_call_that_is_given_up_harms_no_other():
    actor = Actor()
    line = await met(actor)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(line.poll.remote(b"x"), 0.01)
    actor.may_answer.set()
    assert await line.feed.remote(b"next") == b"next"
    line.close()


@pytest.mark.parametrize(
    "said",
    [
        *encode_call(1, "feed", ()),
        *encode(0, Kind.HELLO, b"not what was given"),
        b"GET / HTTP/1.1\r\n\r\n",
        HEAD.pack(1 << 31, 0, 0),
    ],
)
async def test_whoever_does_not_know_what_the_asker_was_given_is_sent_away(said):
    actor = Actor()
    address = Address(*actor.door.meet("here"))
    stranger = local.connect(address)
    stranger.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(stranger, said)
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(ConnectionResetError):
            assert await loop.sock_recv(stranger, 100) == b""
    stranger.close()
    assert actor.called == []


@pytest.mark.parametrize("method", ["__init__", "meet", "door", "nothing"])
async def test_only_the_methods_that_may_be_are_called(method):
    connection = await connect(Actor().door.meet("here"))
    with pytest.raises(ActorUnavailableError):
        await connection.call(method, ())


async def test_a_socket_of_somebody_else_is_not_taken_for_the_actors():
    actor = Actor()
    address = Address(*actor.door.meet("here"))
    with pytest.raises((OSError, TimeoutError)):
        await connect([*address[:4], b"what the actor would not say"])


async def test_half_a_call_and_an_end_do_nothing():
    actor = Actor()
    connection = await connect(actor.door.meet("here"))
    (whole,) = encode_call(1, "feed", (b"x" * 1000,))
    connection.write([whole[:500]])
    connection.close()
    await asyncio.sleep(0.01)
    assert actor.called == []


# --- what is large ----------------------------------------------------------------------------


async def test_large_calls_and_small_ones_behind_them_come_in_order_however_slowly_they_are_taken():
    actor = Actor()
    line = await met(actor)
    frames = [os.urandom(3 * PART_BYTES + 1), b"a", os.urandom(LARGE_BYTES), b"b", os.urandom(2 * 1024 * 1024), b"c"]
    assert await asyncio.gather(*(line.feed.remote(frame) for frame in frames)) == frames
    assert [called for (called,) in actor.called] == frames
    line.close()


class Slow(asyncio.Transport):
    """Keeps what it is given, and takes more when it is told to."""

    def __init__(self, end: End) -> None:
        super().__init__({"socket": None})
        self.end = end
        self.given: list[bytes] = []
        self.sent = b""
        self.has_ended = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (1, None)

    def write(self, data) -> None:
        self.given.append(bytes(data))
        self.end.pause_writing()

    def drain(self) -> None:
        self.sent += b"".join(self.given)
        self.given.clear()
        self.end.resume_writing()

    def is_closing(self) -> bool:
        return self.has_ended

    def abort(self) -> None:
        self.has_ended = True


class _Ours(End):
    def take(self, number: int, kind: int, body: bytes) -> None:
        raise NotImplementedError


async def test_a_transport_is_given_a_part_of_what_is_large_and_the_next_when_it_has_sent_that():
    end = _Ours()
    slow = Slow(end)
    end.connection_made(slow)
    large = encode_call(1, "feed", ([os.urandom(5 * PART_BYTES + 7), os.urandom(PART_BYTES)], True))
    small = encode_call(2, "feed", (b"behind",))
    end.write(large)
    end.write(small)
    rounds = 0
    while slow.given:
        rounds += 1
        assert sum(map(len, slow.given)) <= PART_BYTES
        slow.drain()
    assert slow.sent == b"".join([*large, *small])
    assert rounds > 6
    end.connection_lost(None)


async def test_what_waits_for_an_end_that_is_gone_is_lost_with_it():
    end = _Ours()
    slow = Slow(end)
    end.connection_made(slow)
    end.write(encode_call(1, "feed", (os.urandom(5 * PART_BYTES),)))
    assert end._waiting_parts
    end.close()
    slow.drain()
    assert not slow.given
    end.connection_lost(None)
    assert not end._waiting_parts
    end.write(encode_call(1, "feed", (os.urandom(5 * PART_BYTES),)))
    assert not slow.given


# --- names, rights and descriptors ------------------------------------------------------------


async def test_a_socket_has_a_name_only_until_it_is_met_in_a_directory_of_the_user_alone():
    actor = Actor()
    address = Address(*actor.door.meet("here"))
    (name,) = names_in(address.place)
    assert (mode(Path(address.place)), mode(name)) == (0o700, 0o600)
    connection = await connect(list(address))
    assert not names_in(address.place)
    connection.close()


async def test_nobody_comes_and_the_name_goes(monkeypatch):
    monkeypatch.setattr("actors.transport.door.MEET_DEADLINE_S", 0.01)
    folder = Path(Address(*Actor().door.meet("here")).place)
    await until(lambda: not names_in(folder))


async def test_names_of_killed_processes_are_swept():
    folder = local.directory()
    gone = 2**22 + 1  # no process has this number
    (folder / f"{gone}-abc").touch()
    (folder / f"{os.getpid()}-abc").touch()
    Actor().door.meet("here")
    assert not (folder / f"{gone}-abc").exists()
    assert (folder / f"{os.getpid()}-abc").exists()


async def test_a_directory_that_others_may_enter_is_not_trusted():
    folder = local.directory()
    folder.chmod(0o755)
    assert "could make no socket" in Actor().door.meet("here")
    with pytest.raises(PermissionError, match="mode 0755"):
        local.directory()


async def test_a_link_in_place_of_the_directory_is_not_followed(temporary, tmp_path):
    (temporary / f"stream-router-{os.getuid()}").symlink_to(tmp_path)
    assert "could make no socket" in Actor().door.meet("here")


@pytest.mark.parametrize(
    ("actor_node", "why"),
    [("there", "it stands on another node"), (None, "the actor was started to speak through Ray alone")],
)
async def test_who_cannot_meet_stays_with_ray_and_says_why(actor_node, why):
    line = Line(Handle(Actor(actor_node)), HERE)
    assert await line.feed.remote(b"x") == b"x"
    await until(lambda: line._meeting is None)
    assert await line.feed.remote(b"y") == b"y"
    assert (line.means, line.why) == ("ray", why)
    assert line.handle.through_ray == ["feed", "meet", "feed"]


async def test_where_the_directory_is_not_the_same_they_stay_with_ray(monkeypatch):
    actor = Actor()
    line = Line(Handle(actor), HERE)
    monkeypatch.setattr(actor.door, "meet", elsewhere(actor.door.meet))
    await line.feed.remote(b"x")
    await until(lambda: line._meeting is None)
    assert line.means == "ray"
    assert "FileNotFoundError" in line.why


async def test_without_descriptors_they_stay_with_ray():
    line = Line(Handle(Actor()), HERE)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(names_in("/proc/self/fd")) + 4, hard))
    try:
        while True:
            try:
                held.append(socket.socket())
            except OSError:
                break
        await line.feed.remote(b"x")
        await until(lambda: line._meeting is None)
    finally:
        for one in held:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert line.means == "ray"
    assert await line.feed.remote(b"y") == b"y"


async def test_a_line_without_a_node_is_the_handle():
    line = Line(Handle(Actor()), None)
    assert await line.feed.remote(b"x") == b"x"
    line.meet_soon()
    assert line._meeting is None
    assert line.handle.through_ray == ["feed"]


async def test_after_it_is_closed_nothing_goes_through_a_socket():
    line = await met(Actor())
    connection = line.connection
    line.close()
    with pytest.raises(ActorUnavailableError):
        await connection.call("feed", (b"x",))
    assert await line.feed.remote(b"x") == b"x"
    assert line._meeting is None


async def test_one_that_is_closed_while_it_meets_leaves_no_connection(monkeypatch):
    made: list[Connection] = []
    monkeypatch.setattr(Connection, "write", lambda self, _data: made.append(self))  # so they never meet
    line = Line(Handle(Actor()), HERE)
    line.meet_soon()
    await until(lambda: made)
    line.close()
    await until(lambda: made[0]._transport is None or made[0]._transport.is_closing())
    assert line.connection is None


def test_a_loop_that_ends_closes_the_connections_in_it_at_both_ends():
    waiting: list[asyncio.Future[bytes]] = []

    async def leave_open() -> tuple[Actor, Line]:
        actor = Actor()
        line = await met(actor)
        waiting.append(asyncio.ensure_future(line.poll.remote(b"never answered")))
        return actor, line

    actor, line = asyncio.run(leave_open())
    assert line.connection is None
    assert isinstance(waiting[0].exception(), ActorUnavailableError), "what became of the call is unknown"
    del actor, line
    gc.collect()  # a socket that is open still would be a ResourceWarning, which fails a test


def test_what_is_carried_are_methods_of_the_actors():
    for name in CARRIED:
        assert hasattr(RouterActor, name) or hasattr(StreamActor, name), name
