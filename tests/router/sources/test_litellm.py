"""LiteLLM's streams: the real package, over HTTP, where somebody has installed it."""

from __future__ import annotations

import os
import warnings

import pytest
from pumped import expected, pumped
from scripts import FIRST, MODEL, answers

from actors.recording_format import read_recording

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the network when it is imported
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    litellm = pytest.importorskip("litellm", reason="litellm is not installed; no extra does, for it is 200 MB")

pytestmark = pytest.mark.filterwarnings("ignore")


def asked(url: str, **more):
    return litellm.acompletion(
        model=f"openai/{MODEL}", api_base=f"{url}/v1", api_key="none", messages=[{"role": "user", "content": "?"}],
        stream=True, stream_options={"include_usage": True}, max_retries=0, **more,
    )  # fmt: skip


async def test_its_chunks_are_told_as_the_providers_own():
    async with answers(FIRST) as url:
        got = await pumped(asked(url))
    right = expected(read_recording(FIRST))
    assert got.content == right.content
    assert got.stop == right.stop
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [got.usage[key] for key in counts] == [right.usage[key] for key in counts]
    assert not got.described["unknown"]


async def test_its_error_is_raised_as_it_is():
    async with answers(FIRST, error_after=4) as url:
        with pytest.raises(Exception, match="scripted"):
            await pumped(asked(url))
