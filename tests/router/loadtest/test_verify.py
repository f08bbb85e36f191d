"""The check of what readers got: it passes what is right, and finds every kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.messages import as_dict
from actors.recording_format import read_recording
from actors.settings import StreamSettings
from actors.translator import Translator
from router.loadtest.verify import Assembly, as_body, can_verify, content_faults, expected, faults_of_end
from router.scripted_provider import Recording

Messages = list[dict[str, Any]]


def translated(recording: Recording, settings: StreamSettings, count: int | None = None) -> Messages:
    translator = Translator(settings, run_id="r")
    payloads = read_recording(recording.body)[:count]
    pieces = [piece for payload in payloads for piece in translator.chunk(payload)] + translator.end()
    return [as_dict(piece.head.fields, piece.text, piece.extra, seq_id) for seq_id, piece in enumerate(pieces, 1)]


def assembled(messages: Messages) -> Assembly:
    assembly = Assembly()
    for message in messages:
        assembly.feed(message)
    return assembly


@pytest.mark.parametrize("dialect", ["chat", "letta"])
def test_every_recording_is_right_in_both_dialects(dialect: str, recordings: list[Recording]):
    settings = StreamSettings.load({"dialect": dialect})
    for recording in recordings:
        assembly = assembled(translated(recording, settings))
        assert content_faults(expected(recording.body, recording.api, settings), assembly) == [], recording.name
        assert faults_of_end(assembly, str(assembly.stop_reason), provider_failed=False) == [], recording.name
        assert (assembly.lost, assembly.duplicated, assembly.reordered) == (0, 0, 0)


def test_a_stream_that_breaks_off_is_right_as_far_as_it_went(recordings: list[Recording]):
    settings = StreamSettings.load({"dialect": "chat"})
    for recording in recordings:
        for count in (1, 5, len(recording.events) // 2):
            assembly = assembled(translated(recording, settings, count))
            body = as_body(read_recording(recording.body)[:count])
            assert content_faults(expected(body, recording.api, settings), assembly) == [], (recording.name, count)


def swapped(messages: Messages) -> Messages:
    return [*messages[:4], messages[5], messages[4], *messages[6:]]


def changed(messages: Messages) -> Messages:
    index = next(i for i, message in enumerate(messages) if message["message_type"] == "assistant_message")
    return [*messages[:index], {**messages[index], "content": messages[index]["content"] + "!"}, *messages[index + 1 :]]


@pytest.mark.parametrize(
    ("damage", "figures"),
    [
        (lambda messages: messages[:3] + messages[5:], {"lost": 2}),
        (lambda messages: messages[:5] + messages[3:], {"duplicated": 2}),
        (lambda messages: [*messages, messages[-1]], {"duplicated": 1}),
        (swapped, {"reordered": 1}),
        (changed, {}),
    ],
)
def test_every_damage_is_found(
    damage: Callable[[Messages], Messages], figures: dict[str, int], recordings: list[Recording]
):
    settings = StreamSettings.load({"dialect": "chat"})
    recording = next(recording for recording in recordings if recording.name == "azure-text-3")
    assembly = assembled(damage(translated(recording, settings)))
    wrong = {name: getattr(assembly, name) for name in ("lost", "duplicated", "reordered") if getattr(assembly, name)}
    assert wrong == figures
    faults = content_faults(expected(recording.body, recording.api, settings), assembly)
    assert faults or figures == {"duplicated": 1}, "the last message has no text, all others have"


def test_an_explicit_gap_is_dropped_not_lost(recordings: list[Recording]):
    messages = translated(recordings[0], StreamSettings.load({"dialect": "chat"}))
    assembly = assembled(messages[:2])
    assembly.gap(3, 6)
    for message in messages[6:]:
        assembly.feed(message)
    assert (assembly.dropped, assembly.lost, assembly.duplicated) == (4, 0, 0)


@pytest.mark.parametrize(
    ("stop_reason", "told", "provider_failed", "said"),
    [
        ("end_turn", "end_turn", False, None),
        ("error", "error", True, None),
        ("end_turn", "error", True, "the reader was told end_turn, the publisher error"),
        ("lost", "lost", False, "the provider ended well, but the stop reason is lost"),
        ("incomplete", "incomplete", False, "the stop reason is incomplete"),
        ("end_turn", "end_turn", True, "the provider failed, but the stop reason is end_turn"),
    ],
)
def test_an_end_must_have_its_cause(stop_reason, told, provider_failed, said):
    assembly = Assembly(terminals=1, stop_reason=stop_reason)
    faults = faults_of_end(assembly, told, provider_failed=provider_failed)
    assert faults == [] if said is None else said in "; ".join(faults)


@pytest.mark.parametrize("terminals", [0, 2])
def test_a_stream_ends_exactly_once(terminals: int):
    assert (
        f"{terminals} terminals" in faults_of_end(Assembly(terminals=terminals), "end_turn", provider_failed=False)[0]
    )


def test_settings_that_change_the_text_in_other_ways_are_known():
    assert can_verify(StreamSettings.load({"dialect": "letta"})) is None
    assert can_verify(StreamSettings.load({"dialect": "chat", "choices": "all"})) == "choices: all"
    assert can_verify(StreamSettings.load({"dialect": "letta", "expect_reasoning_content": True})) is not None
