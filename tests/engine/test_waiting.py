import gc
import threading
import weakref
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest

from hand import PATIENCE, cancelled, done
from weft.errors import ArgumentError
from weft.futures import WaitGraph


@pytest.fixture
def graph():
    return WaitGraph()


def test_done_only_when_all_dependencies_are(graph):
    a, b = Future(), Future()
    waiting = graph.submit([a, b])
    assert not waiting.done()
    b.set_result(2)
    assert not waiting.done()
    a.set_result(1)
    assert waiting.done()
    assert waiting.result() is None


def test_the_digest_gets_the_results_in_the_given_order(graph):
    a, b = Future(), Future()
    waiting = graph.submit([a, b, a], lambda *results: results)
    b.set_result("b")
    a.set_result("a")
    assert waiting.result(0) == ("a", "b", "a")


@pytest.mark.parametrize("kind", [list, tuple, set, iter, dict.fromkeys])
def test_dependencies_may_come_as_any_iterable(graph, kind):
    a = Future()
    waiting = graph.submit(kind([a]), lambda x: x + 1)
    a.set_result(1)
    assert waiting.result(0) == 2


def test_without_dependencies_it_is_done_at_once(graph):
    assert graph.submit([]).result(0) is None
    assert graph.submit([], lambda: "digest of nothing").result(0) == "digest of nothing"


def test_with_dependencies_that_are_done_it_is_done_at_once_even_inside_a_callback(graph):
    seen = []
    outer = Future()
    waiting = graph.submit([outer])
    waiting.add_done_callback(lambda _: seen.append(graph.submit([done(1)], lambda x: x).done()))
    outer.set_result(None)
    assert seen == [True]


@pytest.mark.parametrize("thing", [3, "future", None, threading.Event()])
def test_a_non_future_is_a_type_error_that_names_it(graph, thing):
    with pytest.raises(
        TypeError, match=r"dependencies\[1\] must be a concurrent.futures.Future, got " + type(thing).__name__
    ):
        graph.submit([Future(), thing])


def test_one_future_instead_of_a_list_is_told_what_to_write(graph):
    with pytest.raises(ArgumentError, match=r"write \[future\]"):
        graph.submit(Future())


def test_something_that_is_no_list_at_all_is_refused(graph):
    with pytest.raises(ArgumentError, match="must be a list of futures, got int 3"):
        graph.submit(3)


def test_a_digest_that_cannot_be_called_is_refused(graph):
    with pytest.raises(ArgumentError, match="digest must be a function"):
        graph.submit([], 3)


def test_a_failure_is_passed_on_once_all_are_done_as_the_same_object(graph):
    a, b = Future(), Future()
    called = []
    waiting = graph.submit([a, b], called.append)
    error = ValueError("x")
    b.set_exception(error)
    assert not waiting.done()
    a.set_result(1)
    assert waiting.exception(0) is error
    assert called == []


def test_of_several_failures_the_first_in_the_given_order_counts(graph):
    a, b = Future(), Future()
    waiting = graph.submit([a, b])
    first, second = ValueError("first"), ValueError("second")
    b.set_exception(second)
    a.set_exception(first)
    assert waiting.exception(0) is first


def test_a_cancelled_dependency_is_none_for_the_digest(graph):
    waiting = graph.submit([cancelled(), done(2)], lambda a, b: (a, b))
    assert waiting.result(0) == (None, 2)
    assert not waiting.cancelled()


@pytest.mark.parametrize("dependencies", [[], [done(1)]])
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_a_digest_that_raises_fails_the_future_and_not_the_submit(graph, dependencies, error):
    def digest(*_):
        raise error

    waiting = graph.submit(dependencies, digest)
    assert waiting.exception(0) is error


def test_cancel_touches_nothing_upstream_and_no_sibling(graph):
    a = Future()
    waiting, sibling = graph.submit([a]), graph.submit([a], lambda x: x)
    later = graph.submit([waiting, a], lambda w, x: (w, x))
    assert waiting.cancel()
    assert not a.cancelled()
    assert not sibling.cancelled()
    a.set_result(5)
    assert sibling.result(0) == 5
    assert later.result(0) == (None, 5)
    with pytest.raises(CancelledError):
        waiting.result()


def test_a_cancelled_one_never_calls_its_digest(graph):
    a, called = Future(), []
    graph.submit([a], called.append).cancel()
    a.set_result(1)
    assert called == []


@pytest.mark.parametrize("repetition", range(200))
def test_cancel_among_siblings_of_a_running_pool_harms_nobody(graph, repetition):
    with ThreadPoolExecutor(2) as pool:
        go = threading.Event()
        root = pool.submit(go.wait, PATIENCE)
        siblings = [graph.submit([root], lambda _, i=i: i) for i in range(10)]
        victim = siblings[repetition % 10]
        canceller = pool.submit(victim.cancel)
        go.set()
        canceller.result(PATIENCE)
        for i, sibling in enumerate(siblings):
            if sibling is not victim:
                assert sibling.result(PATIENCE) == i
        assert victim.done()
    assert root.result() is True


def test_it_keeps_neither_its_dependencies_nor_their_results(graph):
    class Big:
        part = "part"

    for outcome in "success", "failure", "cancel":
        a = Future()
        waiting = graph.submit([a], lambda big: big.part if outcome == "success" else 1 / 0)  # noqa: B023
        if outcome == "cancel":
            waiting.cancel()
        big = Big()
        a.set_result(big)
        future_ref, big_ref = weakref.ref(a), weakref.ref(big)
        assert waiting.done()
        if outcome == "failure":
            waiting.exception().__traceback__ = None  # the user's own frame may hold what the user's code held
        del a, big
        gc.collect()
        assert (future_ref(), big_ref()) == (None, None), outcome


@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_a_chain_of_any_length_completes(graph, length, outcome):
    root = last = Future()
    chain = []
    for _ in range(length):
        last = graph.submit([last])
        chain.append(last)
    if outcome == "success":
        root.set_result(1)
        assert last.result(0) is None
    else:
        error = ValueError("first link")
        root.set_exception(error)
        assert last.exception(0) is error
    assert all(future.done() for future in chain)


def test_a_chain_of_any_length_cancelled_in_the_middle_completes(graph, length):
    root = last = Future()
    chain = []
    for _ in range(length):
        last = graph.submit([last])
        chain.append(last)
    chain[length // 2].cancel()
    assert last.done()
    assert not chain[0].done()
    root.set_result(None)
    assert all(future.done() for future in chain)
    assert [i for i, future in enumerate(chain) if future.cancelled()] == [length // 2]


def test_fan_in_of_any_width(graph, length):
    futures = [Future() for _ in range(length)]
    total = graph.submit(futures, lambda *xs: sum(xs))
    for i, future in enumerate(futures):
        assert not total.done()
        future.set_result(i)
    assert total.result(0) == sum(range(length))


def test_20_layers_of_100_all_to_all(graph):
    layer = roots = [Future() for _ in range(100)]
    for _ in range(20):
        layer = [graph.submit(layer, lambda *xs: sum(xs) % 1000) for _ in range(100)]
    for future in roots:
        future.set_result(1)
    expected = 100
    for _ in range(19):
        expected = expected * 100 % 1000
    assert [future.result(0) for future in layer] == [expected] * 100


def test_submits_from_many_threads_at_once(graph):
    root = Future()
    with ThreadPoolExecutor(8) as pool:
        parts = [pool.submit(lambda: [graph.submit([root], lambda x: x) for _ in range(500)]) for _ in range(8)]
        root.set_result(7)
        assert all(f.result(PATIENCE) == 7 for part in parts for f in part.result(PATIENCE))


def test_dependencies_that_finish_in_many_threads_at_once(graph):
    for _ in range(20):
        futures = [Future() for _ in range(80)]
        total = graph.submit(futures, lambda *xs: sum(xs))
        with ThreadPoolExecutor(8) as pool:
            pool.map(lambda future: future.set_result(1), futures)
        assert total.result(PATIENCE) == 80


def test_a_submit_from_a_done_callback(graph):
    root, made = Future(), []
    graph.submit([root]).add_done_callback(lambda f: made.append(graph.submit([f, root], lambda *xs: xs)))
    root.set_result("r")
    assert made[0].result(0) == (None, "r")


def test_submit_starts_no_thread(graph):
    before = threading.active_count()
    graph.submit([Future()])
    assert threading.active_count() == before


def test_inside_a_callback_one_that_can_be_done_by_now_is_done_when_asked(graph):
    root, inner, seen = Future(), Future(), []
    waiting = graph.submit([inner], lambda x: x + 1)

    def ask(_):
        inner.set_result(5)
        seen.append(waiting.result(PATIENCE))

    graph.submit([root]).add_done_callback(ask)
    root.set_result(None)
    assert seen == [6]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_a_callback_that_wants_to_end_the_thread_costs_no_sibling_its_end(graph, error):
    root = Future()
    siblings = [graph.submit([root]) for _ in range(5)]

    def leave(_):
        raise error

    for sibling in siblings:
        sibling.add_done_callback(leave)
    outer = Future()
    graph.submit([outer]).add_done_callback(lambda _: root.set_result(None))
    with pytest.raises(type(error)):
        outer.set_result(None)
    assert all(sibling.done() for sibling in siblings)


def test_a_dependency_of_odd_make_fails_the_future_instead_of_hanging_it(graph):
    class Odd(Future):
        def exception(self, timeout=None):
            raise RuntimeError("odd future")

    odd = Odd()
    waiting = graph.submit([odd])
    odd.set_result(None)
    assert str(waiting.exception(0)) == "odd future"
