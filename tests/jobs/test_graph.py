"""Graph functions: what they find, in graphs of any shape and size."""

from __future__ import annotations

import pytest

from jobs.samples import chain, make
from weft.errors import ArgumentError
from weft.jobs import ancestors, cycles, leaves, roots, terminal_nodes


@pytest.fixture
def diamond():
    a, b, c, d = (make(name) for name in "abcd")
    b.after(a)
    c.after(a, status="any")
    d.after(b, c)
    return a, b, c, d


def test_terminal_nodes_are_the_leaves_reachable_forward(diamond):
    a, b, c, d = diamond
    e = make("e").after(c)
    other = make("other")
    assert terminal_nodes(a) == [d, e]
    assert terminal_nodes(b) == [d]
    assert terminal_nodes(d, other) == [d, other]
    assert leaves(a, b) == [d, e]


def test_a_job_with_its_result_bound_comes_after_it():
    a = make("a")
    new = make("b").metafunc
    taker = type(a)(new, a.spec)
    assert terminal_nodes(a) == [a]
    taker.after(a)
    assert terminal_nodes(a) == [taker]


def test_roots_come_after_nothing(diamond):
    a, b, _c, d = diamond
    e = make("e")
    d.after(e)
    assert roots(d) == [e, a]
    assert roots(b) == [a]
    assert roots(a) == [a]


def test_ancestors_are_all_that_is_needed(diamond):
    a, b, c, d = diamond
    assert ancestors(d) == {a, b, c}
    assert ancestors(d, a) == {a, b, c}
    assert ancestors(a) == set()


def test_there_are_no_cycles_in_a_graph_that_can_run(diamond):
    assert cycles(*diamond) == []


def test_a_cycle_is_found_from_wherever_one_begins(diamond):
    a, b, c, d = diamond
    a.after(d)
    for job in diamond:
        (cycle,) = cycles(job)
        assert cycle[0] is cycle[-1]
        assert all(later in earlier.dependencies for earlier, later in zip(cycle, cycle[1:], strict=False))
    end = make("end").after(d)
    start = make("start")
    a.after(start)
    assert len(cycles(end)) == len(cycles(start)) == 1
    assert b in ancestors(b)
    assert end not in ancestors(end)
    assert c in ancestors(a)


def test_each_knot_of_jobs_gives_a_cycle():
    a, b, c, d, e = (make(name) for name in "abcde")
    a.after(b)
    b.after(a)
    c.after(b)
    d.after(c)
    c.after(e)
    e.after(c)
    found = cycles(a)
    assert {frozenset(map(str, cycle)) for cycle in found} == {frozenset("ab"), frozenset("ce")}


@pytest.mark.parametrize("function", [terminal_nodes, leaves, roots, ancestors, cycles])
def test_what_is_no_job_is_refused(function):
    with pytest.raises(ArgumentError, match=r"with a star: \*jobs"):
        function([make("a")])
    assert list(function()) == []


def test_long_chains_need_no_recursion(long_chain):
    first, last = long_chain[0], long_chain[-1]
    assert terminal_nodes(first) == [last]
    assert roots(last) == [first]
    assert len(ancestors(last)) == len(long_chain) - 1
    assert cycles(long_chain[5]) == []


def test_a_long_cycle_needs_no_recursion():
    jobs = chain(20_000)
    jobs[0].after(jobs[-1])
    assert len(cycles(jobs[5])[0]) == 20_001


def test_ladders_of_diamonds_are_walked_once(tall_ladder):
    first, last = tall_ladder[0], tall_ladder[-1]
    assert terminal_nodes(first) == [last]
    assert roots(last) == [first]
    assert len(ancestors(last)) == 3 * (len(tall_ladder) - 1)
    assert cycles(first) == []
