"""What is decided, by a clock that only the test moves: no threads, no files, no commands."""

import threading
from types import SimpleNamespace

import pytest

from hand import PATIENCE
from weft.errors import ClosedError
from weft.executors.cluster.book import Book, Pace
from weft.executors.cluster.formats import EXIT_FAILED
from weft.executors.cluster.future import ClusterFuture, Terms
from weft.executors.cluster.group import Group
from weft.executors.cluster.system import Clock, Phase, Seen
from weft.executors.functions import Common
from weft.resources import Resources

TERMS = Terms(Resources(), (), (), (), 1)
FUNCTION = Common(1, 0, b"", [])


class Hand(Clock):
    """A clock that stands still."""

    time = 100.0

    def now(self):
        return self.time


@pytest.fixture
def book():
    book = Book(Hand(), Pace(poll=2.0, grace=30.0))
    with book.lock:
        yield book


def accept(book, count=1, terms=TERMS):
    tasks = [ClusterFuture(book, number, FUNCTION, FUNCTION, b"", terms) for number in range(count)]
    for task in tasks:
        book.accept(task)
    return tasks


def cut(book, number=0, terms=TERMS, each=1):
    """A group of what has come together."""
    folder = SimpleNamespace(number=number, script=f"/groups/{number}/script.sh")
    return Group(folder, f"name-{number}", book.cut(1000), terms, each, lambda job, places, place: f"{job}_{place}")


def submitted(book, count=1, job="7", each=1, number=0):
    """A group that the batch system has taken."""
    terms = TERMS._replace(each=each)
    accept(book, count, terms)
    book.clock.time += 1
    group = cut(book, number, terms, each)
    book.opened(group)
    book.submitted(group, job)
    return group


def pending(places, job="7", **facts):
    return Seen(job, places, Phase.PENDING, "PENDING", **facts)


def running(places, job="7", **facts):
    return Seen(job, places, Phase.RUNNING, "RUNNING", **facts)


def ended(places, exitcode=1, job="7", **facts):
    return Seen(job, places, Phase.ENDED, "FAILED", exitcode=exitcode, **facts)


def look(book, *seen):
    book.looked(book.jobs(), seen, book.clock.now())


def list_again(book, began=None):
    """A look at the folder that finds nothing."""
    return book.listed(book.to_list(), book.clock.now() if began is None else began, found=0)


# Submissions


def test_what_comes_together_goes_together_once_it_is_quiet(book):
    accept(book, 3)
    assert book.cut(1000) == []
    assert book.submit_at(1000) == pytest.approx(100.01)
    book.clock.time = 100.02
    assert len(book.cut(1000)) == 3
    assert book.submit_at(1000) is None


def test_a_stream_that_never_pauses_is_submitted_all_the_same(book):
    for _ in range(100):
        accept(book)
        book.clock.time += 0.009
    assert len(book.cut(1000)) == 100


def test_a_stream_is_submitted_ever_more_seldom(book):
    cuts = []
    for _ in range(2000):  # 40 seconds, one task every 20 milliseconds
        accept(book)
        book.clock.time += 0.02
        cuts += [len(tasks)] if (tasks := book.cut(1000)) else []
    assert (len(cuts) <= 15, cuts[0] <= 2, cuts[-1] > 100) == (True, True, True)
    book.clock.time += 20
    accept(book)
    book.clock.time += 0.02
    assert book.cut(1000)  # with what the stream has left; after a pause nothing waits


def test_a_chain_each_link_of_which_waits_for_the_one_before_is_not_held_up(book):
    began, links = book.clock.time, 50
    for number in range(links):
        accept(book)
        book.clock.time = book.submit_at(1000)
        group = cut(book, number)
        book.opened(group)
        book.submitted(group, str(number))
        book.clock.time += 0.05
        assert book.took(group, 0, "0.0")
    assert book.clock.time - began < links * 0.11


def test_a_full_array_waits_for_nothing(book):
    accept(book, 25)
    assert (len(book.cut(10)), len(book.cut(10)), len(book.cut(10))) == (10, 10, 0)


def test_what_asks_for_other_resources_goes_apart(book):
    large = TERMS._replace(resources=Resources(cpus=4))
    accept(book, 2), accept(book, 3, large), accept(book, 2)
    book.clock.time += 1
    cuts = []
    for _ in range(3):
        cuts.append(len(book.cut(1000)))
        book.clock.time += 1
    assert cuts == [4, 3, 0]


def test_what_is_cancelled_before_is_left_out(book):
    tasks = accept(book, 3)
    assert tasks[1].cancel()
    book.clock.time += 1
    assert book.cut(1000) == [tasks[0], tasks[2]]


def test_those_who_wait_for_the_end_are_told_when_what_was_left_is_cancelled(book):
    (task,) = accept(book)
    book.close("over")
    told = threading.Event()

    def wait():
        with book.lock:
            waits.set()
            book.lock.wait_for(book.is_over)
        told.set()

    waits = threading.Event()
    threading.Thread(target=wait, daemon=True).start()
    book.lock.release()
    waits.wait()
    book.lock.acquire()
    task.cancel()
    assert book.cut(1000) == []
    book.lock.release()
    assert told.wait(PATIENCE)
    book.lock.acquire()


def test_after_the_end_nothing_is_accepted_and_the_rest_goes_at_once(book):
    accept(book)
    book.close("over")
    assert len(book.cut(1000)) == 1
    with pytest.raises(ClosedError, match="over"):
        accept(book)


def test_no_more_are_in_the_queue_than_the_user_wants(book):
    book.most_queued = 8
    group = submitted(book, 12)
    assert (len(group.places), book.submit_at(1000)) == (8, None)
    for index in range(2):
        book.took(group, index, f"{index}.0")
    book.clock.time += 1
    assert (book.submit_at(1000) is not None, len(book.cut(1000))) == (True, 2)


def test_a_refusal_for_now_puts_the_tasks_back_in_their_order_and_waits_longer_each_time(book):
    tasks = accept(book, 3)
    pauses = []
    for number in range(4):
        book.clock.time = book.submit_at(1000)
        group = cut(book, number)
        book.opened(group)
        assert book.withdrawn(group, again=True) == tasks
        book.busy(full=True)
        pauses.append(book.submit_at(1000) - book.clock.now())
    assert pauses == sorted(set(pauses))


def test_a_full_queue_is_asked_again_as_seldom_whatever_else_is_answered(book):
    submitted(book, number=9, job="9")
    accept(book, 3)
    pauses = []
    for number in range(4):
        book.clock.time = book.submit_at(1000)
        group = cut(book, number)
        book.opened(group)
        book.withdrawn(group, again=True)
        book.busy(full=True)
        book.looked(book.jobs(), [pending(None, job="9")], book.clock.now())
        pauses.append(book.submit_at(1000) - book.clock.now())
    assert pauses == sorted(set(pauses))
    assert pauses[0] > 2


# Ends


def test_an_outcome_is_given_to_its_task_once(book):
    group = submitted(book, 2)
    tasks = group.open_tasks()
    assert book.new_names(group, ["0.0", ".0.0.part", "1.cancelled", "x"]) == [(0, "0.0")]
    assert book.took(group, 0, "0.0") is tasks[0]
    assert (book.new_names(group, ["0.0", "0.1"]), book.took(group, 0, "0.1")) == ([], None)
    assert book.took(group, 1, "1.0") is tasks[1]
    book.close("over")
    assert book.is_over()


def test_a_missing_line_alone_proves_nothing(book):
    group = submitted(book, 2)
    look(book, running(range(1)))
    assert book.suspects() == {}  # outcomes have not been looked for since
    assert list_again(book, began=book.clock.now() - 5) == []
    assert book.suspects() == {}  # they were looked for before, not since
    assert list_again(book) == []
    assert list(book.suspects()) == ["7"]
    look(book, running(range(2)))  # it is there again
    assert (book.suspects(), group.missing) == ({}, {})


def test_one_that_has_died_is_told_from_its_exit_code_at_once(book):
    group = submitted(book, 2)
    tasks = group.open_tasks()
    look(book, running(range(1)))
    list_again(book)
    book.inquired(["7"], [ended([1], exitcode=137)])
    (death,) = list_again(book)
    assert (death.place, death.tasks, death.end.exitcode) == (1, [tasks[1]], 137)
    assert group.open == {0}


@pytest.mark.parametrize("exitcode", [0, EXIT_FAILED])
def test_one_whose_exit_code_promises_an_outcome_gets_time_for_it(book, exitcode):
    submitted(book)
    look(book)
    list_again(book)
    book.inquired(["7"], [ended(None, exitcode=exitcode)])
    for _ in range(29):
        book.clock.time += 1
        assert list_again(book) == []
    book.clock.time += 1
    assert len(list_again(book)) == 1


def test_one_that_nobody_knows_is_asked_for_again_until_its_time_is_over(book):
    submitted(book)
    for _ in range(3):
        look(book)
        list_again(book)
        assert list(book.suspects()) == ["7"]
        book.inquired(["7"], [])
        assert book.suspects() == {}
        assert list_again(book) == []
        book.clock.time += 10
    (death,) = list_again(book)
    assert death.end is None


def test_an_outcome_that_comes_late_wins(book):
    group = submitted(book)
    look(book)
    list_again(book)
    book.inquired(["7"], [ended(None, exitcode=0)])
    assert book.new_names(group, ["0.0"]) == [(0, "0.0")]
    assert book.took(group, 0, "0.0") is not None
    book.clock.time += 100
    assert list_again(book) == []


def test_the_outcome_of_an_earlier_try_does_not_count(book):
    group = submitted(book)
    look(book, running(None, restarts=1))
    assert book.new_names(group, ["0.0"]) == []
    assert book.new_names(group, ["0.0", "0.1"]) == [(0, "0.1")]


def test_of_several_tries_the_last_counts(book):
    group = submitted(book)
    assert book.new_names(group, ["0.0", "0.2", "0.1"]) == [(0, "0.2")]


def test_a_torn_outcome_gets_time_to_become_whole(book):
    group = submitted(book)
    assert not book.is_torn_for_good(group, "0.0", 10)
    book.clock.time += 4
    assert not book.is_torn_for_good(group, "0.0", 10)
    book.clock.time += 2
    assert book.is_torn_for_good(group, "0.0", 10)


def test_a_torn_outcome_that_grows_is_on_its_way(book):
    group = submitted(book)
    for size in range(5):
        assert not book.is_torn_for_good(group, "0.0", size)
        book.clock.time += 100
    assert book.is_torn_for_good(group, "0.0", 4)


def test_of_several_calls_in_a_job_that_died_all_that_lack_an_outcome_are_told(book):
    group = submitted(book, 6, each=3)
    tasks = group.open_tasks()
    book.took(group, 3, "3.0")
    look(book, running([0]))
    list_again(book)
    book.inquired(["7"], [ended([1])])
    (death,) = list_again(book)
    assert (death.place, death.tasks) == (1, tasks[4:])
    assert group.open == {0, 1, 2}


def test_what_will_never_run_by_itself_has_died_and_leaves_the_queue(book):
    group = submitted(book, 3)
    tasks = group.open_tasks()
    line = pending([1], reason="launch failed requeued held")
    seen = [running([0]), line, pending([2])]
    book.looked(book.jobs(), seen, book.clock.now(), [line])
    assert (book.suspects(), list_again(book)) == ({}, [])
    (death,) = list_again(book)
    assert (death.tasks, death.end, book.cancels()) == ([tasks[1]], line, {"7": [1]})
    assert group.open == {0, 2}


# What the batch system says


def test_a_future_runs_when_the_batch_system_says_so(book):
    group = submitted(book, 3)
    tasks = group.open_tasks()
    look(book, running([0]), pending(range(1, 3)))
    assert [task.running() for task in tasks] == [True, False, False]
    assert [task.state for task in tasks] == ["RUNNING", "PENDING", "PENDING"]
    assert [task.job_id for task in tasks] == ["7_0", "7_1", "7_2"]


def test_looks_become_rarer_while_nothing_changes_and_frequent_when_something_does():
    book = Book(Hand(), Pace())
    pauses = []
    with book.lock:
        submitted(book, 2)
        for _ in range(20):
            book.clock.time = book.look_at()
            look(book, pending(range(2)))
            pauses.append(book.look_at() - book.clock.now())
        assert (pauses[1:] == sorted(pauses[1:]), pauses[-1]) == (True, Pace().slowest)
        look(book, running([0]), pending([1]))
        assert book.look_at() - book.clock.now() == Pace().fastest


def test_nobody_is_asked_while_nothing_is_there(book):
    assert (book.look_at(), book.list_at(), book.submit_at(10)) == (None, None, None)
    group = submitted(book)
    assert book.look_at() is not None
    book.took(group, 0, "0.0")
    assert (book.look_at(), book.list_at()) == (None, None)


def test_while_nobody_answers_nothing_is_concluded_and_questions_become_rarer(book):
    submitted(book)
    for _ in range(3):
        at = book.look_at()
        book.clock.time = at
        book.busy(full=False)
        assert book.look_at() > at
        assert list_again(book) == []
    look(book, pending(None))
    assert book.look_at() == book.clock.now() + 2


# Cancelling


def test_cancelling_one_of_many_cancels_that_one_there(book):
    group = submitted(book, 1000)
    assert group.open_tasks()[500].cancel()
    assert book.cancels() == {"7": [500]}
    book.cancels_done(book.cancels())
    assert (book.cancels(), len(group.open)) == ({}, 999)


def test_cancelling_all_is_one_word_to_the_batch_system_and_the_end_waits_for_it(book):
    group = submitted(book, 3)
    book.close("over")
    for task in group.open_tasks():
        task.cancel()
    assert book.cancels() == {"7": None}
    assert not book.is_over()
    book.cancels_done(book.cancels())
    assert book.is_over()


def test_cancelling_while_it_is_submitted_cancels_it_once_it_is_there(book):
    (task,) = accept(book)
    book.clock.time += 1
    group = cut(book)
    book.opened(group)
    task.cancel()
    assert (book.cancels(), book.is_over()) == ({}, False)
    book.submitted(group, "7")
    assert book.cancels() == {"7": None}


def test_cancelling_one_of_several_calls_of_a_job_leaves_the_job(book):
    group = submitted(book, 2, each=2)
    left_out = []
    group.folder.leave_out = left_out.append
    first, second = group.open_tasks()
    first.cancel()
    assert (book.cancels(), left_out) == ({}, [0])
    second.cancel()
    assert (book.cancels(), left_out) == ({"7": None}, [0])


def test_an_executor_that_leaves_is_over_whatever_runs(book):
    submitted(book)
    book.leave()
    assert book.is_over()
