"""What goes a short way for being most of what comes is treated as it would be in general."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from unittest import mock

from host_driver import Driver, record, text
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.messages import Head, MessagePiece
from actors.protocol import frames
from actors.protocol.envelopes import Order
from actors.protocol.reads import Operation
from actors.settings import StreamSettings, packed
from actors.stream.log import Log
from actors.stream.readers import SUBSCRIPTION_BYTES_MAX, Subscription
from actors.stream.session import Session
from tests.effort import scaled

REQUESTS = {
    "plain": {},
    "small": {"buffer_bytes_max": 400, "retain_bytes_max": 300},
    "dropping": {"buffer_bytes_max": 300, "when_full": "drop_oldest"},
    "letta": {"dialect": "letta", "retain_bytes_max": 1},
}
# Of so many bytes a few take all the room that a subscription has.
LARGE = "x" * (SUBSCRIPTION_BYTES_MAX // 3)


def settings_of(request_id: str) -> bytes:
    return packed(StreamSettings.load({"dialect": "chat", **REQUESTS[request_id]}))


def an_item(rng: random.Random) -> Any:
    return rng.choice(
        [
            *[text(rng.choice(["a", "word ", "ähnlich", "<think>"]))] * 6,
            text(LARGE),
            b'{"choices":[{"index":0,"delta":{"reasoning_content":"why"}}]}',
            b'{"choices":[{"index":1,"delta":{"content":"other"}}]}',
            b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f"}}]}}]}',
            b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}',
            b"{}",
            b"nonsense",
            record("step_end"),
            record("message", message_type="user_message", content="hello"),
        ]
    )


class World:
    """A stream actor with four requests and three readers, to which anything may happen."""

    def __init__(self, seed: int, acknowledgement: Callable[[list[int]], Any] = list) -> None:
        self.rng = random.Random(seed)
        self.driver = Driver()
        self.host = self.driver.host
        self.acknowledgement = acknowledgement
        self.epochs = dict.fromkeys(REQUESTS, 1)
        self.next_seq = dict.fromkeys(REQUESTS, 1)
        self.sent: dict[tuple[str, int], int] = {}
        self.told: list[Any] = []
        for request_id in REQUESTS:
            self.reopen(request_id)
        for reader in ("one", "two"):
            self.subscribe(reader)

    def step(self) -> None:
        does = [self.data] * 8 + [self.poll] * 4 + [self.acknowledge] * 5
        does += [self.end, self.stored, self.subscribe, self.drop, self.pull, self.renew, self.wait]
        self.rng.choice(does)()
        self.told.append(sorted(self.driver.wakes()))

    def request(self) -> str:
        return self.rng.choice([*REQUESTS])

    def tell(self, *envelopes: tuple) -> None:
        self.told.append(self.driver.send(*envelopes))

    def reopen(self, request_id: str, released: int = 0, replay_through: int = 0) -> None:
        epoch, settings = self.epochs[request_id], settings_of(request_id)
        self.tell((Order.OPEN, request_id, epoch, settings, "client", "", 0.0, released, 1, replay_through, []))

    def data(self) -> None:
        request_id = self.request()
        # Sometimes said twice, sometimes with a hole before it, sometimes of another epoch.
        first = self.next_seq[request_id] + self.rng.choice([0] * 9 + [-2, -1, 1])
        epoch = self.epochs[request_id] + self.rng.choice([0] * 12 + [-1, 1])
        items = [an_item(self.rng) for _ in range(self.rng.choice([1, 1, 1, 1, 2, 5]))]
        if self.rng.random() < 0.02:
            items.append(record("finish", stop_reason=None, usage=None))
        packed_items = b"\xc1" if self.rng.random() < 0.005 else frames.pack(items)
        self.tell((Order.DATA, request_id, epoch, first, packed_items))
        if epoch == self.epochs[request_id] and first <= self.next_seq[request_id]:
            self.next_seq[request_id] = max(self.next_seq[request_id], first + len(items))

    def poll(self) -> None:
        reader = self.rng.choice(["one", "two"])
        found = self.driver.poll(reader)
        for part in (found or {}).values():
            for first, _, *pieces in part.segments if part.state in {0, 1, 4} else ():
                count = len(pieces[0]) if len(pieces) == 1 else len(pieces[1])
                self.sent[reader, part.number] = first + count - 1
        self.told.append(found)

    def acknowledge(self) -> None:
        if not self.sent:
            return
        (reader, number), sent = self.rng.choice([*self.sent.items()])
        cursor = self.rng.choice([sent, sent, sent, sent + 3, self.rng.randint(0, sent)])
        said = self.acknowledgement([0, int(Operation.CONSUMED), number, cursor])
        self.host.audience.operate(reader, 0, [said], self.driver.now)

    def subscribe(self, reader: str | None = None) -> None:
        request_id = self.request()
        number, epoch = [*REQUESTS].index(request_id) + 1, self.epochs[request_id]
        kind = self.rng.choice([Operation.SUBSCRIBE, Operation.SUBSCRIBE, Operation.OBSERVE])
        after = self.rng.choice([0, 0, 3])
        self.driver.operate(reader or self.rng.choice(["one", "two"]), kind, number, request_id, after, epoch, False)

    def drop(self) -> None:
        self.driver.operate(self.rng.choice(["one", "two"]), Operation.DROP, self.rng.randint(1, len(REQUESTS)))

    def pull(self) -> None:
        request_id = self.request()
        after = self.rng.randint(0, self.host.sessions[request_id].log.last_seq)
        found = self.host.audience.peek(request_id, "bare", after, 3, self.driver.now)
        self.told.append((found.segments, found.last_seq, found.gap))

    def end(self) -> None:
        request_id = self.request()
        if self.rng.random() < 0.2:
            after = self.next_seq[request_id] + self.rng.choice([-1, 2])
            self.tell((Order.END, request_id, self.epochs[request_id], "cancelled", None, after))

    def stored(self) -> None:
        request_id = self.request()
        self.tell((Order.STORED, request_id, self.epochs[request_id], 300.0))

    def renew(self) -> None:
        """A request begins again on this actor, and is fed again what it had."""
        request_id = self.request()
        if self.rng.random() < 0.3:
            self.epochs[request_id] += 1
            released, sent = self.host.sessions[request_id].log.released, self.next_seq[request_id] - 1
            self.reopen(request_id, released, self.rng.choice([0, sent]))
            self.next_seq[request_id] = 1

    def wait(self) -> None:
        self.driver.passes(self.rng.choice([0.1, 5.0]))

    def ends_as(self) -> list[Any]:
        host = self.host
        of_sessions = [
            (name, session.state(with_log=False), session.log.pack(), session.log.unread_bytes, session.log.bytes_held)
            for name, session in host.sessions.items()
        ]
        providers = [(name, of.chunks, of.chunk_bytes, of.messages) for name, of in host.measures.by_provider.items()]
        counted = [host.refusals.refused, host.refusals.ignored, host.measures.credit_waits, host.chunks]
        return [self.told, of_sessions, providers, counted]


def has_news(subscription: Subscription) -> bool:
    """Say it as it is defined, whatever state the session is in."""
    session = subscription.session
    if subscription._sent_bytes >= SUBSCRIPTION_BYTES_MAX:
        return False
    return session.visible_through > subscription.sent or (session.complete and not subscription.ended)


@settings(max_examples=scaled(40))
@given(st.integers(0, 2**32))
def test_whoever_has_news_is_asked_next(seed):
    world = World(seed)
    for _ in range(60):
        world.step()
        for reader in world.host.audience.readers.values():
            for subscription in reader.subscriptions.values():
                assert subscription.has_news == has_news(subscription)
                assert (subscription in reader._ready) == has_news(subscription)


FEED, RELEASE, BOUND = Session.feed, Session._release, Session._bound


def feed_in_general(self: Session, epoch: int, first_seq: int, items: Any, now: float) -> int:
    """Feed, and then see in any case what is to be released and dropped."""
    is_taken = epoch == self.epoch and self.translator is not None and first_seq <= self.next_seq
    with mock.patch.multiple(Session, _release=lambda _self: None, _bound=lambda _self: None):
        gained = FEED(self, epoch, first_seq, items, now)
    if is_taken:
        RELEASE(self)
        BOUND(self)
    return gained


def consume_in_general(self: Session, reader: object, cursor: int, now: float) -> None:
    self._read_at = now
    self.cursors.move(reader, cursor)
    self._release()
    self._bound()


def read_in_general(
    log: Log, after: int, *, through: int, bytes_max: int, pieces_max: int = 1 << 30, known: Any = None
):
    return log._read_on(after, through, bytes_max, pieces_max, known)


@settings(max_examples=scaled(40))
@given(st.integers(0, 2**32))
def test_the_short_ways_lead_where_the_general_ones_do(seed):
    short = World(seed)
    for _ in range(60):
        short.step()
    with (
        mock.patch.object(Log, "read", read_in_general),
        mock.patch.object(Subscription, "has_news", property(has_news)),
        mock.patch.multiple(Session, feed=feed_in_general, consume=consume_in_general),
    ):
        # An acknowledgement that is no list is looked at in every part.
        general = World(seed, acknowledgement=tuple)
        for _ in range(60):
            general.step()
    assert short.ends_as() == general.ends_as()


PIECES = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 0, 1]),
        st.one_of(st.text(max_size=8), st.none()),
        st.sampled_from([None, None, None, {"tool_name": "f"}]),
    ),
    min_size=1,
    max_size=30,
)


@given(PIECES, st.data())
def test_who_follows_reads_what_it_would_read_in_general(pieces, data):
    heads = [Head("assistant_message", {"id": f"message-{n}"}) for n in range(2)]
    log = Log()
    for head, body, extra in pieces:
        log.append([MessagePiece(heads[head], body, extra)])
    log.release(data.draw(st.integers(0, len(pieces))))
    log.drop(data.draw(st.integers(0, 3000)), through=data.draw(st.integers(0, len(pieces))))
    known = data.draw(st.sampled_from([None, *heads]))
    for after in range(len(pieces) + 1):
        through = data.draw(st.sampled_from([log.last_seq, log.last_seq, max(after, log.last_seq - 1)]))
        bytes_max, pieces_max = data.draw(st.integers(1, 600)), data.draw(st.sampled_from([1, 2, 1 << 30]))
        found = log.read(after, through=through, bytes_max=bytes_max, pieces_max=pieces_max, known=known)
        assert found == log._read_on(after, through, bytes_max, pieces_max, known)
