"""What is said of a job that has ended and left no outcome."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from weft.errors import JobDied, OutOfMemory, TimeLimitReached
from weft.executors.cluster.formats import EXIT_EMPTY

if TYPE_CHECKING:
    from pathlib import Path

    from weft.executors.cluster.system import Seen

__all__ = ["add_to", "died", "tail_of"]

TAIL = 20  # lines of a log
TAIL_BYTES = 8192


def died(
    task: str,
    job: str | None,
    word: str,
    sentence: str,
    end: Seen | None,
    *,
    seconds: float | None,
    log: Path,
    tail: str,
) -> JobDied:
    """The error for it.

    Args:
        task: what it ran.
        job: the id of the batch system.
        word, sentence: the verdict of the batch system.
        end: as the batch system has it; None where nobody knows.
        seconds: the time that it had asked for.
        log, tail: what it wrote, and the last lines of that.
    """
    exitcode = None if end is None or end.signal else end.exitcode
    facts: dict[str, Any] = {
        "task": task,
        "job_id": job,
        "state": "" if end is None else end.state,
        "reason": "" if end is None else end.reason,
        "exitcode": 0 if exitcode == EXIT_EMPTY else exitcode,
        "signal": None if end is None else end.signal,
        "log": log,
        "stderr": tail,
    }
    text = f"{task} failed in job {job}: {sentence}"
    if tail:
        text += f"; the end of its log {log}:\n{tail}"
    if word == "memory":
        return OutOfMemory(text, **facts)
    if word == "timeout":
        return TimeLimitReached(text, seconds=seconds or 0.0, **facts)
    return JobDied(text, **facts)


def tail_of(log: Path) -> str:
    """The last lines of a log; nothing where there is none."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(re.sub(r"\s+\Z", "", text).splitlines()[-TAIL:])


def add_to(log: Path | None, note: str) -> None:
    """Add a note to a log, as far as that can be done."""
    try:
        if log is not None:
            with log.open("a") as file:
                file.write(note)
    except OSError:  # it is only a note
        pass
