"""The states of a task, the same for every door, and which may follow which."""

from __future__ import annotations

from enum import Enum

__all__ = [
    "CANCELLED",
    "FAILED",
    "IDLE",
    "RUNNING",
    "SKIPPED",
    "SUCCEEDED",
    "UNREACHABLE",
    "UP_TO_DATE",
    "WANTED",
    "State",
    "check_transition",
]


class State(Enum):
    """Where a task stands. A task moves along `WANTED -> RUNNING -> one of the ends`; an end is never left."""

    IDLE = "idle"  #: Known, but nobody has asked for it.
    WANTED = "wanted"  #: Accepted: it waits for dependencies, for a gate or for its turn.
    RUNNING = "running"  #: Handed to its executor, which may still hold it in a queue of its own.
    SUCCEEDED = "succeeded"  #: Its function returned.
    FAILED = "failed"  #: Its function raised, or it could not be submitted.
    SKIPPED = "skipped"  #: It ran and found that there was nothing to do; counts as success.
    UP_TO_DATE = "up to date"  #: It did not have to run: what it makes is there already; counts as success.
    CANCELLED = "cancelled"  #: Somebody said so.
    UNREACHABLE = "unreachable"  #: It never ran, because what it waited for can no longer come.

    FAILED_DEP = UNREACHABLE

    word: str  #: The same as `value`, which costs ten times as much to ask for.
    is_success: bool  #: Whether dependents that wait for success may go on.
    is_end: bool  #: Whether the task is over: no other state follows.
    following: tuple[State, ...]  #: The states that may come next.


# The same as names of a module: in Python 3.11 a look into an enum takes five times as long, and there are dozens of
# them for each task.
IDLE, WANTED, RUNNING, SUCCEEDED, FAILED, SKIPPED, UP_TO_DATE, CANCELLED, UNREACHABLE = State

_SUCCESSES = frozenset({State.SUCCEEDED, State.SKIPPED, State.UP_TO_DATE})
_ENDS = _SUCCESSES | {State.FAILED, State.CANCELLED, State.UNREACHABLE}
for _state in State:  # plain attributes: they are looked at several times for each task
    _state.word = _state.value
    _state.is_success = _state in _SUCCESSES
    _state.is_end = _state in _ENDS

_NEXT: dict[State, frozenset[State]] = {
    State.IDLE: frozenset({State.WANTED}),
    # FAILED without RUNNING: the submit function raised, so there was never anything to run.
    State.WANTED: frozenset(
        {State.RUNNING, State.FAILED, State.SKIPPED, State.UP_TO_DATE, State.CANCELLED, State.UNREACHABLE}
    ),
    # WANTED again: a further try.
    State.RUNNING: frozenset({State.WANTED, State.SUCCEEDED, State.FAILED, State.SKIPPED, State.CANCELLED}),
    **{end: frozenset() for end in _ENDS},
}

for _state, _following in _NEXT.items():
    _state.following = tuple(_following)  # looked through by identity: enum members hash in Python code


def check_transition(old: State, new: State) -> None:
    """Refuse a move that the table above does not have: it would be a mistake of weft's own."""
    if new not in old.following:
        raise AssertionError(f"illegal transition {old.name} -> {new.name}")
