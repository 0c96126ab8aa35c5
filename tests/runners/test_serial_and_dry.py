import logging
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from hand import done
from runners.zoo import Point, add, describe, fail, move, spread, take, total, wrong_type
from weft import Closure, ConcurrentRunner, DryRunner, SerialRunner, task
from weft.errors import ArgumentError, ClosedError, ResultError, UnknownValueError
from weft.runners import DryCall

ALL = [SerialRunner, DryRunner, ConcurrentRunner, lambda: ConcurrentRunner(schedule=True)]
IDS = ["serial", "dry", "concurrent", "scheduled"]


# What all runners have in common


@pytest.mark.parametrize("make", ALL, ids=IDS)
def test_a_runner_takes_a_closure_or_a_function_with_arguments(make):
    def plain(a: int, b: int = 1) -> int:
        return a + b

    with make() as run:
        results = [run(Closure(add, [0], {"b": 0})), run(add, 0, b=0), run(plain, 0, b=0)]
    values = [r.result() if isinstance(r, Future) else r for r in results]
    assert values == [0, 0, 0]


@pytest.mark.parametrize("make", ALL, ids=IDS)
def test_results_can_be_arguments_of_the_next_call(make):
    with make() as run:
        parts = run(describe, 0)
        result = run(total, [parts["range"][0], run(add, 0, b=0)])
        moved = run(move, Point(parts["mean"]))
    value = result.result() if isinstance(result, Future) else result
    assert value == 0
    assert moved is not None


@pytest.mark.parametrize("make", ALL, ids=IDS)
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run(add), r"^add: missing a required argument: 'a'; it is called as add\(a"),
        (lambda run: run(add, "x"), r"^argument 'a': expected int, got str 'x'"),
        (lambda run: run(total, [1, "x"]), r"^argument 'xs' at \[1\]: expected int, got str 'x'"),
        (lambda run: run(add(1)), r"a function is needed, got 2; name the function without calling it"),
        (lambda run: run(Closure(add, [1]), 2), r"a Closure has its arguments already"),
    ],
)
def test_what_is_wrong_without_any_future_raises_at_the_call(make, call, message):
    with make() as run, pytest.raises(ArgumentError, match=message):
        call(run)


@pytest.mark.parametrize("make", ALL, ids=IDS)
def test_a_call_after_shutdown_is_refused(make):
    with make() as run:
        pass
    with pytest.raises(ClosedError, match=r"Runner has been shut down; make another one"):
        run(add, 1)
    run.shutdown()


@pytest.mark.parametrize("make", ALL, ids=IDS)
def test_an_exception_inside_with_is_not_replaced(make):
    with pytest.raises(KeyError), make() as run:
        raise KeyError
    with pytest.raises(ClosedError):
        run(add, 1)


# Serial


def test_serial_calls_at_once_and_returns_real_values():
    run = SerialRunner()
    assert run(add, 1, b=2) == 3
    assert run(describe, 2)["range"] == [2, 3]
    assert run(lambda x: x, 5) == 5


def test_serial_raises_at_the_call():
    run = SerialRunner()
    with pytest.raises(ValueError, match="no 1"):
        run(fail, 1)
    with pytest.raises(ResultError, match=r"^result of wrong_type: expected int, got str '1'"):
        run(wrong_type, 1)


def test_serial_uses_the_results_of_futures():
    assert SerialRunner()(add, done(1)) == 2


def test_serial_protects_the_arguments_of_the_caller():
    def change(xs: list[int]) -> None:
        xs.append(1)

    xs = []
    SerialRunner()(change, xs)
    assert xs == []


# Dry


def test_dry_never_calls_the_function():
    called = []

    def f(x: int) -> int:
        called.append(x)
        return x

    with DryRunner() as run:
        assert run(f, 1) == 0
    assert called == []


class Pair(NamedTuple):
    left: int
    right: float


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(int, 0), (list[float], []), (dict[str, int], {}), (None, None), (str, ""), (Pair, (0, 0.0)), (Path, Path())],
)
def test_dry_returns_a_typed_stand_in(annotation, value):
    def f():
        pass

    f.__annotations__["return"] = annotation
    assert DryRunner()(f) == value


def test_dry_returns_the_mock_new_each_time():
    run = DryRunner()
    first = run(describe, 1)
    first["range"].append("changed")
    assert run(describe, 1) == {"mean": 0.0, "range": [0, 0], "pair": (0, 0), "nothing": None, "empty": []}


def test_dry_asks_the_mock_with_the_arguments():
    run = DryRunner()
    assert run(spread, 3) == [0, 0, 0]
    assert run(spread, run(add, 1)) == []
    with pytest.raises(UnknownValueError, match="'n'"):
        run(spread, Future())


def test_dry_finds_a_mock_that_is_a_type():
    @task(mock=lambda x: [int])
    def f(x: int) -> list[int]: ...

    with pytest.raises(TypeError, match=r"mock of f at \[0\] is the type int"):
        DryRunner()(f, 1)


def test_a_result_that_nothing_is_known_about_can_be_passed_on_and_not_used():
    def load(name: str):
        return name

    run = DryRunner()
    data = run(load, "a")
    assert run(add, data) == 0  # accepted for an int
    with pytest.raises(UnknownValueError, match=r"result of load is not known in a dry run; write its type"):
        data + 1


def test_dry_counts_what_it_has_checked(caplog):
    with caplog.at_level(logging.INFO, "weft"), DryRunner() as run:
        for i in range(3):
            run(add, i)
        run(describe, 1)
        with pytest.raises(ArgumentError):
            run(add, "x")
    assert run.calls == 4
    assert run.summary() == "dry run: 4 calls checked, 2 kinds: add x 3, describe x 1"
    run.shutdown()
    assert caplog.messages == [run.summary()]


def test_a_dry_run_of_nothing_and_of_many_kinds_is_summed_up_too():
    assert DryRunner().summary() == "dry run: 0 calls checked, 0 kinds: none"
    run = DryRunner()
    for i in range(10):
        run(task(name=f"kind{i}")(lambda: 1))
    assert run.summary().startswith("dry run: 10 calls checked, 10 kinds: kind0 x 1, ")
    assert run.summary().endswith("kind7 x 1, ...")


@task
def load(name: str) -> list[float]: ...


@task
def mean(xs: list[float]) -> float: ...


@task
def save(values: object, name: str = "out") -> Path: ...


def test_dry_hands_out_the_graph_it_saw():
    run = DryRunner()
    data = [run(load, "a"), run(load, "b")]
    means = {"a": run(mean, data[0]), "b": run(mean, data[1])}
    path = run(save, (means["a"], [Point(means["b"])]))
    run(save, path)
    assert run.graph() == [
        DryCall("load", ()),
        DryCall("load", ()),
        DryCall("mean", (0,)),
        DryCall("mean", (1,)),
        DryCall("save", (2, 3)),
        DryCall("save", (4,)),
    ]


@pytest.mark.parametrize(
    "mock",
    [
        0.5,
        10**10,
        "text",
        b"bytes",
        2j,
        [1],
        {"a": 1},
        {1},
        (1, 0.5),
        np.zeros(3),
        Point(1),
        Path("x"),
        bytearray(b"x"),
    ],
    ids=repr,
)
def test_results_are_recognised_by_identity_even_if_equal(mock):
    make = task(mock=mock)(lambda: mock)
    run = DryRunner()
    first, second = run(make), run(make)
    run(take, second)
    run(take, [first])
    assert [call.after for call in run.graph()[2:]] == [(1,), (0,)]


@pytest.mark.parametrize("mock", [0, 256, True, None, "", "x", b"", (), frozenset()], ids=repr)
def test_what_everybody_shares_makes_no_edge(mock):
    make = task(mock=lambda: mock)(lambda: mock)
    run = DryRunner()
    run(make)
    run(take, mock)
    assert run.graph()[1].after == ()


def test_parts_of_tuples_are_recognised():
    make = task(mock=(0.5, [1]))(lambda: (0.5, [1]))
    run = DryRunner()
    number, _ = run(make)
    _, numbers = run(make)
    run(take, number)
    run(take, numbers)
    assert [call.after for call in run.graph()[2:]] == [(0,), (1,)]


def test_a_closure_made_beforehand_is_in_the_graph_too():
    run = DryRunner()
    number = run(mean, run(load, "a"))
    run(Closure(save, [[number]]))
    assert run.graph()[2] == DryCall("save", (1,))


def test_dry_touches_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name: str) -> Path:
        Path(name).write_text("x")
        return Path(name)

    with DryRunner() as run:
        assert isinstance(run(write, "file"), Path)
    assert list(tmp_path.iterdir()) == []


def test_anything_goes_through_a_dry_run(caplog):
    def anything(x: Any) -> Any:
        return x

    assert repr(DryRunner()(anything, 1)) == "<the result of anything, not known yet>"
