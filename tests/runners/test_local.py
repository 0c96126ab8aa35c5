"""ConcurrentRunner and LocalExecutor: functions go to workers once, and what runs can be stopped."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, Future

import pytest

from contract.stage import Stage, ended
from hand import PATIENCE, forgive
from runners.zoo import Counting, add, vanish
from weft import ConcurrentRunner, LocalExecutor, Scheduler, State, task
from weft.errors import ArgumentError, ChoiceError, TaskTimeout, WorkerDied
from weft.executors import functions
from weft.executors.supervisor import ABORT_GRACE
from weft.payload.failures import OURS
from weft.runners.remote import Validated

SCRIPT = """
from weft import task

factor = 2

@task
def scale(x: int) -> int:
    return factor * x

@task(mock=lambda x: [0] * x)
def spread(x: int) -> list[int]:
    return [factor] * x

@task(mock=[0, 0])
def pair(x: int) -> list[int]:
    return [x, factor]

def plain(x: int) -> int:
    return factor * scale(x)
"""


GUARD = threading.Lock()


@pytest.fixture(scope="module")
def executor():
    with LocalExecutor(2) as executor:
        yield executor


@pytest.fixture(params=[False, True], ids=["direct", "scheduled"])
def run(request, executor):
    with ConcurrentRunner(request.param, executor) as run:
        yield run


@pytest.fixture
def stage(tmp_path):
    with Stage(LocalExecutor, tmp_path) as stage:
        yield stage


@pytest.fixture
def script():
    """What a script defines, which travels by value."""
    scope = {"__name__": "__main__"}
    exec(SCRIPT, scope)
    return scope


@pytest.fixture
def packed(monkeypatch):
    """The functions that have been packed."""
    seen = []
    pack = functions.packed_value

    def note(value):
        if isinstance(value, Validated):
            seen.append(value.__name__)
        return pack(value)

    monkeypatch.setattr(functions, "packed_value", note)
    return seen


# A function is shipped once


@pytest.mark.parametrize(("name", "result"), [("scale", 6), ("plain", 12)])
def test_a_function_of_the_script_is_packed_once(run, script, packed, name, result):
    results = [run(script[name], 3) for _ in range(100)]
    assert [future.result(PATIENCE) for future in results] == [result] * 100
    assert packed == [name]


def test_a_task_with_a_function_as_its_mock_is_packed_once(run, script, packed):
    results = [run(script["spread"], 1)[0] for _ in range(20)]
    assert [future.result(PATIENCE) for future in results] == [2] * 20
    assert packed == ["spread"]


def test_a_function_of_a_module_is_packed_once(run, packed):
    results = [run(add, number) for number in range(20)]
    assert [future.result(PATIENCE) for future in results] == list(range(1, 21))
    assert packed == ["add"]


def test_what_may_change_unseen_is_packed_each_time_and_is_the_same_to_the_workers(run, script, packed, executor):
    known = [[future.result(PATIENCE) for future in run(script["pair"], number)] for number in range(5)]
    assert known == [[number, 2] for number in range(5)]
    assert packed == ["pair"] * 5
    shelf = executor._pool.shelf
    assert shelf.function(Validated(script["pair"])) is shelf.function(Validated(script["pair"]))


@pytest.mark.parametrize(("name", "results"), [("scale", [3, 30]), ("plain", [3, 300])])
def test_a_global_that_is_bound_anew_is_seen(run, script, packed, name, results):
    found = []
    for script["factor"] in (1, 10):
        found.append(run(script[name], 3).result(PATIENCE))
    assert found == results
    assert packed == [name, name]


def test_a_function_that_is_defined_anew_is_seen(run, script):
    assert run(script["plain"], 1).result(PATIENCE) == 4
    exec(SCRIPT.replace("factor * x", "factor - x"), script)
    assert run(script["plain"], 1).result(PATIENCE) == 2


def test_a_task_whose_parts_are_replaced_is_seen(run, script):
    scale = script["scale"]
    assert run(scale, 2).result(PATIENCE) == 4
    scale.function = lambda x: -x
    assert run(scale, 2).result(PATIENCE) == -2


def test_a_subclass_may_have_more_than_its_base_says(run):
    counting = Counting(add.function)
    for counting.count in range(3):
        assert run(counting, 1).result(PATIENCE) == counting.count


def test_the_runner_holds_no_function_that_nobody_needs(executor):
    class Model:
        def predict(self, x: int) -> int:
            return x

    with ConcurrentRunner(executor=executor) as run:
        assert run(Model().predict, 1).result(PATIENCE) == 1
        assert run(lambda x: x, 1).result(PATIENCE) == 1
        assert all(not hasattr(known.metafunc.function, "__self__") for known in run._validated.values())


TEXTS = """\
from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal, NewType, Union

from weft import ConcurrentRunner, task

fast = threading.Lock()
Name = NewType("Name", str)
Number = Union[int, float]

@dataclass
class Point:
    x: int

@task
def move(p: Point, by: Number = 1, how: Literal["fast"] = "fast", name: Name | None = None) -> list[Point]:
    return [type(p)(p.x + by)]

with ConcurrentRunner(schedule=True) as run:
    print(run(move, Point(1)).result())
"""


def test_types_of_the_script_may_be_written_as_texts(tmp_path):
    file = tmp_path / "script.py"
    file.write_text(TEXTS)
    done = subprocess.run([sys.executable, "-W", "error", file], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("[Point(x=2)]\n", "")


# What calls ask for, and what becomes of them


def test_a_time_limit_of_a_task_stops_it(run):
    with pytest.raises(TaskTimeout, match=r"sleep ran longer than its time limit of 0.05 s"):
        run(task(time=0.05, name="sleep")(lambda: time.sleep(PATIENCE))).result(PATIENCE)
    forgive(run)


def test_a_task_is_tried_again_as_often_as_it_says(run, stage):
    ledger = stage.ledger()

    def flaky(ledger: object) -> int:
        ledger.note("try")
        if len(ledger.lines()) < 3:
            raise OSError("again")
        return len(ledger.lines())

    assert run(task(retries=2)(flaky), ledger).result(PATIENCE) == 3
    with pytest.raises(OSError, match="again"):
        run(task(retries=1)(flaky), stage.ledger()).result(PATIENCE)
    assert run(task(retries={"died": 1})(vanish_once), stage.ledger()).result(PATIENCE) == 2
    forgive(run)


def vanish_once(ledger: object) -> int:
    ledger.note("try")
    if len(ledger.lines()) == 1:
        os._exit(3)
    return len(ledger.lines())


def test_a_task_gets_the_cpus_that_it_asks_for(run):
    def threads() -> str:
        return os.environ["OMP_NUM_THREADS"]

    found = [run(task(cpus=cpus)(threads)).result(PATIENCE) for cpus in (1, 2)]
    assert found == [os.environ.get("OMP_NUM_THREADS", number) for number in ("1", "2")]


def test_what_this_machine_does_not_have_fails_that_call_only(run):
    with pytest.raises(ChoiceError, match="gpus=1000 is more than there are here"):
        run(task(gpus=1000)(lambda: 1)).result(PATIENCE)
    assert run(add, 1).result(PATIENCE) == 2
    forgive(run)


@pytest.mark.parametrize(
    ("function", "args", "where"),
    [
        (lambda first, second: None, (1, threading.Lock()), "argument 'second': "),
        (lambda first, second: None, (1, {"guard": [threading.Lock()]}), r"argument 'second', at \['guard'\]\[0\]: "),
        (lambda first, *others: None, (1, 2, threading.Lock()), r"argument 'others', at \[1\]: "),
        (lambda first, guard=GUARD: None, (1,), "the function <lambda>, the default of 'guard': "),
    ],
)
def test_what_cannot_be_sent_is_named_as_the_function_names_it(run, function, args, where):
    with pytest.raises(ArgumentError, match=f"^<lambda> cannot be sent to another process: {where}cannot pickle"):
        run(function, *args).result(PATIENCE)
    assert run(add, 1).result(PATIENCE) == 2
    forgive(run)


@pytest.mark.parametrize("end", ["success", "failure", "cancelled"])
def test_a_chain_of_any_length_ends(executor, end):
    root = Future()
    with ConcurrentRunner(schedule=True, executor=executor) as run:
        last = root
        for _ in range(3 * sys.getrecursionlimit()):
            last = run(add, last)
        if end == "success":
            root.set_result(0)
            assert last.result(PATIENCE) == 3 * sys.getrecursionlimit()
        elif end == "failure":
            root.set_exception(error := ValueError("no"))
            assert last.exception(PATIENCE) is error
            forgive(run)
        else:
            root.cancel()
            with pytest.raises(CancelledError):
                last.result(PATIENCE)


def test_a_call_that_ends_its_process_fails_alone(run):
    neighbours = [run(add, number) for number in range(20)]
    with pytest.raises(WorkerDied, match=r"vanish failed: .*exit code 3"):
        run(vanish, 1).result(PATIENCE)
    assert [future.result(PATIENCE) for future in neighbours] == list(range(1, 21))
    forgive(run)


def test_a_failure_shows_the_lines_of_the_user_and_none_of_ours(run):
    def wrong(x: int) -> int:
        return x // 0

    error = run(wrong, 1).exception(PATIENCE)
    assert isinstance(error, ZeroDivisionError)
    assert "return x // 0" in str(error.__cause__)
    assert OURS not in str(error.__cause__)
    forgive(run)


# Cancelled while it runs


def stay(gate) -> int:
    gate.wait(b"%d\n" % os.getpid())
    return os.getpid()


def stay_checked(gate: object) -> int:
    return stay(gate)


def pid_at(gate) -> int:
    """Of the process that comes to the gate."""
    digits = b""
    while not digits.endswith(b"\n"):
        digits += gate.arrived()
    return int(digits)


def test_a_scheduled_task_that_is_cancelled_while_it_runs_is_stopped(stage):
    executor, gate = stage.executor(), stage.gate()
    with Scheduler(executor.submit) as scheduler:
        first = scheduler.submit([stay, gate])
        after = scheduler.submit([add.function, 1], dependencies=[first])
        pid = pid_at(gate)
        assert pid != os.getpid()
        assert first.cancel()
        assert ended(pid)
        assert first.state is State.CANCELLED
        assert after.result(PATIENCE) == 2


def test_a_scheduled_call_that_is_cancelled_while_it_runs_is_stopped(stage):
    gate = stage.gate()
    with ConcurrentRunner(schedule=True) as run:
        call = run(stay_checked, gate)
        pid = pid_at(gate)
        assert call.cancel()
        assert ended(pid)
        with pytest.raises(CancelledError):
            call.result(PATIENCE)


def test_a_work_of_several_tasks_is_stopped_when_nobody_wants_it_any_more(stage):
    executor, gate = stage.executor(), stage.gate()
    shared = executor.submit(stay, gate)
    pid = pid_at(gate)
    with Scheduler(lambda: shared) as scheduler:
        tasks = [scheduler.submit() for _ in range(2)]
        scheduler.shutdown()
        tasks[0].cancel()
        assert scheduler._dispatcher.flushed().wait(PATIENCE)
        assert not shared.done()
        tasks[1].cancel()
        assert ended(pid)
        assert shared.cancelled()


def test_cancelling_what_waits_leaves_alone_what_runs(stage):
    executor, gate = stage.executor(1), stage.gate()
    with Scheduler(executor.submit) as scheduler:
        running = scheduler.submit([stay, gate])
        waiting = scheduler.submit([add.function, 1], dependencies=[running])
        pid = pid_at(gate)
        scheduler.shutdown(cancel_futures=True)
        with pytest.raises(CancelledError):
            waiting.result(PATIENCE)
        gate.open()
        assert running.result(PATIENCE) == pid


def test_stopping_goes_through_schedulers_of_schedulers(stage):
    executor, gate = stage.executor(), stage.gate()
    with Scheduler(executor.submit) as inner, Scheduler(inner.submit) as outer:
        chain = outer.submit([[stay, gate]])
        pid = pid_at(gate)
        assert chain.cancel()
        assert ended(pid)


def test_cancelling_one_part_of_a_call_leaves_it_alone(stage):
    gate = stage.gate()

    @task(mock=[0, 0])
    def both(gate: object) -> list[int]:
        return [stay(gate), 0]

    with ConcurrentRunner(schedule=True) as run:
        first, second = run(both, gate)
        pid_at(gate)
        assert second.cancel()
        gate.open()
        assert first.result(PATIENCE)


# Ctrl-C

INTERRUPTED = """if True:
    import os, sys, time
    from weft import ConcurrentRunner, LocalExecutor
    from weft.executors import supervisor

    supervisor.GRACE = supervisor.LEAVE_GRACE = 1000  # on other occasions
    schedule, where, stubborn = sys.argv[1] == "True", sys.argv[2], sys.argv[3] == "True"

    def hang(number: int) -> int:
        if stubborn:
            import signal
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(os.getpid(), flush=True)
        while True:
            time.sleep(100)

    def call(run):
        calls = [run(hang, number) for number in range(10)]
        if where == "result":
            calls[0].result()

    if where == "bare":
        run = ConcurrentRunner(schedule)
        call(run)
        run.shutdown()
    elif where == "own":
        with ConcurrentRunner(schedule) as run:
            call(run)
    elif where == "given":
        with LocalExecutor(2) as executor, ConcurrentRunner(schedule, executor) as run:
            call(run)
    else:
        with ConcurrentRunner(schedule, LocalExecutor(2)) as run:
            call(run)
"""


@pytest.mark.parametrize("schedule", [False, True], ids=["direct", "scheduled"])
@pytest.mark.parametrize(
    ("where", "stubborn"),
    [
        ("result", False),
        ("shutdown", False),
        ("given", False),
        ("own", False),
        ("bare", False),
        ("given", True),
        ("own", True),
    ],
)
def test_after_ctrl_c_a_script_ends_within_a_second_and_leaves_no_process(where, stubborn, schedule):
    command = [sys.executable, "-c", INTERRUPTED, str(schedule), where, str(stubborn)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as script:
        try:
            pid = int(script.stdout.readline())
            os.killpg(script.pid, signal.SIGINT)
            # The pipes end when the last process that writes to them has ended.
            _, errors = script.communicate(timeout=PATIENCE / 2)
        finally:
            script.kill()
    assert script.returncode == -signal.SIGINT
    assert "calls that had not started are cancelled" in errors
    assert "stopped" in errors
    assert "waiting" not in errors
    assert ended(pid)
    assert ABORT_GRACE <= 0.5


def test_after_ctrl_c_what_is_submitted_meanwhile_is_stopped_too(stage):
    executor, gate = stage.executor(), stage.gate()
    executor.submit(int).result(PATIENCE)  # there is a worker that begins at once
    with pytest.raises(KeyboardInterrupt), ConcurrentRunner(schedule=True, executor=executor) as run:
        hold, entered = threading.Event(), threading.Event()
        submit_ready = run.submit_ready

        def late(closure):
            entered.set()
            assert hold.wait(PATIENCE)
            return submit_ready(closure)

        run.submit_ready = late
        call = run(stay_checked, gate)
        assert entered.wait(PATIENCE)
        threading.Timer(0.05, hold.set).start()
        raise KeyboardInterrupt
    assert call.cancelled()
