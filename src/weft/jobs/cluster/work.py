"""The other end: runs one job of a run, or one element of one, and writes down what became of it.

A good outcome is proven by one more file, which the script looks for: a process that ends with 0 may have been ended by
a library of the job's.
"""

from __future__ import annotations

import os
import sys
import time

from weft.executors.cluster.ending import Ending, Stopped, TimeUp
from weft.executors.cluster.formats import EXIT_FAILED
from weft.jobs.cluster.calls import CallFile

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

__all__ = ["main"]

PATIENCE = 30.0  # seconds for the result of another job to be seen on this machine


def main(run: str, key: str, file: str, index: str) -> NoReturn:
    """Run an element of a submission.

    Args:
        run: the folder.
        key: of the job.
        file: with the call, in the job's folder.
        index: of the element, as the batch system has it.
    """
    ending = Ending()
    try:
        good = _Worker(run, key, file, int(index), ending).work()
    except Stopped:
        _flush()
        ending.die()
    from weft.executors.leaving import leave

    leave(0 if good else EXIT_FAILED)


class _Worker:
    """Runs an element. It is the desk of its `JobCall`, see `weft.jobs.site`."""

    def __init__(self, run: str, key: str, file: str, index: int, ending: Ending) -> None:
        path = os.path.join(run, "tasks", key, file)
        calls = CallFile(path, f"call {os.path.basename(run)} {key} {file}")
        self._run = run
        self._key = key
        self._ending = ending
        self._began = time.time()
        self._job: Mapping[str, Any] = calls.job()
        self._name: str = self._job["name"]
        self._role: str = self._job["role"]
        self._tries = int(os.environ.get("WEFT_TRY") or 0)
        self._proof = os.path.join(run, "tasks", key, self._job["proofs"], f"{index}.{self._tries}")
        place = index + self._job["base"]
        self._place: int | None = place if self._job["array"] and self._role == "call" else None
        self._mark, self._element = calls.element(self._job["places"].index(place))
        self._function: Any = None
        self._payload = b""  # its result

    def work(self) -> bool:
        """Do it; whether all went well."""
        try:
            self._ending.run(self._call)
        except Stopped:
            raise
        except TimeUp:
            from weft.errors import TaskTimeout

            seconds = self._job["seconds"]
            text = f"{self._name} ran longer than its time limit of {seconds:g} s and was stopped"
            return self._failed(TaskTimeout(text, seconds=seconds))
        except BaseException as error:  # noqa: BLE001 - whatever the job raises is its outcome
            return self._failed(error)
        self._record(ok=True, payload=self._payload)
        os.close(os.open(self._proof, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return True

    def _call(self) -> None:
        from weft.payload import unpack

        call = unpack(self._job["call"])
        if self._role != "call":
            call(self._name, self._role)
            return
        self._function = call
        call.site = self
        rest: tuple[Any, ...] = () if self._place is None else (unpack(self._element),)
        if self._job["arguments"] is not None:
            args, kwargs = self._arguments()
            rest = (*(rest or (_no_element(),)), args, kwargs)
        self._ending.limit(self._job["seconds"])
        call(self._name, self._key, self._place, self._mark, *rest)

    def _arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Those of the function, with the results of other jobs in their places."""
        from weft.jobs.cluster.results import filled_in
        from weft.payload import unpack

        return filled_in(self._run, unpack(self._job["arguments"]), self._job["takes"], PATIENCE)

    def _failed(self, error: BaseException) -> bool:
        from weft.jobs.site import ABOVE
        from weft.payload import pack_failure, traceback_of

        text = traceback_of(error, skip=ABOVE)
        _flush()
        print(text, file=sys.stderr, flush=True)
        self._record(ok=False, payload=pack_failure(error, traceback=text))
        return False

    def _record(self, *, ok: bool, payload: bytes) -> None:
        """Write it down. What is raised here ends the process, and tells that there is no outcome."""
        from pathlib import Path

        from weft.rundir.outcomes import Attempt, Recorder, task_name

        of = task_name(self._key, self._place) if self._role == "call" else f"{self._key}+{self._role}"
        attempt = Attempt(self._job["number"], self._tries)
        _flush()
        recorder = Recorder(Path(self._run), of, attempt)
        recorder.record(self._key, self._place, ok=ok, payload=payload, stamp=self._mark, began=self._began)
        recorder.close()

    # What its JobCall asks of where it is made

    def desk(self) -> _Worker:
        """Where it is worked at."""
        return self

    def begin(self, key: str, place: int | None) -> None:
        """It begins. What it writes goes to its log: the batch system sees to that."""

    def failed(self, error: BaseException) -> None:
        """It ends with this, which is dealt with further up."""

    def keep(self, name: str, key: str, place: int | None, mark: bytes, result: Any) -> Any:
        """It ends with this result. It is written down when nothing can come between any more."""
        from weft.payload import pack

        try:
            self._payload = pack(result)
        except Exception as error:
            from weft.payload import unsendable_result

            raise unsendable_result(self._function, result, error) from error

    def end(self) -> None:
        """It is over."""


def _no_element() -> Any:
    from weft.jobs.conditions import NO_ELEMENT

    return NO_ELEMENT


def _flush() -> None:
    from weft.executors.streams import flush_streams

    flush_streams()
