import datetime
import decimal
import enum
import typing
from abc import ABC, abstractmethod
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, TypedDict, TypeVar

import numpy as np
import pytest

from weft.calls import check, stand_in
from weft.errors import UnknownValueError


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class NoColour(enum.Enum):
    pass


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Pair(NamedTuple):
    left: int
    right: "list[str]"


@dataclass
class Point:
    x: float
    name: str = "here"
    tags: list[str] = field(default_factory=lambda: ["new"])


@dataclass(frozen=True, slots=True)
class Line:
    start: Point
    end: "Point | None"


@dataclass
class Endless:
    next: "Endless"


@dataclass
class Unresolvable:
    x: "Nowhere"  # noqa: F821


class Plain:
    def __init__(self, needed):
        raise AssertionError("a stand-in is made without running code")


class Abstract(ABC):
    @abstractmethod
    def method(self): ...


class MyList(list):
    pass


class Proto(typing.Protocol):
    def method(self) -> int: ...


UserId = NewType("UserId", int)
T = TypeVar("T")
N = TypeVar("N", int, str)
B = TypeVar("B", bound=float)

CASES = [
    *[(int, 0), (float, 0.0), (complex, 0j), (str, ""), (bytes, b""), (bool, False), (None, None), (type(None), None)],
    *[(list, []), (list[float], []), (dict[str, int], {}), (set[int], set()), (frozenset, frozenset()), (MyList, [])],
    *[(tuple[int, str], (0, "")), (tuple[int, ...], ()), (tuple, ()), (typing.List[int], []), (OrderedDict, {})],  # noqa: UP006
    *[(Optional[int], None), (int | str, 0), (Abstract | str, ""), (Literal["b", "a"], "b"), (Colour, Colour.RED)],  # noqa: UP045
    *[(Annotated[int, "metres"], 0), (UserId, 0), (N, 0), (B, 0.0), (type[int], int), (type, object)],
    *[(Sequence[int], []), (Mapping[str, int], {}), (Iterable[int], []), (defaultdict[str, int], {})],
    *[(Movie, {"title": ""}), (Pair, (0, [])), (Point, Point(0.0, "here", ["new"])), (Line, Line(Point(0.0), None))],
    *[(Path, Path()), (datetime.date, datetime.date(1970, 1, 1)), (datetime.timedelta, datetime.timedelta(0))],
    *[(datetime.datetime, datetime.datetime(1970, 1, 1)), (decimal.Decimal, 0), (range, range(0)), (np.float64, 0.0)],
]


@pytest.mark.parametrize(("annotation", "expected"), CASES, ids=lambda case: repr(case)[:40])
def test_a_stand_in_is_of_the_wanted_type(annotation, expected):
    made = stand_in(annotation)
    assert made == expected
    check(made, annotation, "the stand-in")


def test_another_class_is_made_without_running_its_code():
    assert type(stand_in(Plain)) is Plain


def test_an_array_is_empty():
    assert stand_in(np.ndarray).shape == (0,)


def test_a_function_gives_a_stand_in():
    assert stand_in(Callable[[int], str])(1) == ""
    assert stand_in(Callable)() is None


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        (Any, "can be anything"),
        (T, "can be anything"),
        (Endless, "another one of itself"),
        (Abstract, "abstract"),
        (Proto, "abstract"),
        (NoColour, "no members"),
        (Unresolvable, "Nowhere"),
        (Abstract | Proto, "none of its members"),
        (memoryview, "without arguments"),
    ],
)
def test_what_cannot_be_made_up_is_an_error_that_says_what_to_give(annotation, why):
    with pytest.raises(UnknownValueError, match=rf"{why}.*@task\(mock="):
        stand_in(annotation)
