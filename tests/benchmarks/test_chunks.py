"""Chunks of every size are as large as they say, and give the texts that are expected of them."""

from __future__ import annotations

import pytest

from actors.translator import Translator
from benchmarks.chunks import CHUNK_BYTES, sized, stream_of, text_of
from benchmarks.curves import SIZES
from benchmarks.processes import SETTINGS


@pytest.mark.parametrize("size", SIZES)
def test_a_stream_of_a_size_carries_its_text(size: int):
    chunks = stream_of(40, size)
    assert {len(chunk) for chunk in chunks} == {size}
    translator = Translator(SETTINGS, run_id="r")
    texts = [text for chunk in chunks for _, text, _ in translator.chunk(chunk)]
    assert "".join(texts) == text_of(40, size)


def test_chunks_differ():
    assert len(set(sized(50)[0])) > 5
    assert len(set(sized(CHUNK_BYTES)[0])) > 20


def test_a_size_without_room_is_refused():
    with pytest.raises(ValueError, match="has no room"):
        sized(20)
