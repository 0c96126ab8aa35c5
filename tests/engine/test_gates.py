import threading
from concurrent.futures import Future, wait

import pytest

from hand import PATIENCE, Hand, done, settled
from weft.errors import ArgumentError, ChoiceError, DeadlockError, DependencyNeverSatisfied
from weft.futures import Gate, Limit, Locks, NoFailures, Scheduler, Slots, State, Waves, When


@pytest.fixture
def hand():
    return Hand()


def started(hand, scheduler):
    """Names of the tasks submitted so far, once the scheduler has nothing more to do."""
    settled(scheduler)
    return [args[0] for args in hand.calls]


class TestLimit:
    def test_holds_back_what_is_too_much_and_lets_it_in_first_come_first_served(self, hand):
        with Scheduler(hand, gates=[Limit(2)]) as scheduler:
            for name in "abcd":
                scheduler.submit([name])
            assert started(hand, scheduler) == ["a", "b"]
            hand.finish()
            assert hand.next()[1] is not None  # b goes on
            _, c = hand.next()
            assert started(hand, scheduler) == ["a", "b", "c"]
            c.set_result(None)
            assert hand.finish() == ("d",)
            scheduler.shutdown(wait=False, cancel_futures=True)

    def test_a_failed_and_a_cancelled_task_give_their_place_back(self, hand):
        with Scheduler(hand, gates=[Limit(1)]) as scheduler:
            scheduler.submit(["fails"])
            cancelled = scheduler.submit(["cancelled"])
            scheduler.submit(["last"])
            hand.next()[1].set_exception(ValueError())
            hand.next()
            settled(scheduler)
            cancelled.cancel()
            assert hand.finish() == ("last",)

    def test_a_running_task_gives_its_place_back_before_it_ends(self, hand):
        limit = Limit(1)
        with Scheduler(hand, gates=[limit, Locks()]) as scheduler:
            first, second = scheduler.submit(["first"]), scheduler.submit(["second"])
            _, work = hand.next()
            assert started(hand, scheduler) == ["first"]
            scheduler.give_back(first, limit)
            assert started(hand, scheduler) == ["first", "second"]
            scheduler.give_back(first, limit)  # once more is nothing
            scheduler.submit(["third"])
            assert started(hand, scheduler) == ["first", "second"]
            work.set_result(1)  # it has no place to leave any more
            assert first.result(PATIENCE) == 1
            assert started(hand, scheduler) == ["first", "second"]
            hand.finish()
            assert hand.finish() == ("third",)
            assert second.done()
            scheduler.give_back(second, limit)

    def test_a_submit_function_that_raises_gives_its_place_back(self):
        with Scheduler(lambda x: done(1 / x), gates=[Limit(1)]) as scheduler:
            tasks = [scheduler.submit([x]) for x in (0, 0, 1)]
            assert tasks[2].result(PATIENCE) == 1
            assert tasks[0].state is tasks[1].state is State.FAILED

    def test_work_that_cannot_be_stopped_keeps_its_place_until_it_ends(self, hand):
        with Scheduler(hand, gates=[Limit(1)]) as scheduler:
            first = scheduler.submit(["first"])
            scheduler.submit(["second"])
            _, work = hand.next()
            work.set_running_or_notify_cancel()
            settled(scheduler)
            assert first.cancel()
            assert started(hand, scheduler) == ["first"]
            work.set_result("late")
            assert hand.finish() == ("second",)

    def test_one_that_is_cancelled_while_held_is_passed_over(self, hand):
        with Scheduler(hand, gates=[Limit(1)]) as scheduler:
            scheduler.submit(["a"])
            held = [scheduler.submit([name]) for name in "bcd"]
            settled(scheduler)
            held[0].cancel()
            held[1].cancel()
            hand.finish()
            assert hand.finish() == ("d",)

    @pytest.mark.parametrize("count", [0, -1, "two", 1.5])
    def test_a_limit_is_a_whole_number_from_one_up(self, count):
        with pytest.raises(ChoiceError, match="whole number from 1 up"):
            Limit(count)

    def test_a_task_may_count_as_several(self, hand):
        limit = Limit(3)
        with Scheduler(hand, gates=[limit]) as scheduler:
            scheduler.submit(["two"], gates={limit: 2})
            scheduler.submit(["two more"], gates={limit: 2})
            assert started(hand, scheduler) == ["two"]
            hand.finish()
            hand.finish()


class TestSlots:
    def test_a_large_task_is_not_starved_by_small_ones(self, hand):
        slots = Slots({"cpus": 2}, default={"cpus": 1})
        with Scheduler(hand, gates=[slots]) as scheduler:
            scheduler.submit(["small"])
            scheduler.submit(["large"], gates={slots: {"cpus": 2}})
            scheduler.submit(["late small"])
            assert started(hand, scheduler) == ["small"]
            hand.finish()
            assert hand.finish() == ("large",)
            assert hand.finish() == ("late small",)

    def test_tasks_that_ask_for_different_resources_pass_each_other(self, hand):
        slots = Slots({"cpus": 1, "gpus": 1})
        with Scheduler(hand, gates=[slots]) as scheduler:
            scheduler.submit(["cpu"], gates={slots: {"cpus": 1}})
            scheduler.submit(["cpu too"], gates={slots: {"cpus": 1}})
            scheduler.submit(["gpu"], gates={slots: {"gpus": 1}})
            scheduler.submit(["nothing"])
            assert started(hand, scheduler) == ["cpu", "gpu", "nothing"]
            for _ in range(4):
                hand.finish()

    def test_a_cancelled_head_of_one_queue_frees_those_behind_it(self, hand):
        slots = Slots({"cpus": 1, "gpus": 1})
        with Scheduler(hand, gates=[slots]) as scheduler:
            scheduler.submit(["cpu"], gates={slots: {"cpus": 1}})
            both = scheduler.submit(["both"], gates={slots: {"cpus": 1, "gpus": 1}})
            scheduler.submit(["gpu"], gates={slots: {"gpus": 1}})
            assert started(hand, scheduler) == ["cpu"]
            both.cancel()
            assert hand.next()[0] == ("cpu",)
            assert hand.finish() == ("gpu",)
            scheduler.shutdown(wait=False)

    def test_more_than_there_ever_is_is_refused_at_submit(self, hand):
        slots = Slots({"cpus": 4})
        with Scheduler(hand, gates=[slots]) as scheduler:
            with pytest.raises(ChoiceError, match="asks for 8 of 'cpus'; there are only 4"):
                scheduler.submit(gates={slots: {"cpus": 8}})
            with pytest.raises(ChoiceError, match="a resource of this gate must be one of 'cpus', got 'gpu'"):
                scheduler.submit(gates={slots: {"gpu": 1}})
            with pytest.raises(ChoiceError, match="number from 0 up"):
                scheduler.submit(gates={slots: {"cpus": -1}})
            with pytest.raises(ArgumentError, match="must be a mapping"):
                scheduler.submit(gates={slots: 3})
        assert hand.calls == []

    def test_a_capacity_must_be_a_mapping(self):
        with pytest.raises(ArgumentError, match="capacity must be a mapping"):
            Slots(4)

    def test_asking_for_nothing_is_never_held(self, hand):
        slots = Slots({"cpus": 1})
        with Scheduler(hand, gates=[slots]) as scheduler:
            for name in "abc":
                scheduler.submit([name], gates={slots: {"cpus": 0}})
            for _ in "abc":
                hand.finish()

    def test_whole_numbers_are_counted_to_the_last(self, hand):
        slots = Slots({"bytes": 4_000_000_000})
        with Scheduler(hand, gates=[slots]) as scheduler:
            scheduler.submit(["all"], gates={slots: {"bytes": 4_000_000_000}})
            scheduler.submit(["one more"], gates={slots: {"bytes": 1}})
            assert started(hand, scheduler) == ["all"]
            hand.finish()
            hand.finish()
            with pytest.raises(ChoiceError, match="number from 0 up"):
                scheduler.submit(gates={slots: {"bytes": float("inf")}})

    def test_fractions_add_up(self, hand):
        slots = Slots({"gpus": 0.3})
        with Scheduler(hand, gates=[slots]) as scheduler:
            for _ in range(50):
                tasks = [
                    scheduler.submit(["part"], gates={slots: {"gpus": part}}) for part in (0.1, 0.2, 0.3, 0.1, 0.1, 0.1)
                ]
                for _ in tasks:
                    hand.finish()
                assert wait(tasks, PATIENCE).not_done == set()


class TestLocks:
    def test_one_holder_for_each_name_in_the_order_of_asking(self, hand):
        locks = Locks()
        with Scheduler(hand, gates=[locks]) as scheduler:
            scheduler.submit(["a"], gates={locks: "db"})
            scheduler.submit(["b"], gates={locks: ["db", "disk"]})
            scheduler.submit(["c"], gates={locks: "disk"})
            scheduler.submit(["free"])
            assert started(hand, scheduler) == ["a", "free"]
            hand.finish()
            hand.finish()
            assert hand.finish() == ("b",)
            assert hand.finish() == ("c",)

    def test_a_name_may_have_more_than_one(self, hand):
        locks = Locks({"gpu": 4})
        with Scheduler(hand, gates=[locks]) as scheduler:
            for name in "abc":
                scheduler.submit([name], gates={locks: {"gpu": 2}})
            assert started(hand, scheduler) == ["a", "b"]
            hand.finish()
            hand.finish()
            hand.finish()

    def test_more_than_there_are_is_refused(self, hand):
        locks = Locks()
        with Scheduler(hand, gates=[locks]) as scheduler, pytest.raises(ChoiceError, match="asks for 2 of 'db'"):
            scheduler.submit(gates={locks: {"db": 2}})

    def test_crossed_pairs_do_not_deadlock(self, hand):
        locks = Locks()
        with Scheduler(hand, gates=[locks]) as scheduler:
            tasks = [scheduler.submit([i], gates={locks: ["x", "y"] if i % 2 else ["y", "x"]}) for i in range(20)]
            for _ in tasks:
                hand.finish()
            assert wait(tasks, PATIENCE).not_done == set()

    def test_a_lock_that_nobody_uses_takes_no_memory(self, hand):
        locks = Locks()
        with Scheduler(lambda: done(None), gates=[locks]) as scheduler:
            wait([scheduler.submit(gates={locks: f"lock-{i}"}) for i in range(100)], PATIENCE)
            settled(scheduler)
            assert (locks._used, locks._queues) == ({}, {})


class TestWaves:
    def test_a_higher_wave_waits_for_all_of_the_lower_ones(self, hand):
        waves = Waves()
        with Scheduler(hand, gates=[waves]) as scheduler:
            scheduler.submit(["0a"])
            scheduler.submit(["1"], gates={waves: 1})
            scheduler.submit(["2"], gates={waves: 2})
            scheduler.submit(["0b"])
            assert started(hand, scheduler) == ["0a", "0b"]
            hand.finish()
            assert started(hand, scheduler) == ["0a", "0b"]
            hand.finish()
            assert hand.finish() == ("1",)
            assert hand.finish() == ("2",)

    def test_a_failed_or_cancelled_task_does_not_hold_the_next_wave(self, hand):
        waves = Waves()
        with Scheduler(hand, gates=[waves]) as scheduler:
            scheduler.submit(["fails"])
            waiting = scheduler.submit(["cancelled"], dependencies=[Future()])
            scheduler.submit(["next"], gates={waves: 1})
            hand.next()[1].set_exception(ValueError())
            waiting.cancel()
            assert hand.finish() == ("next",)

    def test_a_dependency_on_a_higher_wave_is_refused_at_submit(self, hand):
        waves = Waves()
        with Scheduler(hand, gates=[waves]) as scheduler:
            later = scheduler.submit(["later"], dependencies=[root := Future()], gates={waves: 3})
            with pytest.raises(DeadlockError, match="a task of wave 0 cannot wait for one of wave 3"):
                scheduler.submit(dependencies=[later])
            scheduler.submit(["same"], dependencies=[later], gates={waves: 3})
            root.set_result(None)
            hand.finish()
            hand.finish()

    def test_a_wave_is_a_whole_number(self, hand):
        waves = Waves()
        with Scheduler(hand, gates=[waves]) as scheduler, pytest.raises(ArgumentError, match="whole number"):
            scheduler.submit(gates={waves: "first"})

    def test_a_gate_where_tasks_wait_for_tasks_comes_first(self):
        with pytest.raises(ArgumentError, match=r"put Waves\(\) first in gates"):
            Scheduler(done, gates=[Limit(1), Waves()])
        Scheduler(done, gates=[Waves(), Limit(1)])

    def test_a_higher_wave_that_runs_already_may_be_waited_for(self, hand):
        waves = Waves()
        with Scheduler(hand, gates=[waves]) as scheduler:
            early = scheduler.submit(["early"], gates={waves: 3})
            settled(scheduler)
            scheduler.submit(["after"], dependencies=[early])
            assert hand.finish() == ("early",)
            assert hand.finish() == ("after",)


class TestConditions:
    def test_when_lets_through_or_ends_the_task(self, hand):
        allowed = threading.Event()
        when = When(lambda task: allowed.is_set(), "the disk is full")
        with Scheduler(hand, gates=[when]) as scheduler:
            refused = scheduler.submit(gates={when: True})
            assert isinstance(refused.exception(PATIENCE), DependencyNeverSatisfied)
            assert str(refused.exception()) == "the disk is full"
            assert refused.state is State.UNREACHABLE
            allowed.set()
            scheduler.submit(["go"], gates={when: True})
            assert hand.finish() == ("go",)
            scheduler.submit(["does not ask"])
            hand.finish()

    def test_a_condition_that_raises_fails_that_task_only(self, hand):
        when = When(lambda task: 1 / 0, "never")
        with Scheduler(hand, gates=[when]) as scheduler:
            bad = scheduler.submit(gates={when: True})
            scheduler.submit(["good"])
            assert isinstance(bad.exception(PATIENCE), ZeroDivisionError)
            assert bad.state is State.FAILED
            assert hand.finish() == ("good",)

    def test_no_failures_is_a_condition_and_not_a_wait(self, hand):
        clean = NoFailures()
        with Scheduler(hand, gates=[clean]) as scheduler:
            scheduler.submit(["slow"])
            scheduler.submit(["careful"], gates={clean: True})
            assert started(hand, scheduler) == ["slow", "careful"]
            hand.next()[1].set_exception(ValueError())
            hand.finish()
            settled(scheduler)
            late = scheduler.submit(["late"], gates={clean: True})
            assert str(late.exception(PATIENCE)) == "run aborted: a task has failed"
            scheduler.submit(["bold"])
            assert hand.finish() == ("bold",)


def test_gates_are_passed_in_order_and_held_meanwhile(hand):
    locks, limit = Locks(), Limit(1)
    with Scheduler(hand, gates=[locks, limit]) as scheduler:
        scheduler.submit(["busy"])
        scheduler.submit(["has the lock, waits for its turn"], gates={locks: "db"})
        scheduler.submit(["waits for the lock"], gates={locks: "db"})
        scheduler.submit(["needs no lock"])
        assert started(hand, scheduler) == ["busy"]
        assert hand.finish() == ("busy",)
        order = [hand.finish()[0] for _ in range(3)]
    assert order == ["has the lock, waits for its turn", "needs no lock", "waits for the lock"]


def test_one_cancelled_between_two_gates_gives_the_first_back(hand):
    locks, limit = Locks(), Limit(1)
    with Scheduler(hand, gates=[locks, limit]) as scheduler:
        scheduler.submit(["busy"])
        middle = scheduler.submit(["middle"], gates={locks: "db"})
        scheduler.submit(["last"], gates={locks: "db"})
        settled(scheduler)
        middle.cancel()
        hand.finish()
        assert hand.finish() == ("last",)


def test_a_gate_of_the_users_that_raises_hangs_nothing(hand, caplog):
    class Broken(Gate):
        default = True

        def admit(self, task, demand):
            return True

        def leave(self, task, demand, admitted):
            raise RuntimeError("broken gate")

    with Scheduler(hand, gates=[Broken()]) as scheduler:
        first, second = scheduler.submit(["a"]), scheduler.submit(["b"])
        hand.finish(1)
        hand.finish(2)
        assert (first.result(PATIENCE), second.result(PATIENCE)) == (1, 2)
    assert "broken gate" in caplog.text


def test_a_gate_of_the_users_that_cannot_expect_fails_the_task(hand):
    class Broken(Gate):
        default = True

        def expect(self, task, demand):
            raise RuntimeError("broken gate")

        def leave(self, task, demand, admitted):
            return ()

    with Scheduler(hand, gates=[Broken()]) as scheduler:
        tasks = [scheduler.submit() for _ in range(3)]
        assert [str(task.exception(PATIENCE)) for task in tasks] == ["broken gate"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("gate", [Limit(2), Slots({"cpus": 2}, {"cpus": 1}), Waves(), NoFailures()], ids=repr)
def test_100_000_held_tasks_pass(gate):
    root = Future()
    with Scheduler(lambda: done(None), gates=[gate]) as scheduler:
        first = scheduler.submit(dependencies=[root])
        demand = {gate: 1} if isinstance(gate, Waves) else None
        tasks = [scheduler.submit(gates=demand) for _ in range(100_000)]
        root.set_result(None)
        wait([first, *tasks], PATIENCE)
        assert all(task.done() for task in tasks)
