"""Errors tell what happened, and travel between processes with all that they know."""

import concurrent.futures
import copy
import pickle
from pathlib import Path

import pytest

from weft import errors
from weft.errors import (
    ExecutorBroken,
    JobDied,
    JobFailed,
    OutOfMemory,
    PostconditionFailed,
    PreconditionFailed,
    ProcessError,
    ProcFailedError,
    RemoteError,
    RemoteTraceback,
    RunInUse,
    SubmitError,
    TaskError,
    TaskExited,
    TaskTimeout,
    TimeLimitReached,
    WeftError,
    WorkerDied,
    WorkflowError,
    told,
)

KINDS = [kind for name in errors.__all__ if isinstance(kind := getattr(errors, name), type)]
WITH_FACTS = [
    WorkerDied("it died", task="fit(3)", pid=4, exitcode=None, signal="SIGSEGV", stderr="oh no"),
    TaskExited("it exited", code=3),
    TaskTimeout("it took too long", seconds=1.5),
    JobFailed("fit[3] failed", job="fit", element=3, log=Path("log")),
    PreconditionFailed("no data", job="fit", condition="there"),
    PostconditionFailed("no result", job="fit", element=3, condition="there"),
    RunInUse("it goes on", run="r-1", host="here", pid=5),
    WorkflowError("2 jobs failed", [JobFailed("fit failed", job="fit"), JobFailed("plot failed", job="plot")]),
    ProcessError("2 procs failed", [ValueError("x"), ProcFailedError("no disk")]),
    JobDied("it died", task="fit", job_id="7_3", state="NODE_FAIL", reason="", signal=9, log=Path("log"), stderr="x"),
    OutOfMemory("too much", task="fit", job_id="7", state="OUT_OF_MEMORY", exitcode=1),
    TimeLimitReached("too long", task="fit", job_id="7", state="TIMEOUT", seconds=60.0),
    SubmitError("refused", said="sbatch: error: no such partition"),
    RemoteError("it stays there", type_name="zoo.Odd", text="odd", traceback="Traceback ..."),
]
SAMPLES = [*(kind("some text") for kind in KINDS if kind not in map(type, WITH_FACTS)), *WITH_FACTS]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "through", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy], ids=["pickle", "copy"]
)
def test_an_error_comes_back_with_its_text_its_facts_and_its_notes(error, through):
    error.add_note("while testing")
    again = through(error)
    assert type(again) is type(error)
    assert (str(again), repr(again.args), vars(again)) == (str(error), repr(error.args), vars(error))
    assert again.__notes__[-1] == "while testing"


def test_a_subclass_with_a_constructor_of_its_own_comes_back_too():
    again = pickle.loads(pickle.dumps(Special(1, two=2)))
    assert (str(again), again.two) == ("1 and 2", 2)


class Special(TaskError):
    def __init__(self, one, *, two):
        super().__init__(f"{one} and {two}")
        self.two = two


def test_each_error_is_what_python_calls_such_a_mistake():
    assert issubclass(TaskTimeout, TimeoutError)
    assert issubclass(ExecutorBroken, concurrent.futures.BrokenExecutor)
    assert not issubclass(TaskExited, SystemExit)
    assert all(issubclass(kind, WeftError) for kind in KINDS if kind is not RemoteTraceback)


@pytest.mark.parametrize(
    ("status", "facts", "text"),
    [
        (-11, (None, "SIGSEGV"), "its worker process 7 was killed by SIGSEGV: C code used memory that is not its own"),
        (-9, (None, "SIGKILL"), "was killed by SIGKILL: by somebody, or by the system for want of memory"),
        (-10, (None, "SIGUSR1"), "was killed by SIGUSR1 while it ran"),
        (-250, (None, "signal 250"), "was killed by signal 250"),
        (3, (3, None), "its worker process 7 ended with exit code 3 while it ran"),
        (0, (0, None), "ended with exit code 0"),
        (None, (None, None), "its worker process 7 ended while it ran"),
    ],
)
def test_the_death_of_a_worker_is_told_by_its_exit_status(status, facts, text):
    error = WorkerDied.told_by(status, task="fit(3)", pid=7)
    assert (error.exitcode, error.signal) == facts
    assert (error.task, error.pid, error.stderr) == ("fit(3)", 7, "")
    assert str(error).startswith("fit(3) failed: ")
    assert text in str(error)
    assert "stderr" not in str(error)


def test_the_death_of_a_worker_shows_what_it_wrote_last():
    error = WorkerDied.told_by(1, task="fit", pid=None, stderr="a\nb\n")
    told = "its worker process ended with exit code 1 while it ran; the last that it wrote to stderr:\na\nb"
    assert str(error) == f"fit failed: {told}"


def test_a_remote_traceback_begins_on_a_line_of_its_own():
    assert str(RemoteTraceback("Traceback ...")) == "\nTraceback ..."


def test_an_error_is_told_with_its_type_and_without_its_text_where_that_cannot_be_made():
    class Odd(Exception):
        def __str__(self):
            raise SystemExit

    assert told(ValueError("no")) == "ValueError: no"
    assert told(Odd()) == "Odd"


def test_a_group_of_failed_jobs_can_be_split():
    group = WorkflowError("2 jobs failed", [JobFailed("a", job="a"), JobFailed("b", job="b")])
    match, rest = group.split(lambda error: getattr(error, "job", None) == "a")
    assert (type(match), [error.job for error in match.exceptions]) == (WorkflowError, ["a"])
    assert (type(rest), [error.job for error in rest.exceptions]) == (WorkflowError, ["b"])
