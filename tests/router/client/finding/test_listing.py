"""A listing of several routers has each request once, in the order of creation, wherever its pages end."""

from __future__ import annotations

import asyncio

import pytest
from client_fakes import FakeRouter, door
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import InvalidArgument
from actors.protocol.finding import NUMBER_MAX, ListAnswer, ListCall, Row
from router.client.finding.listing import ListCursor, listing


class OneRouter:
    """Lists its numbers in pages of any size, looking at some that do not fit on the way."""

    def __init__(self, numbers: list[int], page: int, skipped: set[int]) -> None:
        self.numbers = numbers
        self._page = page
        self._skipped = skipped

    async def __call__(self, call: ListCall) -> ListAnswer:
        await asyncio.sleep(0)
        left = sorted(
            (n for n in self.numbers if (n < call.after if call.newest_first else n > call.after)),
            reverse=call.newest_first,
        )
        looked_at = left[: min(self._page, call.limit)]
        rows = [
            list(Row(f"r{n}", n, "open", "host", None, b"", 0, None, None)) for n in looked_at if n not in self._skipped
        ]
        return ListAnswer(rows, looked_at[-1] if looked_at else call.after, len(looked_at) == len(left))


NUMBERS = st.lists(st.integers(1, 60), unique=True, max_size=25)


@given(
    st.lists(st.tuples(NUMBERS, st.integers(1, 5)), min_size=1, max_size=3),
    st.sets(st.integers(1, 60)),
    st.integers(1, 7),
    st.booleans(),
)
def test_each_request_once_and_in_order(routers, skipped, limit, newest_first):
    used: set[int] = set()
    asks = []
    for numbers, page in routers:
        asks.append(OneRouter([n for n in numbers if n not in used], page, skipped))
        used.update(numbers)

    async def all_pages() -> list[int]:
        found: list[int] = []
        cursor = ListCursor.at_the_beginning(len(asks), newest_first=newest_first)
        wanted = ListCall("", None, [], None, 0, 0, limit, newest_first)
        while True:
            page = await listing(asks, wanted, cursor)
            found += [int(request.request_id[1:]) for request in page]
            cursor = ListCursor.of_text(page.cursor)
            if not page.has_more:
                return found

    assert asyncio.run(all_pages()) == sorted(used - skipped, reverse=newest_first)


async def test_a_listing_goes_on_with_what_has_appeared_since():
    router = OneRouter([1, 2], 10, set())
    wanted = ListCall("", None, [], None, 0, 0, 10, newest_first=False)
    first = await listing([router], wanted, ListCursor.at_the_beginning(1, newest_first=False))
    assert (len(first), first.has_more) == (2, False)
    router.numbers.append(9)
    second = await listing([router], wanted, ListCursor.of_text(first.cursor))
    assert [request.request_id for request in second] == ["r9"]
    assert second[0].created_at.year == 1970


@pytest.mark.parametrize("text", ["", "x", ">", ">1,", "<1;2", "1,2", 7, None, "> 1"])
def test_what_is_no_cursor_is_refused(text):
    with pytest.raises(ValueError, match="cursor"):
        ListCursor.of_text(text)


@pytest.mark.parametrize("cursor", [ListCursor(True, (5, NUMBER_MAX)), ListCursor(False, (0,))])
def test_a_cursor_is_text_and_back(cursor):
    assert ListCursor.of_text(cursor.text()) == cursor


@pytest.mark.parametrize("after", [">1,2", "<1"])
async def test_a_cursor_of_another_listing_is_refused(after):
    client = door(FakeRouter())
    with pytest.raises(InvalidArgument, match="same service in the same order"):
        await client.list(after=after)
    await client.close()
