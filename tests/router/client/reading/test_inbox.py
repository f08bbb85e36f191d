"""Where one reader of one request stands, while it rests too."""

from __future__ import annotations

import pytest

from router.client.reading.inbox import Cursor

DATE = "2025-05-05T08:44:56+00:00"
USUAL = {"message_type": "assistant_message", "id": "m", "date": DATE, "name": None, "otid": "o", "sender_id": None}


@pytest.mark.parametrize(
    "fields",
    [
        {**USUAL, "run_id": "req"},
        {**USUAL, "run_id": "another"},
        {**USUAL, "run_id": None},
        {**USUAL, "run_id": "req", "step_id": "step"},
        {"run_id": "req", **USUAL},
        USUAL,
    ],
)
def test_what_goes_on_with_a_message_has_its_fields_also_where_the_reader_has_rested_between(fields):
    cursor = Cursor(0, "req")
    assert cursor.take([[1, dict(fields), ["a"]]], None) == [(1, fields, ["a"])]
    for seq_id, rests in ((2, 1), (3, 2), (4, 0)):
        for _ in range(rests):
            cursor.rest()
        ((first, known, pieces),) = cursor.take([[seq_id, None, ["b"]]], None)
        assert (first, [*known.items()], pieces) == (seq_id, [*fields.items()], ["b"])


def test_who_has_read_nothing_rests_too():
    cursor = Cursor(0, "req")
    cursor.rest()
    assert not cursor.has_begun
