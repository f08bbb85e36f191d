"""What is to be said to a stream actor: numbers, what is settled, what is said again."""

from __future__ import annotations

from actors.protocol.reads import Operation
from router.client.reading.operations import Operations


def subscribe(operations: Operations, number: int) -> None:
    operations.subscribe(number, f"req-{number}", 0, 1, is_moving=False)


def test_operations_are_numbered_from_one_and_settled_in_any_order():
    operations = Operations()
    assert operations.settled == 1
    subscribe(operations, 7)
    subscribe(operations, 8)
    first, second = operations.take()
    assert (first[0], second[0]) == (1, 2)
    operations.settle([second])
    assert operations.settled == 1, "the first may yet come late"
    operations.settle([first])
    assert operations.settled == 3


def test_what_may_not_have_come_is_said_again_before_all_else():
    operations = Operations()
    subscribe(operations, 1)
    said = operations.take()
    operations.drop(1)
    operations.put_back(said)
    assert [operation[1] for operation in operations.take()] == [Operation.SUBSCRIBE, Operation.DROP]


def test_of_the_cursors_only_the_newest_is_said_and_none_of_a_dropped_subscription():
    operations = Operations()
    operations.cursors[1] = 5
    operations.cursors[1] = 9
    operations.cursors[2] = 4
    operations.drop(2)
    assert [tuple(operation) for operation in operations.take()] == [
        (1, Operation.DROP, 2),
        (0, Operation.CONSUMED, 1, 9),
    ]
    assert not operations


def test_cursors_alone_can_wait_for_the_next_call():
    operations = Operations()
    operations.cursors[1] = 5
    assert operations
    assert not operations.has_waiting
