import enum
import subprocess
import sys
import typing
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
)

import numpy as np
import pytest

from hand import fastest, named
from weft.calls import check
from weft.calls.unknown import Unknown
from weft.errors import ArgumentError


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Sparse(TypedDict, total=False):
    needed: "typing.Required[int]"
    other: "str"


class Dense(TypedDict):
    needed: "int"
    other: "Annotated[NotRequired[str], 'extra']"


@pytest.mark.parametrize("kind", [Sparse, Dense])
def test_a_typed_dict_with_string_annotations_knows_what_it_needs(kind):
    check({"needed": 1}, kind, "argument 'x'")
    with pytest.raises(ArgumentError, match="needs the key 'needed'"):
        check({"other": "x"}, kind, "argument 'x'")


class Pair(NamedTuple):
    left: int
    right: "str"


@dataclass
class Point:
    x: float
    y: int = None
    tags: list[str] = field(default_factory=list)


@dataclass
class Node:
    next: "Node | None" = None


@dataclass
class Elsewhere:
    x: "Nowhere"  # noqa: F821


T = TypeVar("T")
N = TypeVar("N", int, str)


@dataclass
class Box(Generic[T]):
    x: T


class Colour(enum.Enum):
    RED = 1


class Runs(Protocol):
    def run(self) -> int: ...


class Runner:
    def run(self) -> int:
        return 1


class Liar:
    def __repr__(self):
        raise ValueError("no")


UserId = NewType("UserId", int)

GOOD = [
    *[(True, int), (1, float), (True, float), (1, complex), (1.5, complex), (np.float64(1), float), (None, None)],
    *[(object(), Any), (object(), object), ([1, "a"], list), ([], list[int]), ([1, True], list[int]), ("a", str)],
    *[([1, 2.5], list[float]), ([[1], []], list[list[int]]), ({"a": 1}, dict[str, int]), ({1}, set[int])],
    *[([1], typing.List[int]), ({"a": [1]}, typing.Dict[str, typing.List[int]]), ((1, "a"), typing.Tuple[int, str])],  # noqa: UP006
    *[((1, 2), typing.Tuple), ((), tuple[()]), ((1, 2, 3), tuple[int, ...]), (frozenset([1]), frozenset[int])],  # noqa: UP006
    *[(None, Optional[int]), (1, Union[int, str]), ("a", int | str), ([1, None, "a"], list[int | str | None])],  # noqa: UP007, UP045
    *[("a", Literal["a", 1]), ({"title": "x"}, Movie), ({"title": "x", "year": 1}, Movie), (Pair(1, "a"), Pair)],
    *[(Point(1.0), Point), (Point(1, 2, ["a"]), Point), (Node(Node()), Node), (Box(3), Box[int]), (Box("a"), Box)],
    *[(1, Annotated[int, "metres"]), (1, UserId), (len, Callable), (lambda x: x, Callable[[int], int])],
    *[(1, T), ("a", N), (Runner(), Runs), (int, type), (bool, type[int]), (Path("x"), Path), (Colour.RED, Colour)],
    *[([1], Sequence[int]), ("ab", Sequence[str]), (b"ab", Sequence[int]), (range(3), Sequence[int])],
    *[({"a": 1}, Mapping[str, int]), (OrderedDict(a=1), dict[str, int]), (deque([1]), deque[int])],
    *[([1], Iterable[int]), (iter("a"), Iterator[int]), ((i for i in "a"), Iterable[int]), (np.arange(3), np.ndarray)],
    *[(Elsewhere(1), Elsewhere), ([Point(1.0), None], list[Point | None]), (np.arange(3), np.ndarray[Any, Any])],
]


@pytest.mark.parametrize(("value", "api"), GOOD, ids=lambda case: named(case)[:50])
def test_accepted(value, api):
    check(value, api, "argument 'x'")


BAD = [
    (["1"], list[int], " at [0]: expected int, got str '1'"),
    ([1.0, 2, 3.0, "a"], list[float], " at [3]: expected float, got str 'a'"),
    (1.5, int, ": expected int, got float 1.5"),
    ("1", float, ": expected float, got str '1'"),
    (1, bool, ": expected bool, got int 1"),
    (None, int, ": expected int, got None"),
    (0, None, ": expected None, got int 0"),
    (int, int, ": expected int, got the type int"),
    (1j, float, ": expected float, got complex 1j"),
    ((1,), list[int], ": expected list[int], got tuple (1,)"),
    ({"a": 1}, list[int], ": expected list[int], got dict {'a': 1}"),
    ([[1], [2, "x"]], list[list[int]], " at [1][1]: expected int, got str 'x'"),
    ([{}, {"a": "x"}], list[dict[str, int]], " at [1]['a']: expected int, got str 'x'"),
    ({1: 1}, dict[str, int], " at key 1: expected str, got int 1"),
    ([{1: 1}], list[dict[str, int]], " at [0] key 1: expected str, got int 1"),
    ({"a"}, set[int], " at {'a'}: expected int, got str 'a'"),
    (["a"], typing.List[int], " at [0]: expected int, got str 'a'"),  # noqa: UP006
    ((1, 2), tuple[int, str], " at [1]: expected str, got int 2"),
    ((1,), tuple[int, str], ": expected tuple[int, str], got tuple (1,)"),
    ((1,), tuple[()], ": expected tuple[()], got tuple (1,)"),
    ((1, "a"), tuple[int, ...], " at [1]: expected int, got str 'a'"),
    (1, Optional[str], ": expected str | None, got int 1"),  # noqa: UP045
    (1.5, int | str, ": expected int | str, got float 1.5"),
    ([1, "a"], list[int] | None, " at [1]: expected int, got str 'a'"),
    (["a"], list[int] | list[float], ": expected list[int] | list[float], got list ['a']"),
    ([1, None, "a"], list[int | None], " at [2]: expected int | None, got str 'a'"),
    ("c", Literal["a", "b"], ": expected Literal['a', 'b'], got str 'c'"),
    ({"title": 1}, Movie, " at ['title']: expected str, got int 1"),
    ({}, Movie, ": Movie needs the key 'title', got dict {}"),
    ({"title": "x", "yaer": 1}, Movie, ": Movie has no key 'yaer'; keys: 'title', 'year'"),
    ([], Movie, ": expected Movie, got list []"),
    (Pair("a", "b"), Pair, " at .left: expected int, got str 'a'"),
    ((1, "b"), Pair, ": expected Pair, got tuple (1, 'b')"),
    (Point("a"), Point, " at .x: expected float, got str 'a'"),
    ([Point(1.0, 2, [3])], list[Point], " at [0].tags[0]: expected str, got int 3"),
    (3, Point, ": expected Point, got int 3"),
    (Node(Node(3)), Node, " at .next.next: expected Node | None, got int 3"),
    ("a", Annotated[int, "metres"], ": expected int, got str 'a'"),
    ("a", UserId, ": expected int, got str 'a'"),
    (3, Callable[[int], int], ": expected Callable[[int], int], got int 3"),
    (lambda: 1, Callable[[int], int], ": expected Callable[[int], int], got "),
    (1.5, N, ": expected N, got float 1.5"),
    (3, Runs, ": expected Runs, got int 3"),
    (str, type[int], ": expected type[int], got the type str"),
    ("ab", Sequence[int], ": expected Sequence[int], got str 'ab'"),
    ([1, "a"], Iterable[int], " at [1]: expected int, got str 'a'"),
    (3, Iterable[int], ": expected Iterable[int], got int 3"),
    (1, Colour, ": expected Colour, got int 1"),
]


@pytest.mark.parametrize(("value", "api", "message"), BAD, ids=lambda case: named(case)[:50])
def test_refused_with_path_expected_and_got(value, api, message):
    with pytest.raises(ArgumentError) as caught:
        check(value, api, "argument 'xs'")
    text = str(caught.value)
    assert text.startswith(f"argument 'xs'{message}")
    assert isinstance(caught.value, TypeError)


def test_a_tree_of_types_is_checked_leaf_by_leaf():
    api = {"a": [int, float], "b": str, "empty": []}
    check({"a": [1, 2], "b": "x", "empty": []}, api, "result")
    with pytest.raises(ArgumentError, match=r"^result at \['a'\]\[0\]: expected int, got str 'x'$"):
        check({"a": ["x", 2], "b": "x", "empty": []}, api, "result")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "expected a list of 2, got a list of 1"),
        ({"a": 1}, "expected a list of 2, got a dict with the keys 'a'"),
        ((1, 2), r"expected a list of 2, got tuple \(1, 2\)"),
        (None, "expected a list of 2, got None"),
    ],
)
def test_another_shape_than_the_tree_of_types_is_refused(value, message):
    with pytest.raises(ArgumentError, match=rf"^result: {message}$"):
        check(value, [int, int], "result")


def test_messages_stay_short():
    for value in ["a" * 10_000, list(range(10_000)), {"k" * 500: "v" * 500}, np.arange(10_000), Liar(), 10**1000]:
        with pytest.raises(ArgumentError) as caught:
            check([value], list[bool], "argument 'xs'")
        assert len(str(caught.value)) < 110


def test_futures_and_what_is_unknown_are_passed_over():
    unknown = Unknown("x", "not known")
    check(Future(), int, "x")
    check([1, Future(), unknown], list[int], "x")
    check({"a": Future()}, dict[str, list[int]], "x")
    check(Point(Future()), Point, "x")
    check(unknown, str, "x")
    with pytest.raises(ArgumentError, match=r"at \[2\]"):
        check([1, Future(), "a"], list[int], "x")


def test_a_check_converts_and_uses_up_nothing():
    items = iter([1, 2])
    check(items, Iterable[str], "x")
    assert list(items) == [1, 2]


def test_a_record_that_contains_itself_is_fine():
    node = Node()
    node.next = node
    check(node, Node, "x")


def test_an_annotation_that_nobody_can_check_is_told():
    with pytest.raises(ArgumentError, match=r"cannot be checked against .*Nowhere"):
        check(int, type["Nowhere"], "x")  # noqa: F821


def test_a_million_floats_are_checked_at_the_speed_of_c():
    xs = [float(i) for i in range(1_000_000)]
    copying = fastest(lambda: xs[:])
    assert fastest(lambda: check(xs, list[float], "xs")) < 8 * copying


def test_plain_types_are_checked_without_typeguard():
    script = """if True:
        import sys
        from weft.calls import check
        check([1, {"a": (1.0, None)}], list[int | dict[str, tuple[float, None]]], "x")
        assert "typeguard" not in sys.modules
        from typing import Protocol
        class P(Protocol): ...
        check(1, P, "x")
        assert "typeguard" in sys.modules
    """
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_of_a_mock_the_shape_counts_and_not_the_very_class_of_its_lists_and_dicts():
    check(OrderedDict(a=1, b=[2]), {"a": int, "b": [int]}, "result")
    with pytest.raises(ArgumentError, match=r"^result at \['b'\]\[0\]: expected int, got str 'x'"):
        check(OrderedDict(a=1, b=["x"]), {"a": int, "b": [int]}, "result")
    with pytest.raises(ArgumentError, match="expected a dict with the keys 'a', got a dict with the keys 'b'"):
        check(OrderedDict(b=1), {"a": int}, "result")
