"""Posted calls follow each other without being waited for; what was not heard of is made again, all of it, in order."""

from __future__ import annotations

import asyncio

import pytest

from actors.transport import late_answers, posting
from actors.transport.late_answers import LateAnswers
from actors.transport.posting import NOT_TAKEN, POSTS_MAX, Posting

ANSWER = b"answer"


class FakeConnection:
    """Notes what is asked, under numbers; `is_gone`: nothing can be asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.is_gone = False

    def ask(self, method, arguments, _asker):
        if self.is_gone:
            raise ConnectionError
        self.asked.append((method, *arguments))
        return len(self.asked)


class Posts:
    """Posting, with what it says."""

    def __init__(self) -> None:
        self.connection = FakeConnection()
        self.heard: list[tuple[object, object]] = []
        self.failures = 0
        self.posting: Posting[str] = Posting(lambda what, answer: self.heard.append((what, answer)), self._failed)

    def _failed(self) -> None:
        self.failures += 1

    def post(self, what, *, size_bytes=10, at_once=False):
        return self.posting.post(self.connection, what, size_bytes, (what,), at_once=at_once)


@pytest.fixture
async def posts():
    made = Posts()
    yield made
    made.posting.close()


async def test_one_answer_says_of_all_before_it_that_they_came(posts):
    for what in "abc":
        assert posts.post(what) is None
    posts.posting.last(2, ANSWER)
    assert posts.heard == [("a", None), ("b", ANSWER)]
    posts.posting.failed(ConnectionError())
    assert posts.posting.take_failed() == ["c"]
    assert not posts.posting.has_failed


async def test_what_asks_for_an_answer_is_followed_by_nothing_until_that_has_come(posts):
    posts.post("a")
    answered = posts.post("b", at_once=True)
    assert [asked[-1] for asked in posts.connection.asked] == [False, True]
    posts.posting.last(1, ANSWER)
    assert not answered.done()
    posts.posting.last(2, ANSWER)
    assert answered.done()


async def test_only_so_much_goes_without_being_waited_for(posts):
    assert not posts.posting.has_room(posting.POSTED_BYTES_MAX + 1)
    posts.post("a", size_bytes=posting.POSTED_BYTES_MAX)
    assert not posts.posting.has_room(1)
    posts.posting.last(1, ANSWER)
    for _ in range(POSTS_MAX):
        assert posts.posting.has_room(1)
        posts.post("b")
    assert not posts.posting.has_room(1)


@pytest.mark.parametrize("how", ["broken", "gone", "not taken"])
async def test_what_was_not_heard_of_is_made_again_in_order(posts, how):
    posts.post("a")
    posts.post("b")
    answered = posts.post("c", at_once=True)
    if how == "broken":
        posts.posting.failed(ConnectionError())
    elif how == "gone":
        posts.connection.is_gone = True
        assert posts.post("d") is None
    else:
        posts.posting.last(3, NOT_TAKEN)
    assert answered.done()
    assert posts.failures == 1
    assert posts.posting.take_failed() == ["a", "b", "c", *("d" if how == "gone" else "")]
    posts.posting.last(3, ANSWER)  # which comes late, and is of nothing that is out
    assert posts.heard == []


async def test_silence_is_an_unknown_outcome(posts, monkeypatch):
    monkeypatch.setattr(posting, "SILENCE_S", 0.02)
    posts.post("a")
    await asyncio.sleep(0)
    posts.post("b")
    async with asyncio.timeout(10.0):
        while not posts.failures:  # noqa: ASYNC110  # a timer of the event loop tells nobody
            await asyncio.sleep(0.005)
    assert posts.posting.take_failed() == ["a", "b"]


async def test_nothing_is_made_again_once_it_is_closed(posts):
    posts.post("a")
    posts.posting.close()
    posts.posting.failed(ConnectionError())
    assert not posts.posting.has_failed
    assert posts.failures == 0


async def test_an_answer_that_nobody_waits_for_goes_with_what_comes_later(monkeypatch):
    given: list[str] = []
    late = LateAnswers()
    late.owe("x", lambda: given.append("first"))
    monkeypatch.setattr(late_answers, "LATE_S", 0.0)
    late.owe("x", lambda: given.append("second"))
    assert given == ["second"]
    late.owe("x", lambda: given.append("third"))
    late.given("x")
    late.owe("x", lambda: given.append("fourth"))
    late.given("x")
    assert given == ["second"]


async def test_an_answer_goes_alone_where_nothing_comes(monkeypatch):
    for name in ("LATE_S", "RING_S"):
        monkeypatch.setattr(late_answers, name, 0.005)
    has_given = asyncio.Event()
    LateAnswers().owe("x", has_given.set)
    await asyncio.wait_for(has_given.wait(), 10.0)
