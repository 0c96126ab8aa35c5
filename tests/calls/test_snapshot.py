import array
import copy
import datetime
import enum
import operator
import pathlib
import threading
from collections import OrderedDict, defaultdict
from concurrent.futures import Future
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest

from hand import fastest, named
from weft.calls.snapshot import Snapshot, never_changes


class Colour(enum.Enum):
    RED = [1]


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class Record:
    x: Any
    y: list = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    x: Any


class Thing:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return type(other) is Thing and other.x == self.x

    __hash__ = None


class IntWithNotes(int):
    pass


def snapshot(data):
    return Snapshot()(data)


@pytest.mark.parametrize(
    "leaf",
    [
        *(1, 10**30, 1.5, 2j, "text", b"bytes", True, None, ..., range(3), len, snapshot, Thing, copy, Colour.RED),
        *(pathlib.Path("x"), datetime.date(2020, 1, 1), datetime.timedelta(1), Decimal("1.5"), Fraction(1, 3)),
        *(np.float64(1.5), np.int8(1), (1, ("a", 2.0)), frozenset([1, 2]), Pair(1, "a"), int),
    ],
    ids=named,
)
def test_what_nobody_can_change_is_not_copied(leaf):
    assert snapshot(leaf) is leaf
    assert snapshot([leaf])[0] is leaf


@pytest.mark.parametrize(
    ("data", "change"),
    [
        ([1], lambda d: d.append(2)),
        ({"a": 1}, lambda d: d.update(b=2)),
        ({1}, lambda d: d.add(2)),
        ([[1], 2], lambda d: d[0].append(2)),
        ({"a": {"b": 1}}, lambda d: d["a"].clear()),
        (([1],), lambda d: d[0].append(2)),
        (Pair([1], 2), lambda d: d.left.append(2)),
        (Record([1]), lambda d: d.x.append(2)),
        (Record(1), lambda d: setattr(d, "x", 2)),
        (Frozen([1]), lambda d: d.x.append(2)),
        (frozenset([Frozen(1)]), lambda d: object.__setattr__(next(iter(d)), "x", 2)),
        (Thing(1), lambda d: setattr(d, "x", 2)),
        ([Thing([1])], lambda d: d[0].x.append(2)),
        (bytearray(b"a"), lambda d: d.append(2)),
        (array.array("d", [1.0]), lambda d: d.append(2)),
        (OrderedDict(a=[1]), lambda d: d["a"].append(2)),
        (defaultdict(list, a=[1]), lambda d: d["a"].append(2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_can_be_changed_is_copied(data, change):
    before = copy.deepcopy(data)
    taken = snapshot(data)
    assert taken == data
    assert type(taken) is type(data)
    change(data)
    assert taken == before
    assert data != before


def test_arrays_are_copied_once_as_a_block():
    values = np.arange(6.0).reshape(2, 3)
    taken = snapshot([values, {"again": values}])
    values[0, 0] = 7
    assert taken[0][0, 0] == 0
    assert taken[0] is taken[1]["again"]
    assert taken[0].flags.owndata


def test_what_an_object_array_holds_is_copied_too():
    values = np.array([[1], None], dtype=object)
    taken = snapshot(values)
    values[0].append(2)
    assert taken[0] == [1]


def test_records_of_numpy_can_change_and_are_copied():
    record = np.zeros(1, dtype=[("x", float)])[0]
    taken = snapshot(record)
    record["x"] = 5
    assert taken["x"] == 0


def test_futures_are_kept_and_listed():
    a, b = Future(), Future()
    take = Snapshot()
    taken = take([b, {"x": (a, [b])}, Record(a)])
    assert taken[0] is b
    assert taken[1]["x"][0] is a
    assert taken[2].x is a
    assert take.futures == [b, a]


def test_one_object_in_two_places_stays_one_object():
    part = [1]
    thing = Thing(part)
    taken = snapshot([part, {"x": part}, thing, (thing, part)])
    assert taken[0] is taken[1]["x"] is taken[2].x is taken[3][1]
    assert taken[2] is taken[3][0]
    assert taken[0] is not part


def test_data_that_contain_themselves_are_fine():
    data = [Future(), {}]
    data[1]["data"] = (data, Record(data))
    taken = snapshot(data)
    assert taken is not data
    assert taken[1]["data"][0] is taken
    assert taken[1]["data"][1].x is taken
    assert taken[0] is data[0]


def test_deep_data_are_fine():
    data = [1]
    for _ in range(10_000):
        data = [data]
        data = {"x": data}
    taken = snapshot(data)
    for _ in range(10_000):
        taken = taken["x"][0]
    assert taken == [1]


@pytest.mark.parametrize("make", [threading.Lock, lambda: (i for i in "ab"), lambda: open(__file__)])  # noqa: SIM115
def test_what_cannot_be_copied_is_kept_by_reference(make):
    thing = make()
    owner = Thing([thing])
    taken = snapshot([owner, thing, [1]])
    assert taken[0] is owner
    assert taken[1] is thing
    getattr(thing, "close", lambda: None)()


def test_a_copy_that_failed_half_way_is_not_used_elsewhere():
    shared = Thing([1])
    stuck = Thing([shared, threading.Lock()])
    first, second = snapshot([stuck, shared])
    assert first is stuck
    assert second == shared
    assert second is not shared
    assert second.x == [1]


def test_an_object_too_deep_to_copy_is_kept_by_reference():
    thing = Thing(None)
    for _ in range(10_000):
        thing = Thing(thing)
    assert snapshot(thing) is thing
    while thing is not None:  # taken apart here: the interpreter would do it recursively
        thing = thing.x


def test_keys_are_not_copied():
    key = Colour.RED
    assert next(iter(snapshot({key: [1]}))) is key


@pytest.mark.parametrize("kind", [IntWithNotes, np.ndarray, np.void, list, Thing, bytearray])
def test_only_exact_types_are_known_never_to_change(kind):
    assert not never_changes(kind)


def test_a_million_floats_are_copied_at_the_speed_of_c():
    xs = [float(i) for i in range(1_000_000)]
    copying = fastest(lambda: xs[:])
    # 3.7 when nothing else runs; a loop in Python would be above 20.
    assert fastest(lambda: snapshot([xs])) < 8 * copying
    assert all(map(operator.is_, snapshot(xs), xs))
