"""A publisher's claim to its agent: waits until it holds it, and lets go when the request has ended."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Literal

from actors.errors import AgentBusy, RequestCancelled, StreamRouterError, from_wire
from actors.protocol.calls import ClaimAnswer, ClaimCall, FenceCall, ReleaseCall
from actors.protocol.frames import checked, pack, read
from actors.protocol.states import ClaimPhase, ClaimState, Role, State
from router.client.links.caller import fresh

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from router.client.links.link import Link

WhenBusy = Literal["reject", "queue", "interrupt"]


class AgentClaim:
    """One request's claim, at the router actor that the agent's name belongs to."""

    def __init__(
        self,
        link: Link,
        links: Sequence[Link],
        request_id: str,
        agent_id: str,
        when_busy: WhenBusy,
        give_up: Callable[[str], Awaitable[None]],
        caller: tuple[str, ...] = (),
    ) -> None:
        """`caller`: the client ID, where a call that does not say it must."""
        self._caller = caller
        self._link = link
        self._links = links
        self._token = uuid.uuid4().hex
        self.number: int = 0
        self._request_id = request_id
        self._agent_id = agent_id
        self._when_busy = when_busy
        self._give_up = give_up
        self._state = ""
        self._error: StreamRouterError | None = None
        self._changed = asyncio.Event()
        self._is_held = False
        self._is_released = False

    async def hold(self, wait_s: float) -> None:
        """Wait until the request may run. Raises AgentBusy, RequestCancelled (interrupted), RouterUnavailable."""
        if self._is_released:  # it was refused, and is asked for again: under the old token it was let go for good
            self._token, self._state, self._error, self._is_released = uuid.uuid4().hex, "", None, False
        self._link.listen((Role.AGENT, self._request_id), self)
        try:
            await self._claim()
            async with asyncio.timeout(wait_s):
                while self._state != ClaimPhase.HELD:
                    self._raise_if_hopeless()
                    if self._state == ClaimPhase.FENCING:
                        await self._fence()
                        continue
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self.release()
            raise AgentBusy(
                f"agent {self._agent_id!r} was busy for stream_actors.open_timeout_s = {wait_s:g} s"
            ) from None
        except BaseException:
            self.release()
            raise
        self._is_held = True

    def _raise_if_hopeless(self) -> None:
        if self._error is not None:
            raise fresh(self._error)
        if self._state == ClaimPhase.BUSY:
            raise AgentBusy(
                f"agent {self._agent_id!r} has another request under way; wait for its end, or publish with "
                "when_busy='queue' or 'interrupt'"
            )
        if self._state == ClaimPhase.INTERRUPTED:
            raise RequestCancelled(
                f"request {self._request_id!r} was interrupted by a newer one of agent {self._agent_id!r}"
            )

    async def _fence(self) -> None:
        """Tell all routers that the agent goes on to this request, then say so to the agent's own."""
        number = self.number
        fence = pack(FenceCall(self._agent_id, number, self._request_id))
        highest = await asyncio.gather(*(link.ask("fence", fence, *self._caller) for link in self._links))
        await self._claim(max(highest))

    async def _claim(self, fenced_number: int = 0) -> None:
        number = self.number if self._is_held else fenced_number
        claim = ClaimCall(
            self._link.client_id,
            self._request_id,
            self._agent_id,
            self._when_busy,
            self._is_held,
            self._token,
            number,
        )
        error, state = read(ClaimAnswer, await self._link.ask("claim", pack(claim)))
        if error is not None:
            raise from_wire(error[0], error[1])
        self.on_state(checked(ClaimState, state))

    def release(self, *, has_ended: bool = False, error: StreamRouterError | None = None) -> None:
        """Let go of the agent, once. `has_ended`: the request's router has said that it is over.

        `error`: why; whoever still waits for the agent hears it.
        """
        if self._is_released:
            return
        self._is_released = True
        self._error = self._error or error
        self._changed.set()
        self._link.lose_interest((Role.AGENT, self._request_id), self)
        release = ReleaseCall(self._link.client_id, self._request_id, self._token, has_ended)
        self._link.let_go(self._request_id, pack(release))

    # --- as the link's listener -------------------------------------------------------------

    def on_state(self, state: State) -> None:
        """See `StateListener`."""
        if not isinstance(state, ClaimState) or state.phase == ClaimPhase.UNKNOWN:
            return
        if state.phase == ClaimPhase.INTERRUPTED and self._is_held and self._state != ClaimPhase.INTERRUPTED:
            self._link.spawn(self._interrupt())
        self._state = state.phase
        self.number = max(self.number, state.number)
        self._changed.set()

    async def _interrupt(self) -> None:
        await self._give_up(f"interrupted by a newer request of agent {self._agent_id!r}")

    def on_unreachable(self, error: StreamRouterError) -> None:
        """See `StateListener`."""
        self._error = error
        self._changed.set()

    def on_fault(self, error: StreamRouterError) -> None:
        """See `StateListener`."""
        self.on_unreachable(error)

    def on_router_restart(self) -> None:
        """See `StateListener`."""
        self._link.spawn(self._claim_again())

    async def _claim_again(self) -> None:
        try:
            await self._claim()
        except StreamRouterError as error:
            self._error = error
            self._changed.set()
