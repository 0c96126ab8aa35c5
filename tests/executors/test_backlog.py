"""What waits keeps its order, and nothing is in it twice, whatever is taken and given back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.executors.backlog import Backlog
from weft.executors.functions import Common
from weft.executors.tasks import LocalFuture, Sweep
from weft.executors.terms import Terms

TERMS = Terms(1, 0, 0, None, None)


def tasks(count, seconds=0.00001):
    function = Common(1, 0, b"function", [])
    function.seconds = seconds
    return [LocalFuture(None, function, function, b"", (), TERMS) for _ in range(count)]


def sweep(count, seconds=0.00001):
    function = Common(1, 0, b"function", [])
    function.seconds = seconds
    return Sweep(function, function, list(range(count)), True, TERMS)


def emptied(backlog):
    return list(iter(lambda: backlog.cut_singles(TERMS, 1).tasks[0] if backlog.head() else None, None))


def test_what_is_given_back_in_two_steps_is_there_once_and_in_order():
    backlog, many = Backlog(), tasks(6)
    for task in many:
        backlog.append(task)
    part = backlog.cut_singles(TERMS, 5)
    assert backlog.put_back(part, 3) == 2
    assert backlog.put_back(part, 1) == 2
    assert (backlog.put_back(part, 1), part.size, backlog.count()) == (0, 1, 5)
    assert emptied(backlog) == many[1:]


@given(st.integers(1, 12), st.lists(st.integers(0, 12)))
def test_singles_that_are_given_back_little_by_little_keep_their_order(most, indexes):
    backlog, many = Backlog(), tasks(10)
    for task in many:
        backlog.append(task)
    part = backlog.cut_singles(TERMS, most)
    for index in indexes:
        backlog.put_back(part, index)
    assert part.size == min([part.size, *indexes])
    assert part.tasks[: part.size] + emptied(backlog) == many


@given(st.integers(1, 12), st.lists(st.integers(0, 12)))
def test_calls_of_a_map_that_are_given_back_keep_their_order(most, indexes):
    backlog, calls = Backlog(), sweep(10)
    backlog.add(calls, 10)
    part = backlog.cut_span(calls, most, 100)
    for index in indexes:
        backlog.put_back(part, index)
    left = [number for start, stop, _ in calls.spans for number in range(start, stop)]
    assert list(range(part.size)) + left == list(range(10))
    assert backlog.count() == len(left) or not left


@pytest.mark.parametrize("queued", [True, False])
def test_a_map_that_is_stopped_counts_no_more(queued):
    backlog, calls, [task] = Backlog(), sweep(10), tasks(1)
    if queued:
        backlog.add(calls, 10)
    backlog.append(task)
    backlog.stop(calls)
    assert backlog.head() is task
    assert backlog.count() == 1


def test_the_cancelled_are_passed_over():
    backlog, many = Backlog(), tasks(4)
    for task in many:
        backlog.append(task)
    for task in many[:3]:
        task._decide()
    assert emptied(backlog) == many[3:]
    assert backlog.count() == 0
