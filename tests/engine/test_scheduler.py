import asyncio
import gc
import itertools
import logging
import threading
import weakref
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
    wait,
)

import pytest

from hand import PATIENCE, Hand, cancelled, done, settled
from weft.errors import (
    ArgumentError,
    ChoiceError,
    ClosedError,
    DeadlockError,
    DependencyNeverSatisfied,
)
from weft.futures import Limit, Scheduler, State, WaitGraph


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def scheduler(hand):
    with Scheduler(hand) as scheduler:
        yield scheduler


class TestSubmit:
    def test_calls_the_function_with_args_and_kwargs_and_takes_over_the_result(self):
        with ThreadPoolExecutor() as pool, Scheduler(pool.submit) as scheduler:
            assert scheduler.submit([int, "ff"], {"base": 16}).result(PATIENCE) == 255

    def test_args_and_kwargs_may_be_left_out(self):
        with Scheduler(lambda *args, **kwargs: done((args, kwargs))) as scheduler:
            assert scheduler.submit().result(PATIENCE) == ((), {})

    def test_later_changes_to_args_and_kwargs_are_not_seen(self, hand):
        root, args, kwargs = Future(), [1], {"a": 1}
        with Scheduler(lambda *a, **k: done((a, k))) as scheduler:
            task = scheduler.submit(args, kwargs, [root])
            args.append(2)
            kwargs["b"] = 2
            root.set_result(None)
            assert task.result(PATIENCE) == ((1,), {"a": 1})

    def test_a_process_pool_works_as_well(self):
        with ProcessPoolExecutor(1) as pool, Scheduler(pool.submit) as scheduler:
            a = scheduler.submit([pow, 2, 5])
            b = scheduler.submit([abs, -1], dependencies=[a])
            assert (a.result(PATIENCE), b.result(PATIENCE)) == (32, 1)

    def test_runs_only_once_all_dependencies_are_done(self, hand, scheduler):
        a, b = Future(), Future()
        scheduler.submit(["task"], dependencies=[a, b])
        a.set_result(1)
        settled(scheduler)
        assert hand.calls == []
        b.set_result(2)
        assert hand.finish() == ("task",)

    def test_a_dependency_may_be_done_already_or_given_twice(self, hand, scheduler):
        a = done(1)
        scheduler.submit(["task"], dependencies=[a, a])
        assert hand.finish() == ("task",)
        pending = Future()
        scheduler.submit(["twice"], dependencies=[pending, pending, a])
        pending.set_result(None)
        assert hand.finish() == ("twice",)

    def test_the_function_is_always_called_from_one_thread_that_is_not_the_callers(self):
        threads = set()

        def submit():
            threads.add(threading.current_thread())
            return done()

        with Scheduler(submit) as scheduler:
            root = Future()
            tasks = [scheduler.submit() for _ in range(10)]
            tasks += [scheduler.submit(dependencies=[root, tasks[0]]) for _ in range(10)]
            other = threading.Thread(target=lambda: tasks.append(scheduler.submit()))
            other.start()
            other.join()
            root.set_result(None)
            wait(tasks, PATIENCE)
        assert len(threads) == 1
        assert threads.isdisjoint({threading.current_thread(), other})

    def test_it_may_return_a_future_that_is_done_already(self):
        with Scheduler(lambda: done("early")) as scheduler:
            assert scheduler.submit().result(PATIENCE) == "early"

    def test_it_may_return_the_same_future_several_times(self):
        shared = Future()
        with Scheduler(lambda: shared) as scheduler:
            tasks = [scheduler.submit() for _ in range(5)]
            shared.set_result("shared")
            assert [task.result(PATIENCE) for task in tasks] == ["shared"] * 5

    def test_it_may_return_another_scheduled_future(self):
        with Scheduler(lambda future=None: future or done(9)) as scheduler:
            first = scheduler.submit()
            assert scheduler.submit([first]).result(PATIENCE) == 9

    def test_a_chain_of_returned_scheduled_futures_completes(self):
        root = Future()
        with Scheduler(lambda future: future) as scheduler:
            last = scheduler.submit([root])
            for _ in range(5_000):
                last = scheduler.submit([last])
            root.set_result("through")
            assert last.result(PATIENCE) == "through"

    def test_a_task_has_the_name_it_was_given_or_a_number(self, hand, scheduler):
        assert scheduler.submit(name="fit").name == "fit"
        assert scheduler.submit().name.startswith("task-")
        hand.finish()
        hand.finish()


class TestFailure:
    def test_a_failed_dependency_fails_the_task_with_the_same_object_down_the_graph(self, hand, scheduler):
        error = ValueError("root cause")
        a = scheduler.submit(["a"])
        b = scheduler.submit(["b"], dependencies=[a])
        c = scheduler.submit(["c"], dependencies=[done(1), b])
        hand.next()[1].set_exception(error)
        assert c.exception(PATIENCE) is error
        assert b.exception(PATIENCE) is error
        assert hand.calls == [("a",)]
        assert (a.state, b.state, c.state) == (State.FAILED, State.UNREACHABLE, State.UNREACHABLE)

    def test_it_does_not_wait_for_the_other_dependencies(self, hand, scheduler):
        task = scheduler.submit(dependencies=[Future(), done(error=ValueError("x"))])
        assert isinstance(task.exception(PATIENCE), ValueError)

    @pytest.mark.parametrize("error", [ValueError("x"), BrokenExecutor("pool"), KeyboardInterrupt(), SystemExit(1)])
    def test_a_submit_function_that_raises_fails_that_one_only(self, error):
        def submit(bad):
            if bad:
                raise error
            return done("good")

        with Scheduler(submit) as scheduler:
            bad = scheduler.submit([True])
            good = [scheduler.submit([False]) for _ in range(3)]
            assert bad.exception(PATIENCE) is error
            assert bad.state is State.FAILED
            assert [task.result(PATIENCE) for task in good] == ["good"] * 3

    @pytest.mark.parametrize("thing", [None, 3, "future", asyncio.Event])
    def test_a_submit_function_that_returns_no_future_fails_that_one_only(self, thing):
        with Scheduler(lambda x: x) as scheduler:
            bad = scheduler.submit([thing])
            good = scheduler.submit([done(1)])
            with pytest.raises(TypeError, match=r"returned .* for 'task-1'; it must return a Future"):
                bad.result(PATIENCE)
            assert good.result(PATIENCE) == 1

    def test_an_executor_that_was_shut_down_fails_the_task(self):
        pool = ThreadPoolExecutor()
        pool.shutdown()
        with Scheduler(pool.submit) as scheduler:
            with pytest.raises(RuntimeError, match="after shutdown"):
                scheduler.submit([print]).result(PATIENCE)
            assert scheduler.submit([print]).exception(PATIENCE) is not None

    def test_a_process_pool_that_broke_fails_its_tasks_and_hangs_none(self):
        import os

        with ProcessPoolExecutor(1) as pool, Scheduler(pool.submit) as scheduler:
            dead = scheduler.submit([os._exit, 1])
            after = scheduler.submit([abs, -1], dependencies=[dead])
            later = scheduler.submit([abs, -1], dependencies=[after], condition="any")
            for task in dead, after, later:
                assert isinstance(task.exception(PATIENCE), BrokenExecutor)

    def test_the_work_is_cancelled_so_the_task_is(self, hand, scheduler):
        task = scheduler.submit()
        hand.next()[1].cancel()
        with pytest.raises(CancelledError):
            task.result(PATIENCE)
        assert task.state is State.CANCELLED

    def test_waiting_in_the_schedulers_own_thread_is_refused_instead_of_hanging(self):
        root = Future()
        with Scheduler(lambda f: done(f.result())) as scheduler:
            never = scheduler.submit([done()], dependencies=[root])
            with pytest.raises(DeadlockError, match="would never end"):
                scheduler.submit([never]).result(PATIENCE)
            root.set_result(None)

    def test_a_foreign_future_that_cannot_be_asked_fails_its_dependents_and_hangs_none(self, hand, scheduler):
        class Odd(Future):
            def exception(self, timeout=None):
                raise RuntimeError("odd future")

        odd = Odd()
        waits = [scheduler.submit(["never"], dependencies=[odd]) for _ in range(3)]
        after = scheduler.submit(["after"], dependencies=[odd], condition="any")
        odd.set_result(None)
        late = scheduler.submit(["late"], dependencies=[odd])
        for task in (*waits, late):
            assert str(task.exception(PATIENCE)) == "odd future"
        assert hand.finish(1) == ("after",)
        assert after.result(PATIENCE) == 1

    def test_a_work_future_that_cannot_be_watched_fails_its_task_and_hangs_none(self):
        class Odd(Future):
            def add_done_callback(self, fn):
                raise RuntimeError("odd work")

        with Scheduler(lambda odd: Odd() if odd else done(1)) as scheduler:
            bad, good = scheduler.submit([True]), scheduler.submit([False])
            assert str(bad.exception(PATIENCE)) == "odd work"
            assert good.result(PATIENCE) == 1

    def test_a_work_future_that_cannot_be_cancelled_or_asked_hangs_nothing(self, caplog):
        class Odd(Future):
            def cancel(self):
                raise RuntimeError("odd work")

            def exception(self, timeout=None):
                raise RuntimeError("odd outcome")

        works = [Odd(), Odd()]
        with Scheduler(lambda i: works[i] if i < 2 else done(i)) as scheduler:
            cancelled_task, odd = scheduler.submit([0]), scheduler.submit([1])
            after = [scheduler.submit([5], dependencies=[task], condition="any") for task in (cancelled_task, odd)]
            settled(scheduler)
            assert cancelled_task.cancel()
            for work in works:
                work.set_result(None)
            assert str(odd.exception(PATIENCE)) == "odd outcome"
            assert [task.result(PATIENCE) for task in after] == [5, 5]
        assert "odd work" in caplog.text

    def test_a_dependency_that_cannot_be_hashed_fails_its_task(self, scheduler):
        class Odd(Future):
            __hash__ = None

        assert isinstance(scheduler.submit(dependencies=[Odd()]).exception(PATIENCE), TypeError)

    def test_a_callback_that_exits_among_failing_siblings_costs_none_of_them_its_end(self, scheduler):
        root = Future()
        tasks = [scheduler.submit(dependencies=[root]) for _ in range(10)]

        def leave(_):
            raise SystemExit(1)

        for task in tasks:
            task.add_done_callback(leave)
        root.set_exception(ValueError("x"))
        for task in tasks:
            assert isinstance(task.exception(PATIENCE), ValueError)

    def test_returning_ones_own_future_is_refused_instead_of_hanging(self):
        box = []
        root = Future()
        with Scheduler(lambda: box[0]) as scheduler:
            box.append(scheduler.submit(dependencies=[root]))
            root.set_result(None)
            assert isinstance(box[0].exception(PATIENCE), DeadlockError)

    def test_a_done_callback_that_raises_stops_nothing(self, hand, scheduler, caplog):
        task = scheduler.submit(["a"])
        after = scheduler.submit(["b"], dependencies=[task])

        def broken(_):
            raise SystemExit(2)

        task.add_done_callback(lambda _: 1 / 0)
        task.add_done_callback(broken)
        hand.finish()
        assert hand.finish() == ("b",)
        after.result(PATIENCE)
        assert "ZeroDivisionError" in caplog.text


class TestBadInput:
    def test_a_dependency_that_is_no_future(self, scheduler):
        with pytest.raises(ArgumentError, match=r"dependencies\[0\] must be a concurrent.futures.Future, got int 3"):
            scheduler.submit(dependencies=[3])

    def test_args_like_those_of_an_executor(self, scheduler):
        with pytest.raises(ArgumentError, match=r"args must be a list .* write scheduler.submit"):
            scheduler.submit(print, "x")

    def test_a_string_as_args(self, scheduler):
        with pytest.raises(ArgumentError, match="args must be a list"):
            scheduler.submit("abc")

    def test_kwargs_that_are_no_mapping(self, scheduler):
        with pytest.raises(ArgumentError, match="kwargs must be a mapping"):
            scheduler.submit([], [1])

    def test_an_unknown_condition_is_told_the_nearest(self, scheduler):
        with pytest.raises(ChoiceError, match="did you mean 'success'"):
            scheduler.submit(dependencies=[Future()], condition="sucess")
        with pytest.raises(ChoiceError, match="'value', 'success', 'failure', 'any'"):
            scheduler.submit(dependencies={Future(): "later"})
        with pytest.raises(ChoiceError, match="condition must be one of"):
            scheduler.submit(condition="later")

    def test_an_unknown_wait_for(self, scheduler):
        with pytest.raises(ChoiceError, match="wait_for must be one of 'all', 'any', got 'some'"):
            scheduler.submit(wait_for="some")

    def test_a_mapping_as_args(self, scheduler):
        with pytest.raises(ArgumentError, match="args must be a list"):
            scheduler.submit({"base": 16})

    def test_gates_and_observers_in_the_wrong_form(self, scheduler):
        limit = Limit(1)
        with pytest.raises(ArgumentError, match=r"write gates=\[Limit\(\)\]"):
            Scheduler(done, gates=limit)
        with pytest.raises(ArgumentError, match="given twice"):
            Scheduler(done, gates=[limit, limit])
        with pytest.raises(ArgumentError, match="such as Limit"):
            Scheduler(done, gates=[limit, 4])
        Scheduler(done, gates=[limit])  # a refused call has not bound it
        with pytest.raises(ArgumentError, match=r"write observers=\[function\]"):
            Scheduler(done, observers=print)
        with pytest.raises(ArgumentError, match="gates must say what is asked of which gate"):
            scheduler.submit(gates=[limit])

    def test_an_executor_instead_of_its_submit(self):
        with ThreadPoolExecutor() as pool, pytest.raises(ArgumentError, match=r"Scheduler\(executor.submit\)"):
            Scheduler(pool)

    def test_something_that_is_no_gate(self):
        with pytest.raises(ArgumentError, match=r"such as Limit\(4\)"):
            Scheduler(done, gates=[4])

    def test_a_gate_of_another_scheduler(self, scheduler):
        gate = Limit(1)
        Scheduler(done, gates=[gate])
        with pytest.raises(ArgumentError, match="belongs to another scheduler"):
            Scheduler(done, gates=[gate])
        with pytest.raises(ArgumentError, match="is not a gate of"):
            scheduler.submit(gates={gate: 1})

    def test_nothing_is_started_by_a_refused_call(self, hand):
        with Scheduler(hand) as scheduler, pytest.raises(TypeError):
            scheduler.submit(dependencies=[3])
        assert hand.calls == []


class TestConditions:
    def test_success_of_a_failed_one_is_unreachable_with_the_root_cause_chained(self, hand, scheduler):
        error = ValueError("root cause")
        a = scheduler.submit(name="a")
        b = scheduler.submit(dependencies=[a], condition="success", name="b")
        c = scheduler.submit(dependencies=[b], condition="success", name="c")
        hand.next()[1].set_exception(error)
        for task in b, c:
            assert isinstance(task.exception(PATIENCE), DependencyNeverSatisfied)
            assert task.exception().__cause__ is error
            assert task.state is State.UNREACHABLE
        assert str(b.exception()) == "'b' needs the success of 'a', which failed"
        assert str(c.exception()) == "'c' needs the success of 'b', which was never reached"

    def test_success_of_a_cancelled_one_is_unreachable(self, scheduler):
        task = scheduler.submit(dependencies=[cancelled()], condition="success", name="t")
        assert str(task.exception(PATIENCE)) == "'t' needs the success of a Future, which was cancelled"

    def test_success_of_a_successful_one_runs(self, hand, scheduler):
        scheduler.submit(["go"], dependencies=[done(1)], condition="success")
        assert hand.finish() == ("go",)

    def test_failure_runs_after_a_failure_only(self, hand, scheduler):
        cleanup = scheduler.submit(["cleanup"], dependencies=[done(error=ValueError())], condition="failure")
        hand.finish("clean")
        assert cleanup.result(PATIENCE) == "clean"
        for other in done(1), cancelled():
            idle = scheduler.submit(dependencies=[other], condition="failure")
            assert isinstance(idle.exception(PATIENCE), DependencyNeverSatisfied)

    def test_what_was_never_reached_did_not_fail(self, scheduler):
        idle = scheduler.submit(dependencies=[done(1)], condition="failure")
        after = scheduler.submit(dependencies=[idle], condition="failure")
        assert "was never reached" in str(after.exception(PATIENCE))

    @pytest.mark.parametrize("dependency", [done(1), done(error=ValueError()), cancelled()])
    def test_any_runs_after_every_end(self, hand, scheduler, dependency):
        scheduler.submit(["go"], dependencies=[dependency], condition="any")
        assert hand.finish() == ("go",)

    def test_each_edge_may_have_its_own(self, hand, scheduler):
        scheduler.submit(["go"], dependencies={done(1): "success", done(error=ValueError()): "failure"})
        assert hand.finish() == ("go",)

    def test_a_healthy_branch_goes_on(self, hand, scheduler):
        bad = scheduler.submit(["bad"])
        good = scheduler.submit(["good"])
        scheduler.submit(["after bad"], dependencies=[bad], condition="success")
        after_good = scheduler.submit(["after good"], dependencies=[good], condition="success")
        hand.next()[1].set_exception(ValueError())
        hand.finish()
        assert hand.finish("fine") == ("after good",)
        assert after_good.result(PATIENCE) == "fine"

    def test_wait_for_any_starts_with_the_first_that_meets_its_condition(self, hand, scheduler):
        a, b = Future(), Future()
        scheduler.submit(["go"], dependencies=[a, b], condition="success", wait_for="any")
        a.set_exception(ValueError())
        settled(scheduler)
        assert hand.calls == []
        b.set_result(1)
        assert hand.finish() == ("go",)

    def test_wait_for_any_is_unreachable_once_none_can(self, scheduler):
        a, b = Future(), Future()
        task = scheduler.submit(dependencies=[a, b], condition="success", wait_for="any")
        a.set_exception(ValueError("a"))
        b.cancel()
        b.set_running_or_notify_cancel()
        assert isinstance(task.exception(PATIENCE), DependencyNeverSatisfied)

    def test_wait_for_any_starts_once_however_many_come(self, hand, scheduler):
        futures = [Future() for _ in range(5)]
        task = scheduler.submit(["go"], dependencies=futures, wait_for="any")
        for future in futures:
            future.set_result(None)
        hand.finish()
        task.result(PATIENCE)
        assert hand.calls == [("go",)]


class TestCancel:
    def test_a_waiting_task_never_runs(self, hand):
        root = Future()
        with Scheduler(hand) as scheduler:
            task = scheduler.submit(dependencies=[root])
            assert task.cancel()
            root.set_result(None)
        assert hand.calls == []
        assert (task.cancelled(), task.state) == (True, State.CANCELLED)

    def test_submitted_the_work_is_cancelled_too(self, hand, scheduler):
        task = scheduler.submit()
        _, work = hand.next()
        settled(scheduler)
        assert task.cancel()
        assert work.cancelled()

    def test_running_work_is_left_alone_and_its_late_result_dropped_without_a_word(self, hand, scheduler, caplog):
        with caplog.at_level(logging.DEBUG):
            task = scheduler.submit()
            _, work = hand.next()
            work.set_running_or_notify_cancel()
            settled(scheduler)
            assert task.running()
            assert task.cancel()
            assert not task.running()
            assert not work.cancelled()
            work.set_result("late")
            settled(scheduler)
        assert task.cancelled()
        assert caplog.records == []

    def test_dependents_see_a_cancelled_dependency_and_may_look_at_it(self):
        root = Future()
        with Scheduler(lambda *deps: done([d.cancelled() for d in deps])) as scheduler:
            task = scheduler.submit(dependencies=[root])
            after = scheduler.submit([task], dependencies=[task])
            task.cancel()
            assert after.result(PATIENCE) == [True]

    def test_asking_a_cancelled_dependency_for_its_result_hits_that_task_alone(self):
        with Scheduler(lambda d, ask: done(d.result() if ask else "did not ask")) as scheduler:
            gone = cancelled()
            asks = scheduler.submit([gone, True], dependencies=[gone])
            does_not = scheduler.submit([gone, False], dependencies=[gone])
            assert isinstance(asks.exception(PATIENCE), CancelledError)
            assert does_not.result(PATIENCE) == "did not ask"

    def test_too_late_is_told(self, hand, scheduler):
        task = scheduler.submit()
        hand.finish(1)
        assert task.result(PATIENCE) == 1
        assert not task.cancel()

    def test_of_tasks_that_share_their_work_only_one_is_cancelled(self):
        shared = Future()
        with Scheduler(lambda: shared) as scheduler:
            a, b = scheduler.submit(), scheduler.submit()
            settled(scheduler)
            assert a.cancel()
            assert not shared.cancelled()
            shared.set_result(1)
            assert b.result(PATIENCE) == 1

    def test_while_the_submit_function_is_busy_the_work_is_still_cancelled(self):
        inside, go_on, work = threading.Event(), threading.Event(), Future()

        def submit():
            inside.set()
            assert go_on.wait(PATIENCE)
            return work

        with Scheduler(submit) as scheduler:
            task = scheduler.submit()
            assert inside.wait(PATIENCE)
            assert task.cancel()
            go_on.set()
        settled(scheduler)
        assert work.cancelled()

    @pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
    def test_a_callback_that_wants_to_end_the_thread_costs_nobody_anything(self, hand, scheduler, error):
        def leave(_):
            raise error

        root = Future()
        task = scheduler.submit(dependencies=[root])
        after = scheduler.submit(["after"], dependencies=[task])
        task.add_done_callback(leave)
        with pytest.raises(type(error)):
            task.cancel()
        assert hand.finish(1) == ("after",)
        assert after.result(PATIENCE) == 1

    def test_an_interrupt_in_the_middle_of_a_cancel_hangs_nothing(self, hand):
        root = Future()
        with Scheduler(hand) as scheduler:
            task = scheduler.submit(dependencies=[root])
            after = scheduler.submit(["after"], dependencies=[task])
            assert task._decide()  # as far as the interrupted one got
            root.set_result(None)
            assert hand.finish() == ("after",)
            after.result(PATIENCE)
            assert task.cancelled()

    def test_work_that_all_its_sharers_have_cancelled_is_cancelled(self):
        shared = Future()
        with Scheduler(lambda: shared) as scheduler:
            a, b = scheduler.submit(), scheduler.submit()
            settled(scheduler)
            a.cancel()
            b.cancel()
            settled(scheduler)
            assert shared.cancelled()

    def test_a_chain_of_works_is_cancelled_without_recursion(self):
        root = Future()
        with Scheduler(lambda future: future) as scheduler:
            chain = [scheduler.submit([root])]
            for _ in range(5_000):
                chain.append(scheduler.submit([chain[-1]]))
            settled(scheduler)
            assert not chain[-1].running()
            assert chain[-1].cancel()
            assert wait(chain, PATIENCE).not_done == set()
            assert root.cancelled()

    def test_upstream_goes_too_when_asked_but_only_what_nobody_else_needs(self, hand, scheduler):
        root = Future()
        own = scheduler.submit(dependencies=[root])
        deeper = scheduler.submit(dependencies=[own])
        shared = scheduler.submit(dependencies=[root])
        other = scheduler.submit(dependencies=[shared])
        last = scheduler.submit(dependencies=[deeper, shared])
        assert last.cancel(upstream=True)
        wait([own, deeper], PATIENCE)
        assert [t.cancelled() for t in (own, deeper, shared, other)] == [True, True, False, False]
        assert not root.cancelled()
        root.set_result(None)
        hand.finish()
        hand.finish()

    @pytest.mark.parametrize("repetition", range(200))
    def test_among_siblings_harms_nobody(self, repetition):
        with ThreadPoolExecutor(2) as pool, Scheduler(pool.submit) as scheduler:
            go = threading.Event()
            root = scheduler.submit([go.wait, PATIENCE])
            siblings = [scheduler.submit([abs, -i], dependencies=[root]) for i in range(10)]
            victim = siblings[repetition % 10]
            canceller = threading.Thread(target=victim.cancel)
            canceller.start()
            go.set()
            for i, sibling in enumerate(siblings):
                if sibling is not victim:
                    assert sibling.result(PATIENCE) == i
            canceller.join(PATIENCE)
            assert victim.done()
            assert root.result() is True


class TestRunning:
    def test_true_while_the_work_runs_and_not_before_or_after(self, hand, scheduler):
        root = Future()
        task = scheduler.submit(dependencies=[root])
        assert not task.running()
        root.set_result(None)
        _, work = hand.next()
        settled(scheduler)
        assert not task.running()
        assert task.state is State.RUNNING
        work.set_running_or_notify_cancel()
        assert task.running()
        work.set_result(None)
        task.result(PATIENCE)
        assert not task.running()


class TestShutdown:
    def test_no_submit_afterwards(self, hand):
        scheduler = Scheduler(hand, name="pipeline")
        scheduler.shutdown()
        with pytest.raises(RuntimeError, match="cannot submit: pipeline has been shut down"):
            scheduler.submit()
        with pytest.raises(ClosedError):
            scheduler.submit()

    def test_returns_when_everything_is_submitted_not_when_it_is_done(self, hand):
        root = Future()
        scheduler = Scheduler(hand)
        task = scheduler.submit(dependencies=[root])
        closer = threading.Thread(target=scheduler.shutdown)
        closer.start()
        root.set_result(None)
        closer.join(PATIENCE)
        assert not closer.is_alive()
        assert hand.calls == [()]
        assert not task.done()
        hand.finish("done")
        assert task.result(PATIENCE) == "done"

    def test_waits_for_what_waits(self, hand):
        root = Future()
        scheduler = Scheduler(hand)
        scheduler.submit(dependencies=[root])
        closer = threading.Thread(target=scheduler.shutdown)
        closer.start()
        settled(scheduler)
        assert closer.is_alive()
        root.set_result(None)
        closer.join(PATIENCE)
        assert not closer.is_alive()
        hand.finish()

    def test_is_idempotent_and_works_without_any_task(self, hand):
        scheduler = Scheduler(hand)
        scheduler.shutdown()
        scheduler.shutdown()
        scheduler.shutdown(wait=False, cancel_futures=True)

    def test_without_waiting_it_returns_at_once_and_all_is_done_later(self, hand):
        root = Future()
        scheduler = Scheduler(hand)
        task = scheduler.submit(dependencies=[root])
        scheduler.shutdown(wait=False)
        root.set_result(None)
        hand.finish(1)
        assert task.result(PATIENCE) == 1

    def test_cancel_futures_cancels_what_has_not_started(self, hand):
        scheduler = Scheduler(hand)
        running, queued = scheduler.submit(["running"]), scheduler.submit(["queued"])
        waiting = scheduler.submit(dependencies=[Future()])
        _, work = hand.next()
        work.set_running_or_notify_cancel()
        hand.next()
        settled(scheduler)
        scheduler.shutdown(cancel_futures=True)
        work.set_result("finished")
        assert running.result(PATIENCE) == "finished"
        for task in queued, waiting:
            with pytest.raises(CancelledError):
                task.result(PATIENCE)

    def test_from_a_done_callback_does_not_hang(self, hand):
        scheduler = Scheduler(hand)
        called = threading.Event()

        def close(_):
            scheduler.shutdown()
            called.set()

        scheduler.submit().add_done_callback(close)
        hand.finish()
        assert called.wait(PATIENCE)

    def test_an_interrupt_in_the_with_block_cancels_what_waits(self, hand, caplog):
        with pytest.raises(KeyboardInterrupt), Scheduler(hand) as scheduler:
            task = scheduler.submit(dependencies=[Future()])
            settled(scheduler)
            raise KeyboardInterrupt
        assert task.cancelled()
        assert "interrupted: 1 task of" in caplog.text

    def test_another_exception_in_the_with_block_cancels_nothing(self, hand):
        root = Future()
        with pytest.raises(ValueError), Scheduler(hand) as scheduler:
            task = scheduler.submit(dependencies=[root])
            root.set_result(None)
            raise ValueError
        hand.finish(3)
        assert task.result(PATIENCE) == 3

    @pytest.mark.parametrize("repetition", range(30))
    def test_racing_with_completions_loses_nothing(self, repetition):
        with ThreadPoolExecutor(4) as pool:
            scheduler = Scheduler(pool.submit)
            tasks = [scheduler.submit([abs, 1])]
            tasks += [scheduler.submit([abs, i], dependencies=[tasks[-1]]) for i in range(10)]
            if repetition % 2:
                tasks[5].cancel()
            closers = [threading.Thread(target=scheduler.shutdown) for _ in range(3)]
            for closer in closers:
                closer.start()
            for closer in closers:
                closer.join(PATIENCE)
            assert wait(tasks, PATIENCE).not_done == set()

    def test_racing_with_submits_each_task_is_either_refused_or_done(self):
        for _ in range(20):
            accepted, refused = [], []
            with ThreadPoolExecutor(2) as pool:
                scheduler = Scheduler(pool.submit)

                def flood(scheduler=scheduler, accepted=accepted, refused=refused):
                    for i in range(200):
                        try:
                            accepted.append(scheduler.submit([abs, i]))
                        except ClosedError:
                            refused.append(i)

                threads = [threading.Thread(target=flood) for _ in range(3)]
                for thread in threads:
                    thread.start()
                scheduler.shutdown()
                for thread in threads:
                    thread.join(PATIENCE)
                assert len(accepted) + len(refused) == 600
                assert wait(accepted, PATIENCE).not_done == set()

    def test_its_thread_ends(self, hand):
        with Scheduler(hand) as scheduler:
            scheduler.submit()
            hand.finish()
        thread = scheduler._dispatcher.thread
        thread.join(PATIENCE)
        assert not thread.is_alive()

    def test_an_idle_thread_ends_and_comes_back(self, hand, monkeypatch):
        monkeypatch.setattr("weft.engine.actor.IDLE", 0.01)
        with Scheduler(hand) as scheduler:
            for _ in range(3):
                task = scheduler.submit()
                thread = scheduler._dispatcher.thread
                hand.finish("back")
                assert task.result(PATIENCE) == "back"
                if thread is not None:
                    thread.join(PATIENCE)
                    assert not thread.is_alive()

    def test_an_object_that_owns_its_scheduler_can_go(self, monkeypatch):
        monkeypatch.setattr("weft.engine.actor.IDLE", 0.01)

        class Owner:
            def __init__(self):
                self.scheduler = Scheduler(self.submit)

            def submit(self):
                return done(1)

        owner = Owner()
        task = owner.scheduler.submit()
        assert task.result(PATIENCE) == 1
        thread, reference = owner.scheduler._dispatcher.thread, weakref.ref(owner)
        del owner, task
        if thread is not None:
            thread.join(PATIENCE)
        gc.collect()
        assert reference() is None

    def test_a_thread_that_cannot_start_is_tried_again(self, hand, monkeypatch):
        def cannot(self):
            raise RuntimeError("can't start new thread")

        with Scheduler(hand) as scheduler:
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", cannot)
                with pytest.raises(RuntimeError, match="can't start"):
                    scheduler.submit()
            scheduler.submit(["works"])
            assert hand.finish() == ("works",)

    def test_a_scheduler_that_is_dropped_still_runs_what_it_has_and_its_thread_ends(self, hand):
        scheduler = Scheduler(hand)
        root = Future()
        task = scheduler.submit(["kept"], dependencies=[root])
        thread, reference = scheduler._dispatcher.thread, weakref.ref(scheduler)
        del scheduler
        gc.collect()
        assert reference() is None
        root.set_result(None)
        hand.finish("kept")
        assert task.result(PATIENCE) == "kept"
        thread.join(PATIENCE)
        assert not thread.is_alive()


class TestMemory:
    def test_a_failed_result_that_was_asked_for_keeps_no_future(self):
        error = ValueError("kept")
        with Scheduler(lambda: done(error=error)) as scheduler:
            task = scheduler.submit()
            with pytest.raises(ValueError):
                task.result(PATIENCE)
            with pytest.raises(ValueError):
                task.result(PATIENCE)
            settled(scheduler)
            reference = weakref.ref(task)
            gc.disable()
            try:
                del task
                assert reference() is None
            finally:
                gc.enable()

    def test_a_done_task_keeps_no_arguments_and_no_dependencies(self):
        class Big:
            pass

        big, dependency = Big(), done(Big())
        references = [weakref.ref(big), weakref.ref(dependency), weakref.ref(dependency.result())]
        with Scheduler(lambda *_: done(None)) as scheduler:
            task = scheduler.submit([big], {}, [dependency])
            task.result(PATIENCE)
            settled(scheduler)
            del big, dependency
            gc.collect()
            assert [reference() for reference in references] == [None] * 3

    def test_a_long_lived_dependency_does_not_collect_those_that_were_cancelled(self, hand):
        root = Future()
        with Scheduler(hand) as scheduler:
            references = []
            for _ in range(1_000):
                task = scheduler.submit(dependencies=[root])
                task.cancel()
                references.append(weakref.ref(task))
                settled(scheduler)
            last = scheduler.submit(["last"], dependencies=[root])
            del task
            gc.collect()
            assert sum(reference() is not None for reference in references) < 100
            root.set_result(None)
            assert hand.finish(1) == ("last",)
            assert last.result(PATIENCE) == 1

    def test_a_submitted_task_keeps_its_arguments_no_longer(self):
        class Big:
            pass

        big, work = Big(), Future()
        reference = weakref.ref(big)
        with Scheduler(lambda _: work) as scheduler:
            task = scheduler.submit([big])
            settled(scheduler)
            del big
            gc.collect()
            assert reference() is None
            work.set_result(1)
            assert task.result(PATIENCE) == 1

    def test_an_idle_scheduler_keeps_no_result(self):
        class Big:
            pass

        with Scheduler(lambda: done(Big())) as scheduler:
            task = scheduler.submit()
            reference = weakref.ref(task.result(PATIENCE))
            settled(scheduler)
            del task
            gc.collect()
            assert reference() is None


class TestAtAnyLength:
    def make_chain(self, scheduler, root, length):
        chain = [scheduler.submit(dependencies=[root])]
        for _ in range(length - 1):
            chain.append(scheduler.submit(dependencies=[chain[-1]]))
        return chain

    def test_a_chain_that_succeeds(self, length):
        numbers = itertools.count()
        root = Future()
        with Scheduler(lambda: done(next(numbers))) as scheduler:
            chain = self.make_chain(scheduler, root, length)
            root.set_result(None)
            assert [task.result(PATIENCE) for task in chain] == list(range(length))

    def test_a_chain_that_fails_in_its_first_link(self, length):
        error = ValueError("first link")
        root = Future()
        with Scheduler(lambda: done(error=error)) as scheduler:
            chain = self.make_chain(scheduler, root, length)
            root.set_result(None)
            assert all(task.exception(PATIENCE) is error for task in chain)

    def test_a_chain_that_is_cancelled_in_the_middle(self, length):
        root = Future()
        with Scheduler(lambda: done(None)) as scheduler:
            chain = self.make_chain(scheduler, root, length)
            chain[length // 2].cancel()
            root.set_result(None)
            assert chain[-1].result(PATIENCE) is None
            assert chain[length // 2 - 1].result(PATIENCE) is None
            assert [i for i, task in enumerate(chain) if task.cancelled()] == [length // 2]

    def test_a_chain_with_success_edges_that_fails_in_its_first_link(self, length):
        error = ValueError("first link")
        root = Future()
        with Scheduler(lambda: done(1)) as scheduler:
            last = root
            for _ in range(length):
                last = scheduler.submit(dependencies=[last], condition="success")
            root.set_exception(error)
            assert last.exception(PATIENCE).__cause__ is error

    def test_tasks_and_wait_futures_by_turns(self):
        graph, root = WaitGraph(), Future()
        with Scheduler(lambda: done(None)) as scheduler:
            last = root
            for _ in range(20_000):
                last = graph.submit([scheduler.submit(dependencies=[last])])
            root.set_result(None)
            assert last.result(PATIENCE) is None

    def test_fan_out_and_fan_in(self, length):
        root = Future()
        with Scheduler(lambda: done(1)) as scheduler:
            fan = [scheduler.submit(dependencies=[root]) for _ in range(length)]
            last = scheduler.submit(dependencies=fan)
            root.set_result(None)
            assert last.result(PATIENCE) == 1
            assert all(task.done() for task in fan)

    def test_20_layers_of_100_all_to_all(self):
        running = []
        with Scheduler(lambda layer: done(running.append(layer))) as scheduler:
            layer = []
            for number in range(20):
                layer = [scheduler.submit([number], dependencies=layer) for _ in range(100)]
            wait(layer, PATIENCE)
        assert running == sorted(running)
        assert len(running) == 2000


def test_submits_from_many_threads_at_once():
    with ThreadPoolExecutor(2) as pool, Scheduler(pool.submit) as scheduler, ThreadPoolExecutor(8) as callers:
        root = Future()
        parts = [
            callers.submit(lambda: [scheduler.submit([abs, -i], dependencies=[root]) for i in range(200)])
            for _ in range(8)
        ]
        root.set_result(None)
        for part in parts:
            assert [task.result(PATIENCE) for task in part.result(PATIENCE)] == list(range(200))


def test_submits_from_done_callbacks():
    finished, tasks = threading.Event(), []
    with ThreadPoolExecutor(2) as pool, Scheduler(pool.submit) as scheduler:

        def again(_):
            if len(tasks) == 500:
                finished.set()
            else:
                tasks.append(scheduler.submit([abs, -1]))
                tasks[-1].add_done_callback(again)

        again(None)
        assert finished.wait(PATIENCE)


def test_as_completed_and_asyncio_work_on_tasks():
    with ThreadPoolExecutor(2) as pool, Scheduler(pool.submit) as scheduler:
        tasks = [scheduler.submit([abs, -i]) for i in range(20)]
        assert sorted(task.result() for task in as_completed(tasks, PATIENCE)) == list(range(20))

        async def main():
            first = scheduler.submit([abs, -7])
            return await asyncio.wait_for(asyncio.wrap_future(first), PATIENCE)

        assert asyncio.run(main()) == 7


def test_a_scheduler_has_a_wait_graph_of_its_own_or_the_given_one():
    graph = WaitGraph()
    assert Scheduler(done, graph).wait_graph is graph
    assert isinstance(Scheduler(done).wait_graph, WaitGraph)
