"""What weft promises beyond the contract of concurrent.futures: the list is PROMISES in executors.py."""

import os
import signal
import threading
from concurrent.futures import wait
from contextlib import suppress

import pytest

from contract.executors import needs
from contract.payloads import (
    NotThere,
    add,
    change_directory,
    colour,
    die,
    die_once,
    exit_with,
    fail_once,
    get_colour,
    get_directory,
    hang,
    hang_with_child,
    import_,
    leave,
    leave_at,
    leave_with_a_large_result,
    lock,
    make_not_there,
    note,
    pid_and_wait,
    speak,
    take,
    wait_at,
    whoami,
)
from contract.scripts import finish, run_script, run_typed, start, write_script
from contract.stage import ended, eventually
from hand import PATIENCE
from weft import errors


@pytest.fixture
def neighbours(candidate, executor):
    """Futures of tasks around the one under test, and of later ones; they must not notice anything."""
    many = candidate.many(100)
    early = [executor.submit(add, number) for number in range(many // 2)]
    yield
    late = [executor.submit(add, number) for number in range(many // 2, many)]
    assert [future.result(PATIENCE) for future in early + late] == list(range(1, many + 1))


# What travels


@needs("lambdas")
def test_lambdas_closures_and_local_classes_travel(executor):
    class Box:
        def __init__(self, x):
            self.x = x

    def double(box: Box) -> Box:
        return Box(factor * box.x)

    factor = 2
    assert executor.submit(lambda x: [x], 1).result(PATIENCE) == [1]
    box = executor.submit(double, Box(3)).result(PATIENCE)
    assert (type(box), box.x) == (Box, 6)
    assert executor.submit(take, lambda: 1).result(PATIENCE)
    assert [f(1) for f in executor.map(lambda n: lambda x: x + n, range(3))] == [1, 2, 3]


@needs("lambdas")
def test_a_closure_travels_with_what_it_holds_at_submit(executor):
    results = []
    for number in range(10):
        results.append(executor.submit(lambda: number))  # noqa: B023 - that is the point
        results[-1].result(PATIENCE)
    assert [future.result(PATIENCE) for future in results] == list(range(10))


@needs("lambdas")
def test_an_exception_of_a_local_class_is_caught_by_its_name(executor):
    class Bad(Exception):
        pass

    def fail():
        raise Bad("local")

    with pytest.raises(Bad, match="local"):
        executor.submit(fail).result(PATIENCE)


PROGRAM = """
from dataclasses import dataclass

def double(x):
    return 2 * x

print(executor.submit(double, 1).result())

@dataclass
class Point:
    x: int

class Bad(Exception):
    pass

def move(point, by=1):
    return Point(point.x + by)

def complain(point):
    raise Bad(point)

point = executor.submit(move, executor.submit(move, Point(1)).result()).result()
print(type(point) is Point, point.x)
print(repr(executor.submit(complain, point).exception()))
executor.shutdown()
"""


@needs("interactive")
def test_what_is_typed_into_an_interpreter_travels(candidate, tmp_path):
    ended = run_typed(candidate, tmp_path, PROGRAM)
    assert (ended.stdout, ended.stderr) == ("2\nTrue 3\nBad(Point(x=3))\n", "")


@needs("no guard")
def test_a_script_needs_no_guard(candidate, tmp_path):
    ended = run_script(
        candidate,
        tmp_path,
        """
        def double(x):
            return 2 * x

        print("once")
        print(executor.submit(abs, -1).result(), list(executor.map(abs, [-2, -3])))
        """,
        guard=False,
    )
    assert (ended.stdout, ended.stderr) == ("once\n1 [2, 3]\n", "")


@needs("no guard", "interactive")
def test_functions_and_classes_of_a_script_without_guard_travel(candidate, tmp_path):
    ended = run_script(candidate, tmp_path, PROGRAM, guard=False)
    assert (ended.stdout, ended.stderr) == ("2\nTrue 3\nBad(Point(x=3))\n", "")


# What does not travel


class Handle:
    def __init__(self, file):
        self.handle = file


@needs("pickling")
def test_an_argument_that_cannot_be_pickled_raises_in_submit_and_names_the_culprit(executor, neighbours):
    with open(os.devnull) as file:
        with pytest.raises(errors.ArgumentError, match=r"argument 2, attribute \.handle: cannot pickle '_io.TextIO"):
            executor.submit(add, 1, Handle(file))
        with pytest.raises(errors.ArgumentError, match=r"handle.*cannot pickle '_io.TextIO") as caught:
            executor.submit(add, a=1, b={"x": [Handle(file)]})
        assert "'x'" in str(caught.value)
    assert isinstance(caught.value, TypeError)


@needs("result")
def test_a_result_that_cannot_be_pickled_fails_that_future_alone(executor, neighbours):
    error = executor.submit(lock).exception(PATIENCE)
    assert error is not None
    assert "lock" in str(error)


@needs("arrival")
def test_a_result_that_cannot_be_unpickled_fails_that_future_alone(executor, neighbours):
    error = executor.submit(make_not_there).exception(PATIENCE)
    assert "it is not there" in str(error)


@needs("arrival")
def test_an_argument_that_cannot_be_unpickled_fails_that_future_alone(executor, neighbours):
    error = executor.submit(take, NotThere()).exception(PATIENCE)
    assert "it is not there" in str(error)


# What a task does to its worker


@needs("crash")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM], ids=lambda n: n.name)
def test_a_killed_worker_fails_the_task_it_ran_alone_and_is_named(candidate, executor, neighbours, number):
    error = executor.submit(die, number).exception(PATIENCE)
    assert isinstance(error, getattr(errors, candidate.death))
    assert isinstance(error, errors.TaskError)
    assert number.name in str(error)
    assert "die" in str(error)


@needs("crash")
@pytest.mark.parametrize("code", [0, 3])
def test_a_worker_that_leaves_fails_the_task_it_ran_alone(candidate, executor, neighbours, code):
    error = executor.submit(leave, code).exception(PATIENCE)
    assert isinstance(error, getattr(errors, candidate.death))
    assert str(code) in str(error)


@needs("crash")
def test_tasks_beside_a_crash_run_exactly_once(candidate, stage):
    executor, ledger, many = stage.executor(), stage.ledger(), candidate.many(200)
    bad, good = [], []
    for number in range(many):
        good.append(executor.submit(note, ledger, number))
        if number % 50 == many // 8:
            bad.append(executor.submit(leave, 3))
    assert [future.result(PATIENCE) for future in good] == list(range(many))
    assert all(isinstance(future.exception(PATIENCE), getattr(errors, candidate.death)) for future in bad)
    assert sorted(map(int, ledger.lines())) == list(range(many))


@needs("crash")
def test_a_crash_in_map_is_at_its_place(candidate, executor):
    results = executor.map(lambda n: leave(3) if n == 5 else n, range(20))
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(getattr(errors, candidate.death)):
        next(results)


@needs("exit")
@pytest.mark.parametrize("code", [None, 0, 3, "a message"], ids=repr)
def test_an_exit_is_an_ordinary_error_with_the_code(executor, neighbours, code):
    error = executor.submit(exit_with, code).exception(PATIENCE)
    assert isinstance(error, errors.TaskExited)
    assert isinstance(error, Exception)
    assert error.code == code


@needs("exit")
def test_an_exit_does_not_end_the_caller(executor):
    with pytest.raises(errors.TaskExited):
        executor.submit(exit_with, 0).result(PATIENCE)
    with pytest.raises(errors.TaskExited):
        list(executor.map(exit_with, [1]))


# Time limits and kills


@needs("time", "using")
def test_a_task_that_takes_too_long_ends_with_its_children(executor, stage, neighbours):
    gate, ledger = stage.gate(), stage.ledger()
    error = executor.using(time=0.2).submit(hang_with_child, ledger, gate).exception(PATIENCE)
    assert isinstance(error, errors.TaskTimeout)
    assert isinstance(error, TimeoutError)
    assert ended(int(ledger.lines()[0]))


@needs("time")
def test_a_time_limit_of_the_executor_holds_for_each_task(candidate, stage):
    executor, many = stage.executor(time=0.5), candidate.many(50)
    futures = [executor.submit(hang), *(executor.submit(add, number) for number in range(many))]
    assert isinstance(futures[0].exception(PATIENCE), errors.TaskTimeout)
    assert [future.result(PATIENCE) for future in futures[1:]] == list(range(1, many + 1))


@needs("time", "using")
def test_the_time_that_a_task_waits_is_not_counted(stage):
    executor, gate = stage.executor(1), stage.gate()
    first = executor.submit(wait_at, gate)
    gate.arrived()
    waiting = executor.using(time=0.05).submit(add, 1)
    with pytest.raises(TimeoutError):
        waiting.result(0.1)
    assert not waiting.done()
    gate.open()
    first.result(PATIENCE)
    assert waiting.result(PATIENCE) == 2


@needs("kill")
def test_a_killed_task_ends_cancelled_and_its_worker_serves_on(executor, stage, neighbours):
    gate, told = stage.gate(), []
    future = executor.submit(wait_at, gate)
    future.add_done_callback(told.append)
    gate.arrived()
    future.kill()
    assert wait([future], PATIENCE).done == {future}
    assert future.cancelled()
    assert not future.running()
    assert eventually(lambda: told == [future])


@needs("kill")
def test_a_waiting_task_that_is_killed_never_runs(stage):
    executor, gate, ledger = stage.executor(1), stage.gate(), stage.ledger()
    running = executor.submit(wait_at, gate, 1)
    gate.arrived()
    waiting = executor.submit(note, ledger)
    waiting.kill()
    assert waiting.cancelled()
    gate.open()
    assert running.result(PATIENCE) == 1
    assert executor.submit(add, 1).result(PATIENCE) == 2
    assert ledger.lines() == []


@needs("kill")
def test_killing_what_is_done_changes_nothing(executor):
    future = executor.submit(add, 1)
    assert future.result(PATIENCE) == 2
    future.kill()
    assert future.result(0) == 2
    assert executor.submit(add, 1).result(PATIENCE) == 2


@needs("kill")
def test_a_killed_task_is_gone_with_its_children(executor, stage):
    gate, ledger = stage.gate(), stage.ledger()
    future = executor.submit(hang_with_child, ledger, gate)
    gate.arrived()
    future.kill()
    assert wait([future], PATIENCE).done
    assert ended(int(ledger.lines()[0]))


# What a task knows of its submitter


@needs("directory")
def test_a_task_runs_where_it_was_submitted(executor, stage, monkeypatch):
    gate, places = stage.gate(), [stage.folder / name for name in "abc"]
    blockers = [executor.submit(wait_at, gate) for _ in range(2)]
    gate.arrived(2)
    futures = []
    for place in places * 10:
        place.mkdir(exist_ok=True)
        monkeypatch.chdir(place)
        futures.append(executor.submit(get_directory))
    monkeypatch.chdir("/")
    gate.open()
    wait(blockers, PATIENCE)
    assert [future.result(PATIENCE) for future in futures] == [str(place) for place in places] * 10


@needs("directory")
def test_a_task_that_changes_the_directory_changes_it_for_itself(executor, stage, monkeypatch):
    monkeypatch.chdir(stage.folder)
    gate = stage.gate()
    changes = [executor.submit(change_directory, "/", gate) for _ in range(2)]
    gate.arrived(2)
    gate.open()
    wait(changes, PATIENCE)
    assert executor.submit(get_directory).result(PATIENCE) == str(stage.folder)


@needs("context")
def test_a_task_sees_the_context_of_its_submitter_and_changes_its_own(executor):
    for value in "red", "green":
        token = colour.set(value)
        try:
            futures = [executor.submit(get_colour) for _ in range(20)]
        finally:
            colour.reset(token)
        assert [future.result(PATIENCE) for future in futures] == [value] * 20
    assert executor.submit(get_colour).result(PATIENCE) == "none"
    assert colour.get() == "none"


@needs("import path")
def test_a_task_imports_from_where_its_submitter_can(executor, stage, monkeypatch):
    for worker in [executor.submit(whoami) for _ in range(10)]:
        worker.result(PATIENCE)
    name = f"found_later_{stage.folder.parent.name}_{stage.folder.name}".replace("-", "_")
    (stage.folder / f"{name}.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(stage.folder)
    assert executor.submit(import_, name).result(PATIENCE) == 42


# Output, using, retries


@needs("output")
def test_what_a_task_prints_is_captured_in_order(stage):
    executor = stage.executor(output="capture")
    futures = [executor.submit(speak) for _ in range(4)]
    wait(futures, PATIENCE)
    assert [future.output for future in futures] == ["one\ntwo\nthree\nfour\nfive\n"] * 4
    quiet = executor.submit(add, 1)
    assert (quiet.result(PATIENCE), quiet.output) == (2, "")


@needs("output")
def test_what_a_task_printed_before_it_failed_is_captured(stage):
    executor = stage.executor(output="capture")

    def fail():
        print("before")
        raise ValueError("after")

    future = executor.submit(fail)
    assert isinstance(future.exception(PATIENCE), ValueError)
    assert future.output == "before\n"


@needs("using", "workers")
def test_using_is_a_view_on_the_same_workers(stage):
    executor = stage.executor(1)
    view = executor.using(time=60)
    assert view.submit(whoami).result(PATIENCE) == executor.submit(whoami).result(PATIENCE)
    assert list(view.map(add, [1, 2])) == [2, 3]
    assert view.using(cpus=1).submit(whoami).result(PATIENCE) == executor.submit(whoami).result(PATIENCE)
    executor.shutdown()
    with pytest.raises(RuntimeError, match=r"shut ?down"):
        view.submit(add, 1)


@needs("using")
@pytest.mark.parametrize("wrong", [{"cpus": 0}, {"cpus": -1}, {"time": -1}, {"memory": "4 bananas"}, {"cups": 1}])
def test_using_refuses_what_makes_no_sense(executor, wrong):
    with pytest.raises((errors.UserError, TypeError), match=next(iter(wrong))):
        executor.using(**wrong)


@needs("retries", "using")
@pytest.mark.parametrize("fail", [fail_once, die_once])
def test_a_task_is_tried_again_as_often_as_was_asked(candidate, executor, stage, fail):
    ledger = stage.ledger()
    if fail is die_once and candidate.missing(["crash"]):
        pytest.xfail("it would end this process")
    assert executor.using(retries=2).submit(fail, ledger, 2).result(PATIENCE) == 3
    ledger = stage.ledger()
    error = executor.using(retries=1).submit(fail, ledger, 2).exception(PATIENCE)
    assert isinstance(error, ValueError if fail is fail_once else getattr(errors, candidate.death))
    assert len(ledger.lines()) == 2


@needs("retries")
def test_retries_of_the_executor_are_for_each_task(stage):
    executor, ledgers = stage.executor(retries=1), [stage.ledger() for _ in range(10)]
    assert [future.result(PATIENCE) for future in [executor.submit(fail_once, ledger) for ledger in ledgers]] == [
        2
    ] * 10


def test_nothing_is_tried_again_unless_asked(executor, stage):
    ledger = stage.ledger()
    assert isinstance(executor.submit(fail_once, ledger).exception(PATIENCE), ValueError)
    assert len(ledger.lines()) == 1


# Every future ends


@needs("ends")
def test_every_future_ends_when_a_worker_dies_amidst_many(candidate, stage):
    executor, many = stage.executor(), candidate.many(200)
    futures = [
        executor.submit(leave, 3) if number == many // 2 else executor.submit(add, number) for number in range(many)
    ]
    assert wait(futures, PATIENCE).not_done == set()


@needs("ends")
def test_every_future_ends_when_all_workers_are_killed_from_outside(candidate, stage):
    executor, gate = stage.executor(), stage.gate()
    running = [executor.submit(pid_and_wait, gate, ledger) for ledger in [stage.ledger(), stage.ledger()]]
    gate.arrived(2)
    waiting = [executor.submit(add, number) for number in range(candidate.many(100))]
    for ledger in stage.folder.glob("ledger*"):
        with suppress(ProcessLookupError):  # a pool that one death breaks may have ended the other
            os.kill(int(ledger.read_text()), signal.SIGKILL)
    assert wait(running + waiting, PATIENCE).not_done == set()
    assert all(future.exception(0) for future in running)


@needs("ends")
def test_every_future_ends_when_a_worker_dies_during_shutdown(candidate, stage):
    executor, gate = stage.unkept_executor(), stage.gate()
    futures = [executor.submit(leave_at, gate), *(executor.submit(add, n) for n in range(candidate.many(100)))]
    gate.arrived()
    executor.shutdown(wait=False)
    gate.open()
    assert wait(futures, PATIENCE).not_done == set()
    executor.shutdown()


@needs("ends")
@pytest.mark.parametrize("payload", [lock, make_not_there, NotThere(), threading.Lock()], ids="abcd")
def test_every_future_ends_when_something_does_not_travel(candidate, stage, payload):
    executor, many = stage.executor(), candidate.many(50)
    futures = [executor.submit(add, number) for number in range(many)]
    try:
        futures.append(executor.submit(payload) if callable(payload) else executor.submit(take, payload))
        futures += [executor.submit(add, number) for number in range(many)]
    except Exception:
        pass  # said so in submit, or broke: the ones before it have to end all the same
    assert wait(futures, PATIENCE).not_done == set()


@needs("ends")
def test_every_future_ends_when_a_worker_dies_with_a_large_result_half_sent(candidate, stage):
    executor = stage.executor()
    futures = [executor.submit(leave_with_a_large_result) for _ in range(2)]
    futures += [executor.submit(add, number) for number in range(candidate.many(50))]
    assert wait(futures, PATIENCE).not_done == set()


# The end of the parent

BLOCKED = """
import os
from contract.payloads import hang_with_child, note
from contract.stage import Gate, Ledger

gate, late = Gate(folder / "gate"), Ledger(folder / "late")
for number in range(2):
    executor.submit(hang_with_child, Ledger(folder / f"child{number}"), gate)
for number in range(20):
    executor.submit(note, late, number)
gate.arrived(2)
print("ready", flush=True)
executor.shutdown()
"""


def family(pid: int) -> set[int]:
    """All descendants of a process, those of forkservers too, as far as they are still related."""
    parents = {}
    for folder in os.listdir("/proc"):
        if folder.isdigit():
            try:
                with open(f"/proc/{folder}/stat") as file:
                    parents[int(folder)] = int(file.read().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                pass
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


@needs("orphans")
def test_nothing_goes_on_when_the_parent_is_killed(candidate, tmp_path):
    process = start(candidate, tmp_path, write_script(tmp_path, BLOCKED))
    assert process.stdout.readline() == "ready\n"
    relatives = family(process.pid)
    process.kill()
    finish(process)
    assert all(ended(pid) for pid in relatives)
    assert (tmp_path / "late").read_text() == ""


@needs("interrupt")
@pytest.mark.parametrize("group", [True, False], ids=["as by Ctrl-C", "as by kill -INT"])
def test_an_interrupt_ends_the_program_and_everything_it_started(candidate, tmp_path, group):
    process = start(candidate, tmp_path, write_script(tmp_path, BLOCKED), start_new_session=True)
    assert process.stdout.readline() == "ready\n"
    relatives = family(process.pid)
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    over = finish(process)
    assert all(ended(pid) for pid in relatives)
    assert over.stderr.endswith("KeyboardInterrupt\n")
    assert over.stderr.count("Traceback") == 1, over.stderr
    assert (tmp_path / "late").read_text() == ""
