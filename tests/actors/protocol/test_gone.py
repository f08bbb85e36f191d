"""What is remembered of requests that were forgotten: which of those under one ID it was."""

from __future__ import annotations

from actors.protocol.gone import Gone


def test_of_one_request_the_latest_epoch_counts_and_of_an_id_the_latest_request():
    gone = Gone(10)
    gone.add("req", 3, 7)
    gone.add("req", 2, 7)
    assert [gone.has("req", epoch, 7) for epoch in (2, 3, 4)] == [True, True, False]
    gone.add("req", 1, 9)
    gone.add("req", 5, 7)
    assert [gone.has("req", epoch, 9) for epoch in (1, 2)] == [True, False]
    assert gone.has("req", 6, 7), "it was of an earlier life"
    assert not gone.has("req", 1, 11), "it is of a later one"
    assert list(gone) == [("req", (9, 1, None))]


def test_of_more_than_are_remembered_the_first_are_dropped():
    gone = Gone(2)
    for number, request_id in enumerate(("first", "second", "third"), 1):
        gone.add(request_id, 1, number)
    assert [gone.has(request_id, 1, 0) for request_id in ("first", "second", "third")] == [False, True, True]
