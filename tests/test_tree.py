import gc
import sys
from collections import OrderedDict, defaultdict
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hand import done
from weft.errors import ArgumentError, CycleError
from weft.tree import find_futures, get_tree, iterate_tree, kinds, replace_futures, transform_tree, walk

TREE = {"a": [1, (2, 3)], "b": {}, "c": [[], {"d": None}]}


def nest(leaf, depth):
    for _ in range(depth):
        leaf = [leaf]
    return leaf


# get_tree


def test_get_goes_step_by_step_by_index_or_key():
    assert get_tree(TREE, ("a", 1)) == (2, 3)
    assert get_tree(TREE, ["c", 1, "d"]) is None


def test_the_empty_path_is_the_tree_itself():
    assert get_tree(TREE, ()) is TREE


@pytest.mark.parametrize(("path", "error"), [(("x",), KeyError), (("a", 2), IndexError), (("a", 0, 0), TypeError)])
def test_get_raises_as_indexing_does(path, error):
    with pytest.raises(error):
        get_tree(TREE, path)


# iterate_tree


def test_iterate_yields_paths_and_leaves_and_a_tuple_is_a_leaf():
    assert list(iterate_tree(TREE)) == [(("a", 0), 1), (("a", 1), (2, 3)), (("c", 1, "d"), None)]


def test_a_leaf_alone_has_the_empty_path():
    assert list(iterate_tree(3)) == [((), 3)]
    assert list(iterate_tree((1, 2))) == [((), (1, 2))]


def test_empty_lists_and_dicts_have_no_leaves():
    assert list(iterate_tree([])) == list(iterate_tree({})) == list(iterate_tree([], [])) == []


def test_several_trees_are_walked_together():
    assert list(iterate_tree([1, {"a": 2}], [3, {"a": 4}])) == [((0,), (1, 3)), ((1, "a"), (2, 4))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [1]),
        ([1], []),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([1], {0: 1}),
        ({}, []),
        ([1], (1,)),
        ([1], 1),
        (1, [1]),
        ({"a": 1}, OrderedDict(a=1)),
    ],
)
def test_where_trees_differ_the_whole_sub_trees_are_one_leaf(one, other):
    assert list(iterate_tree(one, other)) == [((), (one, other))]
    assert list(iterate_tree([one, 5], [other, 6])) == [((0,), (one, other)), ((1,), (5, 6))]


def test_dicts_with_one_set_of_keys_are_walked_in_the_order_of_the_first():
    assert list(iterate_tree({"a": 1, "b": 2}, {"b": 3, "a": 4})) == [(("a",), (1, 4)), (("b",), (2, 3))]


def test_one_object_in_two_places_is_two_leaves():
    part = [1]
    assert list(iterate_tree([part, part])) == [((0, 0), 1), ((1, 0), 1)]


def test_a_tree_that_contains_itself_is_refused_and_not_walked_for_ever():
    tree = [0, {"a": []}]
    tree[1]["a"].append(tree)
    with pytest.raises(CycleError, match=r"contains itself at \[1\]\['a'\]\[0\]"):
        list(iterate_tree(tree))
    with pytest.raises(CycleError):
        transform_tree(lambda path, leaf: leaf, tree)


def test_no_tree_at_all_is_refused():
    with pytest.raises(ArgumentError, match="at least one"):
        list(iterate_tree())


# transform_tree


def test_transform_builds_the_same_shape_from_paths_and_leaves():
    built = transform_tree(lambda path, leaf: (path, leaf), TREE)
    assert built == {
        "a": [(("a", 0), 1), (("a", 1), (2, 3))],
        "b": {},
        "c": [[], {"d": (("c", 1, "d"), None)}],
    }


def test_transform_gets_one_leaf_of_each_tree():
    assert transform_tree(lambda path, x, y: x + y, [1, {"a": 2}], [10, {"a": 20}]) == [11, {"a": 22}]


def test_transform_of_a_leaf_is_what_the_function_returns():
    assert transform_tree(lambda path, leaf: [path, leaf], 3) == [(), 3]


def test_transform_leaves_the_original_alone():
    tree = [1, [2]]
    built = transform_tree(lambda path, leaf: leaf, tree)
    assert built == tree
    assert built is not tree
    assert built[1] is not tree[1]


def test_what_transform_puts_in_is_not_walked_again():
    assert transform_tree(lambda path, leaf: [leaf, leaf], [1]) == [[1, 1]]


# depth


def test_any_number_of_levels_is_no_problem(length):
    assert sys.getrecursionlimit() < length
    deep = nest(1, length)
    ((path, leaf),) = iterate_tree(deep)
    assert (len(path), leaf) == (length, 1)
    built = transform_tree(lambda path, leaf: leaf + 1, deep)
    assert get_tree(built, path) == 2


def test_futures_are_found_and_replaced_any_number_of_levels_down(length):
    future = Future()
    deep = nest(future, length)
    assert find_futures(deep) == [future]
    assert get_tree(replace_futures(deep, lambda f: "value"), [0] * length) == "value"


# kinds


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], set()),
        ([1.0, 2.0], {float}),
        ([1, True], {int, bool}),
        ([1, "a", 1], {int, str}),
        ({"a": 1}.values(), {int}),
    ],
)
def test_kinds_are_the_exact_types(items, expected):
    assert set(kinds(items)) == expected


# futures in data


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class Record:
    shared: ClassVar[list] = []
    x: Any
    y: Any = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    x: Any
    y: Any = 0


class Config(dict):
    pass


@pytest.mark.parametrize(
    "hold",
    [
        lambda f: f,
        lambda f: [0, f],
        lambda f: {"a": f},
        lambda f: (0, f),
        lambda f: {f},
        lambda f: frozenset([f]),
        lambda f: Pair(0, f),
        lambda f: Record(f),
        lambda f: Frozen([f]),
        lambda f: OrderedDict(a=f),
        lambda f: defaultdict(list, a=f),
        lambda f: Config(a=f),
        lambda f: [{"a": (Record(0, [Frozen(f)]),)}],
    ],
)
def test_a_future_is_found_and_replaced_wherever_it_is_held(hold):
    future = Future()
    data = hold(future)
    assert find_futures(data) == [future]
    replaced = replace_futures(data, lambda f: "value")
    assert replaced == hold("value")
    assert type(replaced) is type(hold("value"))
    assert find_futures(data) == [future]  # the original is as it was


@pytest.mark.parametrize("hold", [lambda f: {f: 1}, lambda f: lambda: f, lambda f: [type(f)]])
def test_keys_functions_and_classes_are_not_looked_into(hold):
    assert find_futures(hold(Future())) == []


def test_futures_are_found_in_order_each_once():
    a, b, c = Future(), Future(), Future()
    assert find_futures([b, {"k": (a, b)}], c, a) == [b, a, c]


def test_without_futures_the_same_object_comes_back():
    data = [1, {"a": (2, {3})}, Record(1)]
    assert replace_futures(data, lambda f: "value") is data


def test_parts_without_futures_are_kept_as_they_are():
    data = [Future(), [1, 2], (3, [4]), Record(5)]
    replaced = replace_futures(data, lambda f: 0)
    assert [a is b for a, b in zip(replaced[1:], data[1:], strict=True)] == [True, True, True]


def test_a_part_that_is_held_twice_is_replaced_by_one_part():
    part = [Future()]
    replaced = replace_futures([part, {"a": part}], lambda f: [0])
    assert replaced[0] is replaced[1]["a"]
    assert replaced == [[[0]], {"a": [[0]]}]


def test_data_that_contain_themselves_keep_their_shape():
    data = [Future()]
    data.append((data, {"self": data}))
    replaced = replace_futures(data, lambda f: "value")
    assert replaced[0] == "value"
    assert replaced[1][0] is replaced
    assert replaced[1][1]["self"] is replaced


def test_attributes_of_a_subclass_and_its_type_survive():
    data = Config(a=1)
    data.note = [Future()]
    replaced = replace_futures(data, lambda f: "value")
    assert (type(replaced), replaced, replaced.note) == (Config, {"a": 1}, ["value"])


def test_class_variables_of_a_dataclass_are_left_alone():
    record = Record(Future())
    replaced = replace_futures(record, lambda f: 1)
    assert vars(replaced) == {"x": 1, "y": []}
    assert Record.shared is replaced.shared


def test_a_class_that_copies_itself_is_one_value():
    @dataclass
    class Own:
        x: Any

        def __deepcopy__(self, memo):
            return self

    assert find_futures(Own(Future())) == []


def test_walking_keeps_nothing_alive():
    class Thing:
        pass

    thing = Thing()
    data = [thing, {"a": thing}]
    list(walk([data]))
    replace_futures([data, Future()], lambda f: 0)
    gc.collect()
    # This name, the list, the dict, and the argument of getrefcount.
    assert sys.getrefcount(thing) == 4


# Any tree

LEAVES = st.none() | st.integers() | st.text(max_size=3) | st.tuples(st.integers())
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4)
)


@given(TREES)
def test_every_leaf_is_where_its_path_says(tree):
    for path, leaf in iterate_tree(tree):
        assert get_tree(tree, path) is leaf


@given(TREES)
def test_transforming_by_identity_gives_an_equal_tree_and_walks_the_same_leaves(tree):
    seen = []

    def note(path, leaf):
        seen.append((path, leaf))
        return leaf

    assert transform_tree(note, tree) == tree
    assert seen == list(iterate_tree(tree))


@given(TREES, TREES)
def test_two_trees_are_walked_as_each_alone_where_they_are_alike(one, other):
    for path, leaves in iterate_tree(one, other):
        assert leaves == (get_tree(one, path), get_tree(other, path))


@given(TREES)
def test_futures_in_the_place_of_leaves_are_all_replaced(tree):
    promised = transform_tree(lambda path, leaf: done(leaf), tree)
    assert len(find_futures(promised)) == len(list(iterate_tree(tree)))
    assert replace_futures(promised, lambda future: future.result()) == tree
