"""What `StreamRouter.show` shows: requests as they go along, in a terminal or as HTML. Pure.

A window of one request shows what was said last, of several a row each. It is drawn anew from what it knows, so
what a drawing costs is bounded: of each request the last `BLOCKS_MAX` messages are kept, of each the last
`CHARACTERS_MAX` characters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from actors.messages import Message, StopReasonMessage
from actors.stop_reasons import is_failure
from router.client.showing.transcript import key_of, label_of, shown, words_of

BLOCKS_MAX = 60
CHARACTERS_MAX = 20_000
WORDS_CHARACTERS_MAX = 160
_LABEL_STYLES = {"assistant": "bold", "reasoning": "dim italic", "error": "bold red", "tool call": "cyan"}
_CSS = (
    "font-family:ui-monospace,monospace;font-size:13px;white-space:pre-wrap;overflow-wrap:anywhere;"
    "max-height:30em;overflow-y:auto"
)


@dataclass(slots=True)
class Block:
    """One message: who speaks, and the end of what was said."""

    key: tuple[Any, ...]
    label: str
    words: str


@dataclass(slots=True)
class Panel:
    """One request. `state`: waiting, streaming, its stop reason, or why it cannot be read."""

    request_id: str
    state: str = "waiting"
    has_failed: bool = False
    messages: int = 0
    blocks: deque[Block] = field(default_factory=lambda: deque(maxlen=BLOCKS_MAX))

    def take(self, message: Message) -> None:
        """Take a piece."""
        self.messages += 1
        key, words = key_of(message), words_of(message)
        if self.blocks and self.blocks[-1].key == key:
            last = self.blocks[-1]
            last.words = (last.words + words)[-CHARACTERS_MAX:]
        else:
            self.blocks.append(Block(key, label_of(message), words[-CHARACTERS_MAX:]))
        if isinstance(message, StopReasonMessage):
            self.state, self.has_failed = message.stop_reason, is_failure(message.stop_reason)
        elif self.state == "waiting":
            self.state = "streaming"

    def fail(self, why: str) -> None:
        """It cannot be read."""
        self.state, self.has_failed = shown(why), True

    @property
    def last_words(self) -> str:
        """The end of what was said, in one line."""
        said = next((block.words for block in reversed(self.blocks) if block.label in _SPOKEN), "")
        return " ".join(said[-4 * WORDS_CHARACTERS_MAX :].split())[-WORDS_CHARACTERS_MAX:]


_SPOKEN = frozenset({"assistant", "reasoning", "tool call", "tool return", "error"})


class Window:
    """The panels of some requests."""

    def __init__(self, request_ids: Sequence[str]) -> None:
        self.panels: dict[str, Panel] = {request_id: Panel(request_id) for request_id in request_ids}

    def rich(self, height: int) -> RenderableType:
        """Return it for a terminal of so many lines."""
        if len(self.panels) == 1:
            return self._one(next(iter(self.panels.values())), height)
        table = Table("request", "state", "pieces", "last words", expand=True, box=None, header_style="bold")
        for panel in list(self.panels.values())[: max(height - 3, 1)]:
            words = Text(panel.last_words, no_wrap=True, overflow="ellipsis")
            table.add_row(shown(panel.request_id), Text(panel.state, _style(panel)), f"{panel.messages:,}", words)
        hidden = len(self.panels) - table.row_count
        return Group(table, Text(f"... and {hidden} more", "dim")) if hidden else table

    @staticmethod
    def _one(panel: Panel, height: int) -> RenderableType:
        lines = [Text.assemble((f"{block.label:12}", "dim"), (block.words, _LABEL_STYLES.get(block.label, ""))) for
                 block in list(panel.blocks)[-height:]]  # fmt: skip
        head = Text.assemble((shown(panel.request_id), "bold"), "  ", (panel.state, _style(panel)))
        return _Ending(head, Group(*lines), height)

    def html(self) -> str:
        """Return it for a notebook. Everything that was said is escaped."""
        is_open = " open" if len(self.panels) == 1 else ""
        return "".join(
            f"<details{is_open}><summary><b>{escape(shown(panel.request_id))}</b> "
            f'<span style="color:{"#c00" if panel.has_failed else "#080"}">{escape(panel.state)}</span> '
            f"{panel.messages:,} pieces <i>{'' if is_open else escape(panel.last_words)}</i></summary>"
            f'<div style="{_CSS}">{"".join(map(_html_of, panel.blocks))}</div></details>'
            for panel in self.panels.values()
        )


class _Ending:
    """A head, and below it the end of what does not fit into so many lines."""

    def __init__(self, head: Text, body: RenderableType, height: int) -> None:
        self._head, self._body, self._height = head, body, height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._head
        lines = console.render_lines(self._body, options.reset_height(), pad=False)
        for line in lines[-max(self._height - 1, 1) :]:
            yield from line
            yield Segment.line()


def _style(panel: Panel) -> str:
    return "bold red" if panel.has_failed else "green" if panel.state == "streaming" else "blue"


def _html_of(block: Block) -> str:
    return f'<div><span style="color:#888">{escape(block.label)}</span> {escape(block.words)}</div>'
