"""Every exception of weft's own that a user can meet: one shallow tree, by who is at fault.

    WeftError
    ├── UserError             the call was wrong; nothing was started, nothing was lost
    │   ├── ArgumentError     (TypeError)     an argument of the wrong kind; path, expected, got
    │   ├── ChoiceError       (ValueError)    a value that is none of those allowed
    │   ├── CycleError        (ValueError)    dependencies that wait for each other: b <- a <- b
    │   ├── ClosedError       (RuntimeError)  a submit after shutdown
    │   ├── ConditionError    (RuntimeError)  a condition of a job raised when it was asked
    │   ├── DeadlockError     (RuntimeError)  a wait that could never end
    │   ├── RunInUse          (RuntimeError)  the run goes on under another driver; run, host, pid
    │   └── UnknownValueError (RuntimeError)  a value that is asked for before it can be known
    ├── StorageError          (OSError)        where runs are kept cannot be written, or not be trusted
    │   └── TamperedError                      what is there is not what weft wrote; it is not read
    ├── WorkflowError         (ExceptionGroup) jobs of a run failed; one JobFailed for each
    ├── ProcessError          (ExceptionGroup) procs failed; what each of them failed with
    ├── ProcSkippedError                       a proc says that there was nothing to do; it has succeeded
    │   └── ProcNoChangeError                  and that nothing has changed for those that come after it
    └── TaskError             the task was accepted and could not be done
        ├── ProcFailedError                   a proc says that it has failed; no traceback
        ├── JobFailed                         a job, or an element of one, failed; job, element, log
        ├── PreconditionFailed                what must hold before a job does not; job, element, condition
        ├── PostconditionFailed               what must hold after a job does not; job, element, condition
        ├── ResultError       (TypeError)     its function returned something else than it promises
        ├── TaskExited                        its function called sys.exit(); code
        ├── TaskTimeout       (TimeoutError)  it ran longer than its time=; seconds
        ├── WorkerDied                        the process that ran it ended; task, pid, exitcode, signal, stderr
        │   └── JobDied                       on a cluster: its job ended without an outcome; job_id, state, reason, log
        │       ├── OutOfMemory (MemoryError)          of too little memory=
        │       └── TimeLimitReached (TaskTimeout)     of too little time=; the batch system ended it
        ├── SubmitError                       the batch system refused it; command, said
        ├── RemoteError                       an exception that could not be brought over; type_name, text, traceback
        ├── ExecutorBroken    (BrokenExecutor) no worker can be started any more
        └── DependencyNeverSatisfied          what it waited for can no longer come

Where Python has a word for the mistake (TypeError, ValueError, RuntimeError), the class is that too, so that
``except TypeError`` works as anywhere. What a user's own function raises is passed on as it is, never wrapped. All of
them pickle, with their attributes.
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "ArgumentError",
    "ChoiceError",
    "ClosedError",
    "ConditionError",
    "CycleError",
    "DeadlockError",
    "DependencyNeverSatisfied",
    "ExecutorBroken",
    "JobDied",
    "JobFailed",
    "OutOfMemory",
    "PostconditionFailed",
    "PreconditionFailed",
    "ProcFailedError",
    "ProcNoChangeError",
    "ProcSkippedError",
    "ProcessError",
    "RemoteError",
    "RemoteTraceback",
    "ResultError",
    "RunInUse",
    "StorageError",
    "SubmitError",
    "TamperedError",
    "TaskError",
    "TaskExited",
    "TaskTimeout",
    "TimeLimitReached",
    "UnknownValueError",
    "UserError",
    "WeftError",
    "WorkerDied",
    "WorkflowError",
    "ending",
    "told",
]


class WeftError(Exception):
    """The root of weft's own exceptions."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Python's own way calls the class with the message alone, which lacks the facts that some of ours insist on.
        return _remake, (type(self), self.args, self.__dict__)


def _remake(kind: type[WeftError], args: tuple[Any, ...], state: dict[str, Any]) -> WeftError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class UserError(WeftError):
    """The call was wrong. Nothing was started and nothing was lost."""


class ArgumentError(UserError, TypeError):
    """An argument of the wrong kind."""


class ChoiceError(UserError, ValueError):
    """A value that is none of those allowed."""


class CycleError(UserError, ValueError):
    """Dependencies that wait for each other; the message shows the path as ``b <- a <- b``."""


class ClosedError(UserError, RuntimeError):
    """Something was submitted after ``shutdown()``."""


class ConditionError(UserError, RuntimeError):
    """A condition of a job raised when it was asked whether the job is done; ``__cause__`` is what it raised."""


class DeadlockError(UserError, RuntimeError):
    """A wait that could never end, because the waiting thread is the one that would have to do the work."""


class RunInUse(UserError, RuntimeError):  # noqa: N818 - says what is the case
    """A run that goes on has one driver, and this is not it.

    Attributes:
        run: the name of the run.
        host, pid: where its driver is, as far as that is known.
    """

    def __init__(self, message: str, *, run: str, host: str | None = None, pid: int | None = None) -> None:
        super().__init__(message)
        self.run = run
        self.host = host
        self.pid = pid


class UnknownValueError(UserError, RuntimeError):
    """A value was needed before it can be known, such as the result of a future that is not done."""


class StorageError(WeftError, OSError):
    """A folder or file of a run cannot be read or written, belongs to somebody else, or can be changed by others."""


class TamperedError(StorageError):
    """A file of a run is not what weft wrote there, so it is not read: what is read may be unpickled."""


class TaskError(WeftError):
    """A task was accepted and could not be done."""


class ProcFailedError(TaskError):
    """Raised by a proc that has failed and has said all there is to say: the message is its reason."""


class ProcSkippedError(WeftError):
    """Raised by a proc that finds that there is nothing to do; it counts as a success, and the message is shown."""


class ProcNoChangeError(ProcSkippedError):
    """Raised by a proc that finds that nothing has changed; those that depend on it see no change."""


class JobFailed(TaskError):  # noqa: N818 - says what happened
    """A job, or one element of its array, failed; ``__cause__`` is the exception that it failed with.

    Attributes:
        job: the `Job`; its name, in a run that was loaded.
        element: of its array; None where the job has none, or failed as a whole.
        log: the file with what it wrote and its traceback; None where there is none.
    """

    def __init__(self, message: str, *, job: Any, element: Any = None, log: Path | None = None) -> None:
        super().__init__(message)
        self.job = job
        self.element = element
        self.log = log


class _ConditionFailed(TaskError):  # noqa: N818
    """A condition does not hold.

    Attributes:
        job: the name of the job.
        element: of its array; None where there is none, or the condition is for the job as a whole.
        condition: what the condition is called.
    """

    def __init__(self, message: str, *, job: str, element: Any = None, condition: str = "") -> None:
        super().__init__(message)
        self.job = job
        self.element = element
        self.condition = condition


class PreconditionFailed(_ConditionFailed):
    """What must hold before a job, by ``@ensure(..., when="before")``, did not; the job was not begun."""


class PostconditionFailed(_ConditionFailed):
    """What must hold after a job, by ``@ensure(...)``, did not, though its function returned."""


class ResultError(TaskError, TypeError):
    """A function returned something else than its return annotation or its mock promises."""


class TaskExited(TaskError):  # noqa: N818 - a task that says so has not always gone wrong
    """A task raised SystemExit. An ordinary exception: asking for a result must not end the program that asks."""

    def __init__(self, message: str, *, code: Any) -> None:
        super().__init__(message)
        self.code = code


class TaskTimeout(TaskError, TimeoutError):  # noqa: N818 - as in TimeoutError, which it is
    """A task ran longer than its ``time=`` allows, and was ended for it; `seconds` is that limit."""

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class WorkerDied(TaskError):  # noqa: N818 - says what happened
    """The process that ran a task ended, and the task with it.

    Attributes:
        task: what ran.
        pid: of the process, where it is known.
        exitcode: what the process ended with; None where a signal ended it, or nobody knows.
        signal: the name of the signal that ended it, such as ``"SIGSEGV"``; None where none did.
        stderr: the last lines that it wrote to stderr, where they are known.
    """

    def __init__(
        self, message: str, *, task: str, pid: int | None, exitcode: int | None, signal: str | None, stderr: str = ""
    ) -> None:
        TaskError.__init__(self, message)  # and not the next one's: that may be a TaskTimeout, which asks for more
        self.task = task
        self.pid = pid
        self.exitcode = exitcode
        self.signal = signal
        self.stderr = stderr

    @classmethod
    def told_by(cls, status: int | None, *, task: str, pid: int | None, stderr: str = "") -> WorkerDied:
        """With the message that an exit status makes: as in `subprocess`, ``-n`` where signal n ended the process."""
        signal = _signal_name(-status) if status is not None and status < 0 else None
        exitcode = status if signal is None else None
        process = "its worker process" if pid is None else f"its worker process {pid}"
        tail = "; the last that it wrote to stderr:\n" + stderr.rstrip() if stderr.strip() else ""
        message = f"{task} failed: {process} {ending(status)} while it ran{tail}"
        return cls(message, task=task, pid=pid, exitcode=exitcode, signal=signal, stderr=stderr)


_MEANINGS = {
    "SIGABRT": ", which is how C code gives up",
    "SIGBUS": ": C code used memory that is not there",
    "SIGKILL": ": by somebody, or by the system for want of memory",
    "SIGSEGV": ": C code used memory that is not its own, or the stack overflowed",
    "SIGTERM": ": somebody asked it to end",
}


def ending(status: int | None) -> str:
    """What a process did that ended with this status, as in `subprocess`: ``"was killed by SIGSEGV: ..."``."""
    if status is None:
        return "ended"
    if status >= 0:
        return f"ended with exit code {status}"
    signal = _signal_name(-status)
    return f"was killed by {signal}{_MEANINGS.get(signal, '')}"


def _signal_name(number: int) -> str:
    from signal import Signals

    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


class JobDied(WorkerDied):
    """The job that ran a task on a cluster ended, and left no outcome.

    Attributes:
        job_id: of the batch system, such as ``"123_4"``; None where it was never known.
        state: the batch system's own word for its end, such as ``"NODE_FAIL"``; empty where nobody knows.
        reason: why, in the batch system's words; may be empty.
        log: the file with what it wrote; `stderr` has its last lines.
    """

    def __init__(
        self,
        message: str,
        *,
        task: str,
        job_id: str | None,
        state: str = "",
        reason: str = "",
        exitcode: int | None = None,
        signal: int | None = None,
        log: Path | None = None,
        stderr: str = "",
    ) -> None:
        name = None if signal is None else _signal_name(signal)
        super().__init__(message, task=task, pid=None, exitcode=exitcode, signal=name, stderr=stderr)
        self.job_id = job_id
        self.state = state
        self.reason = reason
        self.log = log


class OutOfMemory(JobDied, MemoryError):  # noqa: N818 - as in MemoryError, which it is
    """A job was ended for using more memory than it had asked for."""

    def __new__(cls, *args: Any, **_: Any) -> OutOfMemory:
        # MemoryError's own is for exceptions that are made of it alone.
        return BaseException.__new__(cls, *args)


class TimeLimitReached(JobDied, TaskTimeout):
    """A job was ended by the batch system for running longer than it had asked for; `seconds` is that limit."""

    def __init__(self, message: str, *, seconds: float, **facts: Any) -> None:
        JobDied.__init__(self, message, **facts)
        self.seconds = seconds


class SubmitError(TaskError):
    """A batch system refused a task for good.

    Attributes:
        said: what it said.
    """

    def __init__(self, message: str, *, said: str) -> None:
        super().__init__(message)
        self.said = said


class RemoteError(TaskError):
    """Stands for an exception that could not be brought over from another process.

    Attributes:
        type_name: of that exception, with its module.
        text: what it said.
        traceback: where it was raised, as text.
    """

    def __init__(self, message: str, *, type_name: str, text: str, traceback: str) -> None:
        super().__init__(message)
        self.type_name = type_name
        self.text = text
        self.traceback = traceback


class ExecutorBroken(TaskError, BrokenExecutor):  # noqa: N818 - as in BrokenExecutor, which it is
    """An executor cannot start workers any more: they die before they are ready, or their initializer fails."""


class DependencyNeverSatisfied(TaskError):  # noqa: N818 - the name that design and batch systems use for it
    """What the task waited for can no longer come; ``__cause__`` says why, where there is an exception to tell."""


class WorkflowError(WeftError, ExceptionGroup[JobFailed]):
    """Jobs of a run failed: a group with one `JobFailed` for each job, or element of an array, that did."""

    def derive(self, excs: Sequence[Any], /) -> ExceptionGroup[Any]:
        return WorkflowError(self.message, excs)


class ProcessError(WeftError, ExceptionGroup[Exception]):
    """Procs failed: the message names each with its reason and its log; the group has what they failed with."""

    def derive(self, excs: Sequence[Any], /) -> ExceptionGroup[Any]:
        return ProcessError(self.message, excs)


class RemoteTraceback(Exception):  # noqa: N818 - it is no error, it shows where one was
    """The traceback of an exception in the process where it was raised; its `__cause__` here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def told(exception: BaseException) -> str:
    """Type and text of an exception; the type alone where its `__str__`, which is somebody's code, raises."""
    try:
        return f"{type(exception).__name__}: {exception}"
    except BaseException:  # noqa: BLE001
        return type(exception).__name__
