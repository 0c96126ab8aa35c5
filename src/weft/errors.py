"""Every exception of weft's own that a user can meet: one shallow tree, by who is at fault.

    WeftError
    ├── UserError             the call was wrong; nothing was started, nothing was lost
    │   ├── ArgumentError     (TypeError)     an argument of the wrong kind; path, expected, got
    │   ├── ChoiceError       (ValueError)    a value that is none of those allowed
    │   ├── CycleError        (ValueError)    dependencies that wait for each other: b <- a <- b
    │   ├── ClosedError       (RuntimeError)  a submit after shutdown
    │   ├── DeadlockError     (RuntimeError)  a wait that could never end
    │   └── UnknownValueError (RuntimeError)  a value that is asked for before it can be known
    └── TaskError             the task was accepted and could not be done
        ├── ResultError       (TypeError)     its function returned something else than it promises
        └── DependencyNeverSatisfied          what it waited for can no longer come

Where Python has a word for the mistake (TypeError, ValueError, RuntimeError), the class is that too, so that
``except TypeError`` works as anywhere. What a user's own function raises is passed on as it is, never wrapped.
"""

__all__ = [
    "ArgumentError",
    "ChoiceError",
    "ClosedError",
    "CycleError",
    "DeadlockError",
    "DependencyNeverSatisfied",
    "ResultError",
    "TaskError",
    "UnknownValueError",
    "UserError",
    "WeftError",
]


class WeftError(Exception):
    """The root of weft's own exceptions."""


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


class DeadlockError(UserError, RuntimeError):
    """A wait that could never end, because the waiting thread is the one that would have to do the work."""


class UnknownValueError(UserError, RuntimeError):
    """A value was needed before it can be known, such as the result of a future that is not done."""


class TaskError(WeftError):
    """A task was accepted and could not be done."""


class ResultError(TaskError, TypeError):
    """A function returned something else than its return annotation or its mock promises."""


class DependencyNeverSatisfied(TaskError):  # noqa: N818 - the name that design and batch systems use for it
    """What the task waited for can no longer come; ``__cause__`` says why, where there is an exception to tell."""
