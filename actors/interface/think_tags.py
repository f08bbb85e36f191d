"""Reasoning that a model writes into its content, between `<think>` and `</think>` (`split_think_tags`).

Theory. Content is text until an opening tag, reasoning until its closing tag, then text again. What may yet be a tag
at the end of a piece is held until the next piece tells, so the cut changes nothing. White space behind a tag goes
with it: models put a line or two there. A tag that never closes: its reasoning is all that follows.
"""

from __future__ import annotations

from actors.deltas import Delta, Finish, Reasoning, Text, ToolCallPiece

_TAGS = ("<think>", "</think>")
_KEPT_CHOICES_MAX = 128


class _Split:
    __slots__ = ("held", "is_behind_tag", "is_reasoning")

    def __init__(self) -> None:
        self.held = ""
        self.is_reasoning = False
        self.is_behind_tag = False

    def feed(self, text: str, choice: int, out: list[Delta]) -> None:
        text, self.held = self.held + text, ""
        while text:
            if self.is_behind_tag:
                text = text.lstrip()
                self.is_behind_tag = not text
            tag = _TAGS[self.is_reasoning]
            before, found, after = text.partition(tag)
            if not found:
                size = next((size for size in range(len(tag) - 1, 0, -1) if text.endswith(tag[:size])), 0)
                before, self.held = text[: len(text) - size], text[len(text) - size :]
            self.show(before, choice, out)
            if found:
                self.is_reasoning = not self.is_reasoning
                self.is_behind_tag = True
            text = after

    def show(self, text: str, choice: int, out: list[Delta]) -> None:
        if text:
            out.append(Reasoning(text, choice) if self.is_reasoning else Text(text, choice))

    def rest(self, choice: int, out: list[Delta]) -> None:
        held, self.held = self.held, ""
        self.show(held, choice, out)


class ThinkTags:
    """Splits the content of one request's deltas, each choice by itself."""

    __slots__ = ("_splits",)

    def __init__(self) -> None:
        self._splits: dict[int, _Split] = {}

    def split(self, deltas: list[Delta]) -> list[Delta]:
        """Return the deltas with what stands between the tags as reasoning."""
        out: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, Text):
                if delta.choice not in self._splits and len(self._splits) == _KEPT_CHOICES_MAX:
                    out.append(delta)
                    continue
                self._splits.setdefault(delta.choice, _Split()).feed(delta.text, delta.choice, out)
                continue
            if isinstance(delta, Finish | ToolCallPiece) and delta.choice in self._splits:
                self._splits[delta.choice].rest(delta.choice, out)
            out.append(delta)
        return out

    def rest(self) -> list[Delta]:
        """Return (once) what was held; the next response begins with text."""
        out: list[Delta] = []
        for choice, split in self._splits.items():
            split.rest(choice, out)
        self._splits = {}
        return out
