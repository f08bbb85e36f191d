"""One request of a scenario: its programs, what they saw, and whether that is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.errors import RouterClosed

from .features import Feature
from .forgetting import ForgetProgram
from .others import CancelProgram
from .program import OBSERVER
from .publishing import PublishProgram, RivalProgram
from .reading import Reading, ReadProgram
from .scenario import RequestPlan
from .tenants import names_in
from .truth import Message, Truth
from .watch import LOOK_S

if TYPE_CHECKING:
    from .world import World

SHORT_TIMER_S = 10.0
NATURAL_ENDS = ("end_turn", "tool_call", "incomplete")
# A router, or a process that is stopped or cut off for so long, may be given up by the others.
GIVEN_UP_S = 3.0
# A publisher that is well hears within so long that its request has ended.
HEARS_S = 5.0


class Request:
    """One request of the scenario: its programs, what they saw, and whether that is right."""

    def __init__(self, world: World, plan: RequestPlan) -> None:
        self.world = world
        self.plan = plan
        self.items = [op for op in plan.ops if op[0] != "sleep"]
        self.publishers: list[PublishProgram] = []
        self.readings: list[Reading] = []
        self.cancel_is_asked = False
        self.was_taken_over = False
        self.must_be_cancelled = False
        self.opened: list[str] = []

    def begin(self) -> None:
        world, plan = self.world, self.plan
        self.publishers.append(PublishProgram(self, takes_over=False))
        world.start(self.publishers[0], plan.process)
        if plan.successor is not None and plan.successor != plan.process:
            self.publishers.append(PublishProgram(self, takes_over=True))
            world.start(self.publishers[1], plan.successor)
        if plan.rival is not None:
            self.publishers.append(RivalProgram(self, plan.rival.at_s))
            world.start(self.publishers[-1], plan.rival.process)
        for number, reader in enumerate(plan.readers):
            reading = Reading(f"{plan.request_id} reader {number}", reader)
            self.readings.append(reading)
            world.start(ReadProgram(self, reading), OBSERVER if reader.is_late else reader.process)
        if plan.cancel_s is not None:
            world.start(CancelProgram(self), OBSERVER)
        if plan.forget_s is not None:
            world.start(ForgetProgram(self), OBSERVER)

    @property
    def is_published(self) -> bool:
        """Whether nobody will publish to it any more."""
        return all(program.is_done for program in self.publishers)

    @property
    def is_read(self) -> bool:
        """Whether nobody will publish or read it any more."""
        return all(p.is_done for p in self.world.programs if getattr(p, "request", None) is self and not p.is_beside)

    # --- what must hold ---------------------------------------------------------------------------

    def check(self) -> None:
        ends: dict[str, list[str]] = {}
        known: dict[int, Message] = {}
        truth = Truth(self.plan.request_id, self.plan.settings, self.items)
        for reading in self.readings:
            for problem in reading.problems:
                self._fail(reading, problem)
            if reading.ended:
                self._check_whole(reading, truth)
                if reading.stop_reason is not None or not reading.reopened:
                    ends.setdefault(reading.stop_reason or "none", []).append(reading.name)
            else:
                self._check_part(reading, truth)
            if reading.stop_reason == "lost" or (reading.stop_reason == "error" and self.may_be_unreadable):
                continue  # it ended before what others had seen of a session that died, for nobody could send it again
            for message in reading.messages:
                seq_id = message["seq_id"]
                if known.setdefault(seq_id, message) != message and not self.may_end_twice():
                    self._fail(reading, f"message {seq_id} is {message}, another reader has {known[seq_id]}")
        if len(ends) > 1 and not self.may_end_twice():
            self.world.fail(f"{self.plan.request_id} ended in different ways: {ends}")
        for program in self.publishers:
            if (
                program.stop_reason is not None
                and ends
                and program.stop_reason not in ends
                and not self.may_end_twice()
            ):
                self.world.fail(f"{program.name} saw the end {program.stop_reason}, readers {ends}")
            if program.stop_reason is not None and program.error is None and program.finished:
                for reading in self.readings:
                    is_excused = self.may_be_gone() or (self.world.faults.router_downs and self._publisher_trouble())
                    if isinstance(reading.error, RouterClosed):
                        continue
                    if not reading.ended and reading.error is not None and not is_excused:
                        self._fail(reading, f"its publisher has finished it, but: {reading.error!r}")
        if len(self.opened) > 1 and not self.may_be_gone() and not self.world.scenario.is_harsh:
            self.world.fail(f"{self.plan.request_id}: two publishers were let in: {self.opened}")
        for reason in ends:
            excuse = self._why_not(reason)
            if excuse is not None:
                self.world.fail(f"{self.plan.request_id} ended as {reason}, but {excuse}")

    def _fail(self, reading: Reading, text: str) -> None:
        self.world.fail(f"{reading.name}: {text}")

    def _came_back_to_nothing(self) -> bool:
        """Whether its request has ended and was forgotten before its publisher, or another one, could hear of that.

        It then opens the request anew, and a reader that is still there reads two.
        """
        asked_at = self.world.watch.forgotten.asked_at.get(self.plan.request_id)
        if asked_at is not None and any(p.has_opened and p.opened_at_s >= asked_at for p in self.publishers):
            return True
        sealed_at = self.world.watch.sealed_seen_at.get(self.plan.request_id)
        if sealed_at is None:
            return False
        forgotten_at = sealed_at + self.plan.settings.sealed_ttl_s
        # Who waits for its agent meanwhile asks for the request itself only then.
        is_anew = any(p.has_opened and p.opened_at_s >= forgotten_at - LOOK_S for p in self.publishers)
        return is_anew or any(
            began_at <= sealed_at + HEARS_S and forgotten_at - HEARS_S <= began_at + seconds
            for number in {program.number for program in self.publishers}
            for began_at, kind, seconds in self.world.faults.process_troubles.get(number, ())
            if kind in ("stop_process", "cut")
        )

    def _check_whole(self, reading: Reading, truth: Truth) -> None:
        messages = reading.messages
        if self._came_back_to_nothing():
            if not self._is_among(messages, self._cut_off(reading.stop_reason, reading.cursor, truth)):
                self._check_equal(reading, messages, truth.messages)
            return
        terminals = [m for m in messages if m["message_type"] == "stop_reason"]
        if not terminals and reading.reopened and (self.may_end_twice() or self.may_be_unreadable):
            return  # resumed at the very place where, for nobody could send it again, the request has ended anew
        if len(terminals) != 1:
            self._fail(reading, f"{len(terminals)} terminals")
            return
        if [m["message_type"] for m in messages[-2:]] != ["stop_reason", "usage_statistics"]:
            self._fail(reading, f"does not end with stop reason and usage: {[m['message_type'] for m in messages]}")
        # Whoever comes back behind the stop reason has had it, and is not told again.
        was_told = reading.stop_reason is not None or not reading.reopened
        if was_told and terminals[0]["stop_reason"] != reading.stop_reason:
            self._fail(reading, f"batch said {reading.stop_reason}, message {terminals[0]['stop_reason']}")
        reason = reading.stop_reason
        if (
            reason == "lost"
            or (reason == "cancelled" and self.may_end_twice())
            or (reason == "error" and self.may_be_unreadable)
        ):
            # Ended where its survivors believed that it stood; what was read is right all the same, and so is what
            # had been held back until then.
            if not self._is_among(messages, self._cut_off(reason, messages[-1]["seq_id"], truth)):
                self._check_equal(reading, messages[:-2], truth.messages)
            return
        if (reason in ("cancelled", "publisher_lost") or str(reason).startswith("timeout")) and messages[0][
            "id"
        ] == f"end-{self.plan.request_id}":
            if [m["seq_id"] for m in messages] != [1, 2]:
                self._fail(reading, f"ended without a session, but with messages: {messages}")
            return
        candidates = self._candidates(reason, messages[-1]["seq_id"], truth)
        if not self._is_among(messages, candidates):
            wanted = [_without_words(m) for m in messages]
            best = [_without_words(m) for m in candidates[0]] if candidates else None
            self._fail(reading, f"wrong messages for {reason}: {_difference(wanted, best)}")

    @staticmethod
    def _is_among(messages: list[Message], candidates: list[list[Message]]) -> bool:
        """Whether messages are those of a candidate, or its last ones."""
        wanted = [_without_words(m) for m in messages]
        for candidate in candidates:
            by_seq = {m["seq_id"]: _without_words(m) for m in candidate}
            if all(by_seq.get(m["seq_id"]) == m for m in wanted) and len(candidate) == messages[-1]["seq_id"]:
                return True
        return False

    def _candidates(self, reason: str | None, last_seq: int, truth: Truth) -> list[list[Message]]:
        outside = reason == "cancelled" or reason == "publisher_lost" or str(reason).startswith("timeout")
        if not outside:
            found = [truth.whole(count, None) for count in truth.last_items()]
            if reason == "error" and self.plan.settings.when_full == "fail":
                found += [truth.whole(count, "error", ("buffer_full", "")) for count in range(len(truth.items) + 1)]
            return found
        return self._cut_off(reason, last_seq, truth)

    @staticmethod
    def _cut_off(reason: str | None, last_seq: int, truth: Truth) -> list[list[Message]]:
        # Between the last visible item and the terminal's two there may be what was held back.
        counts = [n for n, length in enumerate(truth.after_item) if length + 2 <= last_seq <= length + 12]
        # What could not be sent is said in a message of its own.
        error = ("limit_exceeded", "") if reason == "error" else None
        return [truth.whole(count, reason, error) for count in counts]

    def _check_part(self, reading: Reading, truth: Truth) -> None:
        if any(m["message_type"] == "stop_reason" for m in reading.messages) and reading.error is None:
            return  # killed between the terminal and the end: compared with the others
        self._check_equal(reading, reading.messages, truth.messages)

    def _check_equal(self, reading: Reading, messages: list[Message], right: list[Message]) -> None:
        for message in messages:
            seq_id = message["seq_id"]
            if seq_id > len(right) or right[seq_id - 1] != message:
                expected = right[seq_id - 1] if seq_id <= len(right) else None
                if message["message_type"] in ("stop_reason", "usage_statistics", "error_message"):
                    continue  # of an end that cut it off: compared with the other readers
                self._fail(reading, f"message {seq_id} is {message}, right is {expected}")
                return

    # --- excuses ----------------------------------------------------------------------------------

    def _publisher_trouble(self) -> bool:
        troubles = self.world.faults.process_troubles
        return self.world.scenario.is_harsh or any(
            seconds >= GIVEN_UP_S for program in self.publishers for _, _, seconds in troubles.get(program.number, ())
        )

    def _why_not(self, reason: str) -> str | None:
        """Return what is wrong with this end; None where the scenario explains it."""
        plan, world = self.plan, self.world
        may_be_unheard = self.may_end_twice() or world.scenario.is_harsh
        # A cancel that a hanging actor has not taken comes, on the next one, behind all that was sent until then.
        may_be_unheard |= names_in(world.scenario).full(plan.request_id) in world.faults.given_up_as_hung
        if self.must_be_cancelled and reason in NATURAL_ENDS and not may_be_unheard:
            return "it was cancelled before its publisher had finished"
        if reason == "cancelled":
            if not self.cancel_is_asked and plan.agent_id is None:
                return "nobody cancelled it"
        elif reason.startswith("timeout"):
            timer = {
                "timeout_request": plan.settings.request_timeout_s,
                "timeout_stall": plan.settings.stall_timeout_s,
                "timeout_first_message": plan.settings.first_message_timeout_s,
                "timeout_idle_reader": plan.settings.idle_reader_timeout_s,
            }[reason]
            if timer is None or timer > SHORT_TIMER_S:
                return "that timer was long: somebody was stuck"
        elif reason == "publisher_lost":
            if not (self._publisher_trouble() or self.may_end_twice()):
                return "its publisher was well"
        elif reason == "lost":
            if self.may_be_unreadable:
                return None
            if not (self._publisher_trouble() or self.was_taken_over):
                return "its publisher could have replayed"
            # What only a router had, on its way to an actor, may be lost with it and the publisher.
            if not world.faults.deaths and not world.faults.router_downs:
                return "no stream actor and no router died"
        return None

    def may_be_gone(self) -> bool:
        """Whether nobody need know the request any more: time-to-live, or router and actor dead at once."""
        return self.is_out_of_time() or self._may_be_forgotten()

    def is_out_of_time(self) -> bool:
        """Whether it has ended, and its time-to-live is over."""
        if self.plan.request_id in self.world.watch.forgotten.out_of_time:
            return True
        sealed_at = self.world.watch.sealed_seen_at.get(self.plan.request_id)
        return sealed_at is not None and self.world.loop.now >= sealed_at + self.plan.settings.sealed_ttl_s - 1.0

    def may_end_twice(self) -> bool:
        """Whether it may begin and end anew: what only both knew is lost, or it was forgotten behind its publisher."""
        return self._may_be_forgotten() or self._came_back_to_nothing()

    def _may_be_forgotten(self) -> bool:
        """Whether router and actor were dead at once, and nobody else may know of the request."""
        world = self.world
        sealed_at = world.watch.sealed_seen_at.get(self.plan.request_id)
        if names_in(world.scenario).full(self.plan.request_id) in world.faults.died_with_router:
            return True
        if Feature.DOUBLE_DEATHS not in world.scenario.features:
            return world.faults.have_died_together()
        # One node is one death, and what its publisher still has no number of deaths takes.
        has_heard = any(publisher.stop_reason is not None for publisher in self.publishers)
        has_no_publisher = self.was_taken_over or self._publisher_trouble() or has_heard or sealed_at is not None
        return has_no_publisher and world.faults.have_died_together(apart=True)

    @property
    def may_be_unreadable(self) -> bool:
        """Whether what its publisher had on disk may have been unreadable when it was wanted."""
        unreadable = self.world.faults.unreadable
        return any(f"client-{program.number}" in unreadable for program in self.publishers)


def _without_words(message: Message) -> Message:
    """Return a message without the free text of its end."""
    if message["message_type"] in ("stop_reason", "error_message"):
        return {k: v for k, v in message.items() if k not in ("detail", "message", "error_type")}
    return message


def _difference(found: list[Message], right: list[Message] | None) -> str:
    if right is None:
        return f"no way to end gives {len(found)} messages: {[(m['seq_id'], m['message_type']) for m in found]}"
    by_seq = {m["seq_id"]: m for m in right}
    for message in found:
        if by_seq.get(message["seq_id"]) != message:
            return f"{message} instead of {by_seq.get(message['seq_id'])}"
    return f"{len(found)} messages up to {found[-1]['seq_id']}, right are {len(right)}"
