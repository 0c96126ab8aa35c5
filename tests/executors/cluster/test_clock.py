"""VirtualClock: time that a test moves."""

import gc
import queue
import re
import threading

import pytest

from hand import PATIENCE, eventually
from weft.errors import ChoiceError
from weft.executors.cluster.fake import VirtualClock


class Sleeper:
    """A thread that waits for moments, and notes when it woke up."""

    all = []

    def __init__(self, clock, *seconds, condition=None, host=False):
        self.clock, self.seconds = clock, seconds
        self.condition = condition or threading.Condition()
        self.woke = []
        self.over = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        clock.attend(self.thread, host=host)
        self.thread.start()
        self.all.append(self)

    def run(self):
        with self.condition:
            for seconds in self.seconds:
                self.clock.wait(self.condition, seconds)
                if self.over:
                    break
                self.woke.append(self.clock.now())
        self.clock.leave()

    def notify(self, number=1):
        with self.condition:
            self.condition.notify(number)


@pytest.fixture
def clock():
    yield VirtualClock(100, patience=PATIENCE)
    for sleeper in Sleeper.all:
        sleeper.over = True
        with sleeper.condition:
            sleeper.condition.notify_all()
    while Sleeper.all:
        Sleeper.all.pop().thread.join(PATIENCE)


def test_it_stands_still_by_itself(clock):
    assert clock.now() == clock.now() == 100
    assert repr(clock) == "<VirtualClock at 100>"


def test_advance_goes_on_by_so_much(clock):
    clock.advance(2.5)
    clock.advance(0)
    assert clock.now() == 102.5


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_time_does_not_go_back(clock, seconds):
    with pytest.raises(ChoiceError, match="does not go back"):
        clock.advance(seconds)


def test_each_moment_in_between_comes_at_its_time(clock):
    first, second = Sleeper(clock, 1, 1, 5, 1), Sleeper(clock, 2.5, 0.5, 100)
    clock.advance(9)
    assert first.woke == [101, 102, 107, 108]
    assert second.woke == [102.5, 103]
    assert clock.now() == 109


def test_who_waits_without_limit_is_woken_by_a_notification_alone(clock):
    sleeper = Sleeper(clock, None, 5)
    clock.advance(1000)
    assert sleeper.woke == []
    sleeper.notify()
    clock.settle()
    assert sleeper.woke == [1100]
    clock.advance(5)
    assert sleeper.woke == [1100, 1105]


def test_a_notification_comes_before_the_time(clock):
    sleeper = Sleeper(clock, 10, None)
    clock.advance(3)
    sleeper.notify()
    clock.settle()
    assert sleeper.woke == [103]
    clock.advance(100)
    assert sleeper.woke == [103]


def test_a_notification_wakes_as_many_as_it_says(clock):
    condition = threading.Condition()
    sleepers = [Sleeper(clock, None, condition=condition) for _ in range(3)]
    clock.settle()
    sleepers[0].notify(2)
    clock.settle()
    assert sum(len(sleeper.woke) for sleeper in sleepers) == 2
    sleepers[0].notify(2)
    clock.settle()
    assert sum(len(sleeper.woke) for sleeper in sleepers) == 3


def test_a_notification_is_not_wasted_on_one_whose_time_has_come(clock):
    condition = threading.Condition()
    early = Sleeper(clock, 1, condition=condition)
    clock.settle()
    late = Sleeper(clock, None, condition=condition)
    clock.settle()
    with condition:  # so that the first wakes up and cannot take itself out of the queue
        with clock._changed:
            assert clock._step(101)
        condition.notify()
    clock.settle()
    assert (early.woke, late.woke) == ([101], [101])


def test_others_may_wait_on_the_same_condition_without_it(clock):
    condition = threading.Condition()
    came = queue.SimpleQueue()

    def wait():
        with condition:
            came.put("here")
            condition.wait(PATIENCE)
            came.put("woken")

    threading.Thread(target=wait, daemon=True).start()
    assert came.get(timeout=PATIENCE) == "here"
    sleeper = Sleeper(clock, None, condition=condition)
    clock.settle()
    with condition:
        condition.notify_all()
    clock.settle()
    assert came.get(timeout=PATIENCE) == "woken"
    assert sleeper.woke == [100]


def test_reentrant_locks_are_let_go_of_as_a_whole(clock):
    condition = threading.Condition(threading.RLock())
    woke = []

    def wait():
        with condition, condition:
            clock.wait(condition, 1)
            woke.append(condition._is_owned())

    thread = threading.Thread(target=wait, daemon=True)
    clock.attend(thread)
    thread.start()
    clock.settle()
    with condition:
        pass
    clock.advance(1)
    thread.join(PATIENCE)
    assert woke == [True]


def test_settled_is_who_sleeps_and_whom_nobody_has_woken(clock):
    condition, working = threading.Condition(), threading.Event()
    rounds = []

    def work():
        with condition:
            for number in range(2):
                clock.wait(condition, None)
                working.wait(PATIENCE)
                rounds.append(number)
        clock.leave()

    thread = threading.Thread(target=work, daemon=True)
    clock.attend(thread)
    thread.start()
    clock.settle()
    with condition:
        condition.notify()
    impatient = clock._patience
    clock._patience = 0.01
    with pytest.raises(TimeoutError, match=f"busy for 0.01 seconds.*{re.escape(thread.name)}"):
        clock.settle()
    clock._patience = impatient
    working.set()
    clock.settle()
    assert rounds == [0]
    with condition:
        condition.notify()
    clock.settle()
    assert rounds == [0, 1]


def test_a_thread_that_has_ended_is_not_waited_for(clock):
    sleeper = Sleeper(clock, 1)
    sleeper.clock.leave = lambda: None
    clock.advance(1)
    sleeper.thread.join(PATIENCE)
    clock.settle()
    assert clock._awake == set()


def test_a_thread_that_moves_it_does_not_wait_for_itself(clock):
    clock.attend(threading.current_thread())
    sleeper = Sleeper(clock, 1)
    clock.advance(2)
    assert (clock.now(), sleeper.woke) == (102, [101])


def test_no_time_to_wait_is_no_wait(clock):
    condition = threading.Condition()
    with condition:
        clock.wait(condition, 0)
        clock.wait(condition, -1)
    assert clock.now() == 100


def test_waiting_needs_the_lock(clock):
    with pytest.raises(RuntimeError):
        clock.wait(threading.Condition(), 1)
    clock.settle()
    assert not clock._sleepers


def test_until_goes_as_far_as_it_must(clock):
    sleeper = Sleeper(clock, 1, 2, 3, 1000)
    clock.until(lambda: len(sleeper.woke) == 3)
    assert clock.now() == 106
    clock.until(lambda: True)
    assert clock.now() == 106


def test_until_gives_up_beyond_its_limit(clock):
    Sleeper(clock, 10, 10, 10)
    with pytest.raises(TimeoutError, match="after 15 seconds"):
        clock.until(lambda: False, most=15)
    assert clock.now() == 110


def test_until_says_that_everybody_sleeps(clock):
    Sleeper(clock, None)
    clock.settle()
    clock._patience = 0.01
    with pytest.raises(TimeoutError, match="everybody sleeps"):
        clock.until(lambda: False)


def test_while_a_process_is_at_work_time_goes_on_for_a_minute(clock):
    sleeper = Sleeper(clock, *[25] * 5)
    clock.occupy()
    clock._patience = 0.01
    with pytest.raises(TimeoutError, match=r"process has been at work.*hangs\(\)"):
        clock.until(lambda: False)
    assert sleeper.woke == [125, 150]
    clock.stir()
    clock.until(lambda: len(sleeper.woke) == 4)
    clock.advance(25)
    assert sleeper.woke[4:] == [225]


def test_while_a_process_is_at_work_nothing_befalls_it(clock):
    sleeper, host = Sleeper(clock, 10, 20), Sleeper(clock, 30, host=True)
    clock.settle()
    clock.occupy()
    clock._patience = 0.01
    with pytest.raises(TimeoutError, match="process has been at work"):
        clock.until(lambda: host.woke)
    assert sleeper.woke == [110]
    clock.vacate()
    clock.until(lambda: host.woke)
    assert (sleeper.woke, host.woke) == ([110, 130], [130])


def test_what_it_knows_nothing_of_can_be_waited_for(clock):
    event = threading.Event()
    asked = []

    def holds():
        asked.append(1)
        if len(asked) == 2:
            event.set()
        return event.is_set() and len(asked) > 2

    clock.until(holds)
    assert clock.now() == 100


def test_time_passes_by_itself(clock):
    sleeper = Sleeper(clock, 1, 2, 3)
    with clock.flying():
        sleeper.thread.join(PATIENCE)
    assert sleeper.woke == [101, 103, 106]
    idle = Sleeper(clock, *[1000.0] * 200)
    with clock.flying():
        assert eventually(lambda: len(idle.woke) == 86)
        clock.settle()
    assert clock.now() == 106 + 86000
    clock.settle()
    with clock.flying():
        assert eventually(lambda: len(idle.woke) == 172)


def test_it_goes_with_its_threads(clock):
    Sleeper(clock, 1)
    clock.advance(2)
    gc.collect()
    assert not clock._sleepers
