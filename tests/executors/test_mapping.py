"""`weft.map`: any executor, results in order or as they come."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import weft
from weft.errors import ArgumentError


def square(x):
    return x * x


def test_results_come_in_order():
    with ThreadPoolExecutor(4) as ex:
        assert list(weft.map(ex, square, range(50))) == [x * x for x in range(50)]


def test_results_come_as_they_are_there():
    gate = threading.Event()

    def wait_for(x):
        if x == 0:
            gate.wait()
        return x

    with ThreadPoolExecutor(2) as ex:
        results = weft.map(ex, wait_for, range(5), ordered=False)
        first = [next(results) for _ in range(4)]
        gate.set()
        assert (sorted(first), list(results)) == ([1, 2, 3, 4], [0])


def test_nothing_happens_before_the_first_is_asked_for():
    asked = []
    with ThreadPoolExecutor(1) as ex:
        results = weft.map(ex, asked.append, [1])
        assert asked == []
        assert (list(results), asked) == ([None], [1])


def test_an_executor_that_was_given_stays_open_and_one_that_was_made_does_not():
    made = []

    def make():
        made.append(ThreadPoolExecutor(1))
        return made[0]

    assert list(weft.map(make, square, [3])) == [9]
    with pytest.raises(RuntimeError):
        made[0].submit(square, 3)
    with ThreadPoolExecutor(1) as ex:
        list(weft.map(ex, square, [3]))
        assert ex.submit(square, 4).result() == 16


@pytest.mark.parametrize("ordered", [True, False])
def test_who_stops_early_cancels_what_has_not_begun(ordered):
    gate, begun = threading.Event(), []

    def act(x):
        begun.append(x)
        if x:
            gate.wait()
        return x

    with ThreadPoolExecutor(1) as ex:
        results = weft.map(ex, act, range(10), ordered)
        assert next(results) == 0
        results.close()
        gate.set()
    assert len(begun) <= 2


def test_a_failure_is_raised_where_its_result_would_come():
    with ThreadPoolExecutor(1) as ex:
        results = weft.map(ex, lambda x: 1 // x, [1, 0, 1])
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_what_is_no_executor_is_refused_before_anything_is_asked_for():
    with pytest.raises(ArgumentError, match="needs an executor"):
        weft.map(3, square, [1])
