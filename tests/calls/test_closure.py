import pickle
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

import pytest

from calls.samples import add
from hand import cancelled, done
from weft.calls import Closure, MetaFuncBase, MinimalMetaFunc
from weft.errors import ArgumentError, ResultError, UnknownValueError


def f(xs: list[float], n: int = 2, *more: int, flag: bool = False, **rest: int) -> float:
    return sum(xs) * n


@dataclass
class Point:
    x: float


# Arguments


def test_it_snapshots_its_arguments_when_it_is_made():
    xs, rest = [1.0], {"k": 1}
    closure = Closure(f, [xs], rest)
    xs.append(2.0)
    rest["k"] = 5
    assert closure.args == [[1.0]]
    assert closure.kwargs == {"k": 1}
    assert closure.validated_call() == 2.0


def test_the_lists_of_arguments_themselves_are_copied():
    args = [[1.0]]
    closure = Closure(f, args)
    args.append(3)
    assert closure.args == [[1.0]]


def test_one_list_passed_twice_stays_one_list():
    def g(a: list, b: list, *, c: list) -> bool:
        a.append(1)
        return a is b is c

    shared = []
    assert Closure(g, [shared, shared], {"c": shared}).validated_call() is True
    assert shared == []


def test_futures_are_kept_and_known():
    a, b = Future(), Future()
    closure = Closure(f, [[a]], {"n": b})
    assert closure.args[0][0] is a
    assert closure.futures == [a, b]
    assert Closure(f, [[1.0]]).futures == []


def test_no_arguments_at_all_may_be_left_out():
    def g() -> int:
        return 3

    assert Closure(g).validated_call() == 3


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ([], {}, r"^f: missing a required argument: 'xs'; it is called as f\(xs: list\[float\], n: int = 2, \*more"),
        ([[1.0]], {"xs": [1.0]}, r"^f: multiple values for argument 'xs'"),
    ],
)
def test_wrong_arguments_fail_when_it_is_made_with_the_signature(args, kwargs, message):
    with pytest.raises(ArgumentError, match=message):
        Closure(f, args, kwargs)


def test_an_unexpected_argument_fails_when_it_is_made():
    def g(x: int) -> int:
        return x

    with pytest.raises(ArgumentError, match=r"g: got an unexpected keyword argument 'y'; it is called as g\(x: int\)"):
        Closure(g, [1], {"y": 2})
    with pytest.raises(ArgumentError, match="g: too many positional arguments"):
        Closure(g, [1, 2])


@pytest.mark.parametrize("args", [3, "abc", {"x": 1}])
def test_args_must_be_a_list(args):
    with pytest.raises(ArgumentError, match="args must be a list"):
        Closure(f, args)


def test_kwargs_must_be_a_mapping():
    with pytest.raises(ArgumentError, match="kwargs must be a dict"):
        Closure(f, [[1.0]], [1])


# Questions


def test_it_describes_itself():
    class Named(MetaFuncBase):
        def __call__(self, x: int) -> int:
            return x

        def describe(self, x):
            return f"call {x}"

        def get_resources(self, x):
            return {"cpus": x}

    assert Closure(Named(), [3]).describe() == "call 3"
    assert repr(Closure(Named(), [3])) == "<Closure call 3>"
    assert Closure(Named(), [3]).get_resources() == {"cpus": 3}
    assert Closure(Named(), [done(4)]).get_resources() == {"cpus": 4}
    assert Closure(f, [[1.0]]).describe() == "f"


def test_parameters_are_bound_with_defaults_applied():
    assert Closure(f, [[1.0], 3, 4], {"k": 5}).get_parameters() == {
        "xs": [1.0],
        "n": 3,
        "more": (4,),
        "flag": False,
        "rest": {"k": 5},
    }


def test_the_parameter_api_has_a_type_for_each_parameter():
    assert Closure(f, [[1.0]]).get_parameter_api() == {
        "xs": list[float],
        "n": int,
        "more": tuple[int, ...],
        "flag": bool,
        "rest": dict[str, int],
    }


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ([[1.0, 2.0, 3.0, "a"]], {}, r"^argument 'xs' at \[3\]: expected float, got str 'a'"),
        ([[1.0], "2"], {}, r"^argument 'n': expected int, got str '2'"),
        ([[1.0], 2, 3, "x"], {}, r"^argument 'more' at \[1\]: expected int, got str 'x'"),
        ([[1.0]], {"k": 1.5}, r"^argument 'rest' at \['k'\]: expected int, got float 1.5"),
        ([[1.0]], {"flag": 1}, r"^argument 'flag': expected bool, got int 1"),
    ],
)
def test_wrong_types_are_refused_with_their_place(args, kwargs, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        Closure(f, args, kwargs).validate_parameters()
    assert caught.value.__notes__ == ["in the call of f"]


def test_right_types_pass():
    Closure(f, [[1, 2.0], True, 4], {"flag": True, "k": 1}).validate_parameters()


def test_futures_are_passed_over_by_the_check():
    Closure(f, [[1.0, Future()], Future()]).validate_parameters()
    with pytest.raises(ArgumentError, match=r"\[1\]"):
        Closure(f, [[Future(), "a"]]).validate_parameters()


def test_apis_may_be_trees_that_a_metafunc_defines():
    class Tree(MetaFuncBase):
        def __call__(self, config: dict) -> None:
            pass

        def get_parameters_api(self, config):
            return {"config": {"steps": int, "cell": [float, float]}}

    Closure(Tree(), [{"steps": 1, "cell": [1.0, 2.0]}]).validate_parameters()
    with pytest.raises(ArgumentError, match=r"argument 'config' at \['cell'\]\[1\]: expected float, got str 'x'"):
        Closure(Tree(), [{"steps": 1, "cell": [1.0, "x"]}]).validate_parameters()


# Calls


def test_a_validated_call_checks_calls_and_checks():
    assert Closure(f, [[1.0, 2.0]]).validated_call() == 6.0


def test_a_validated_call_refuses_arguments_before_it_calls():
    called = []

    def g(x: int) -> int:
        called.append(x)
        return x

    with pytest.raises(ArgumentError, match="argument 'x'"):
        Closure(g, ["a"]).validated_call()
    assert called == []


@pytest.mark.parametrize(
    ("mock", "result", "message"),
    [
        ([0.0, 0.0], [1.0], r"^result of <lambda>: expected a list of 2, got a list of 1"),
        ([0.0, 0.0], [1.0, "x"], r"^result of <lambda> at \[1\]: expected float, got str 'x'"),
        ({"a": 1}, {"b": 1}, r"^result of <lambda>: expected a dict with the keys 'a', got a dict with the keys 'b'"),
        (0, 1.5, r"^result of <lambda>: expected int, got float 1.5"),
    ],
)
def test_a_validated_call_refuses_a_result_that_is_not_like_the_mock(mock, result, message):
    with pytest.raises(ResultError, match=message):
        Closure(MinimalMetaFunc(lambda: result, mock)).validated_call()


def test_a_list_in_a_mock_fixes_the_length_and_an_annotation_does_not():
    def g() -> list[float]:
        return [1.0, 2.0, 3.0]

    assert Closure(g).validated_call() == [1.0, 2.0, 3.0]
    assert Closure(MinimalMetaFunc(g, [0.0] * 3)).validated_call() == [1.0, 2.0, 3.0]
    with pytest.raises(ResultError, match="expected a list of 2, got a list of 3"):
        Closure(MinimalMetaFunc(g, [0.0] * 2)).validated_call()


def test_a_result_is_checked_against_the_return_annotation():
    def g() -> int:
        return "x"

    with pytest.raises(ResultError, match=r"^result of g: expected int, got str 'x'"):
        Closure(g).validated_call()


def test_what_the_function_raises_comes_as_it_is():
    def g() -> int:
        raise KeyError("k")

    with pytest.raises(KeyError) as caught:
        Closure(g).validated_call()
    assert not hasattr(caught.value, "__notes__")


# Futures


def test_resolved_has_results_in_the_place_of_futures():
    closure = Closure(f, [[done(1.0), 2.0]], {"n": done(3)})
    assert closure.resolved().args == [[1.0, 2.0]]
    assert closure.resolved().kwargs == {"n": 3}
    assert closure.resolved().futures == []
    assert closure.validated_call() == 9.0
    assert isinstance(closure.args[0][0], Future)


def test_resolved_without_futures_is_itself():
    closure = Closure(f, [[1.0]])
    assert closure.resolved() is closure


def test_resolved_copies_results_so_that_calls_cannot_disturb_each_other():
    shared = done([1.0])

    def g(xs: list[float], ys: list[float]) -> bool:
        xs.append(2.0)
        return xs is ys

    assert Closure(g, [shared, shared]).validated_call() is True
    assert shared.result() == [1.0]
    assert Closure(g, [shared, shared]).resolved(copy=False).args[0] is shared.result()


def test_resolved_raises_what_a_future_raises():
    error = ValueError("no")
    with pytest.raises(ValueError) as caught:
        Closure(f, [done(error=error)]).resolved()
    assert caught.value is error
    with pytest.raises(CancelledError):
        Closure(f, [cancelled()]).resolved()


@pytest.mark.parametrize(
    "future", [Future(), done(error=ValueError()), cancelled()], ids=["pending", "failed", "cancelled"]
)
def test_a_mock_that_needs_what_is_not_known_is_an_error_that_names_the_parameter(future):
    metafunc = MinimalMetaFunc(lambda m, n: [0.0] * n, mock=lambda m, n: [0.0] * n)
    with pytest.raises(UnknownValueError, match=r"mock of <lambda> needs the value of 'n'.*pass n.result\(\)"):
        Closure(metafunc, [1, future]).get_result_api()
    with pytest.raises(UnknownValueError, match="'n'"):
        Closure(metafunc, [1], {"n": future}).get_result_mock()


@pytest.mark.parametrize(
    "mock",
    [
        *(lambda n: n, lambda n: [n], lambda n: {n: 0.0}, lambda n: {"a": {n: 1}}, lambda n: 0 if n else 1.0),
        *(lambda n: [0.0 for _ in range(n)], lambda n: {f"{n}": 1}, lambda n: [0] * (n + 1), lambda n: n.shape),
    ],
)
def test_no_mock_can_depend_on_what_is_not_known(mock):
    metafunc = MinimalMetaFunc(lambda n: n, mock)
    with pytest.raises(UnknownValueError, match="'n'"):
        Closure(metafunc, [Future()]).get_result_api()


def test_a_mock_may_ignore_what_is_not_known():
    metafunc = MinimalMetaFunc(lambda n, xs: n, mock=lambda n, xs: [0.0] * n)
    assert Closure(metafunc, [2, [Future(), {Future()}]]).get_result_api() == [float, float]


def test_a_mock_may_use_the_result_of_a_future_that_is_done():
    metafunc = MinimalMetaFunc(lambda n: n, mock=lambda n: [0.0] * n)
    assert Closure(metafunc, [done(3)]).get_result_mock() == [0.0] * 3


def test_it_pickles():
    again = pickle.loads(pickle.dumps(Closure(add, [1], {"b": 2})))
    assert again.validated_call() == 3
    assert (again.args, again.kwargs, again.futures) == ([1], {"b": 2}, [])


def test_futures_in_dataclasses_are_seen():
    def g(p: Point) -> float:
        return p.x

    closure = Closure(g, [Point(done(2.0))])
    closure.validate_parameters()
    assert closure.validated_call() == 2.0


def test_anything_may_be_any():
    def g(x: Any) -> Any:
        return x

    assert Closure(g, [{"a": 1}]).validated_call() == {"a": 1}


def test_a_function_that_changes_its_argument_is_checked_against_the_mock_for_what_it_was_given():
    def drain(xs: list[int]) -> list[int]:
        return [xs.pop() for _ in range(len(xs))]

    assert Closure(MinimalMetaFunc(drain, lambda xs: [0] * len(xs)), [[1, 2]]).validated_call() == [2, 1]


def test_a_name_that_depends_on_a_future_is_that_of_the_function_until_the_future_is_done():
    class Named(MinimalMetaFunc):
        def describe(self, n):
            return f"level {n + 1}"

    def level(n: int) -> int:
        return n

    pending, known = Future(), Future()
    known.set_result(4)
    assert Closure(Named(level), [pending]).describe() in ("level", "Named")
    assert Closure(Named(level), [known]).describe() == "level 5"
