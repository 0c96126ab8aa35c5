import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.engine.graph import ancestors, find_cycle, find_cycles, leaves, roots, topological_order
from weft.errors import CycleError

DIAMOND = {"d": ["b", "c"], "b": ["a"], "c": ["a"]}


def test_order_puts_each_node_after_what_it_depends_on():
    order = topological_order(DIAMOND)
    assert sorted(order) == ["a", "b", "c", "d"]
    assert order[0] == "a"
    assert order[-1] == "d"


def test_a_cycle_is_told_as_a_path():
    with pytest.raises(CycleError, match=r"(b <- a <- b|a <- b <- a) .*x after y"):
        topological_order({"a": ["b"], "b": ["a"]})


def test_a_node_that_depends_on_itself_is_a_cycle():
    with pytest.raises(CycleError, match="a <- a"):
        topological_order({"a": ["a"]})


def test_each_node_of_a_cycle_comes_after_the_next():
    graph = {"a": ["b"], "b": ["c"], "c": ["a"], "x": ["a"]}
    cycle = find_cycle(graph)
    assert cycle is not None
    assert cycle[0] == cycle[-1]
    assert all(later in graph[earlier] for earlier, later in zip(cycle, cycle[1:], strict=False))


def test_a_graph_without_a_cycle_has_none():
    assert find_cycle(DIAMOND) is None


def test_roots_leaves_and_ancestors_of_a_diamond():
    assert roots(DIAMOND) == ["a"]
    assert leaves(DIAMOND) == ["d"]
    assert ancestors(DIAMOND, "b") == {"a"}
    assert ancestors(DIAMOND, "d") == {"a", "b", "c"}
    assert ancestors(DIAMOND, "a") == set()


def test_a_node_is_its_own_ancestor_only_in_a_cycle():
    assert "a" in ancestors({"a": ["b"], "b": ["a"]}, "a")


def test_a_long_chain_needs_no_recursion(length):
    chain = {i: [i - 1] for i in range(1, length)}
    assert topological_order(chain) == list(range(length))
    assert len(ancestors(chain, length - 1)) == length - 1
    chain[0] = [length - 1]
    with pytest.raises(CycleError):
        topological_order(chain)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40))
def test_order_holds_for_every_graph_or_a_real_cycle_is_shown(edges):
    graph: dict[int, list[int]] = {}
    for node, dependency in edges:
        graph.setdefault(node, []).append(dependency)
    cycle = find_cycle(graph)
    if cycle is None:
        place = {node: i for i, node in enumerate(topological_order(graph))}
        assert all(place[d] < place[n] for n, ds in graph.items() for d in ds)
    else:
        assert all(b in graph[a] for a, b in zip(cycle, cycle[1:], strict=False))


def test_each_knot_of_nodes_gives_one_cycle():
    graph = {"a": ["b"], "b": ["a"], "c": ["b", "e"], "d": ["c"], "e": ["c"], "f": ["f"], "g": ["d"]}
    found = find_cycles(graph)
    assert sorted("".join(sorted(set(cycle))) for cycle in found) == ["ab", "ce", "f"]
    assert all(later in graph[earlier] for cycle in found for earlier, later in zip(cycle, cycle[1:], strict=False))
    assert find_cycles(DIAMOND) == []
