"""What becomes of a `StreamRouter` that nobody holds any more, and that was never closed."""

from __future__ import annotations

from actors.errors import RouterClosed
from router.client.links.link import CLOSED, Link
from router.client.publishing.replay_store import ReplayBudget
from router.client.reading.poller import Pollers


def end_unheld(links: list[Link], pollers: Pollers, budget: ReplayBudget) -> None:
    """End what a `StreamRouter` ran that was dropped without `close`, from whatever thread collects garbage."""
    error = RouterClosed(
        "this StreamRouter is no longer held by anybody and was never closed; keep it, in an `async with`, for as long "
        f"as anything of it is used: {CLOSED}"
    )

    def end() -> None:
        for link in links:
            link.end(error)
        pollers.end()
        budget.close()

    loop = next((link.loop for link in links if link.loop is not None), None)
    try:
        if loop is not None:
            loop.call_soon_threadsafe(end)
            return
    except RuntimeError:
        pass  # the loop is closed, and with it all that ran there
    budget.close()
