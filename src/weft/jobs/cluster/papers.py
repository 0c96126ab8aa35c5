"""The papers of a submission: what it runs, the script, and where its elements write to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import dumps
from typing import TYPE_CHECKING, Any

from weft.executors.cluster.system import Sheet
from weft.jobs.call import AskCall, JobCall
from weft.jobs.cluster.calls import packed_calls
from weft.jobs.cluster.results import taken_out
from weft.payload import pack, unpackable_arguments
from weft.resources import Resources, Retries
from weft.rundir import make_folder, task_folder, write_atomic

if TYPE_CHECKING:
    from weft.jobs.cluster.place import Cluster
    from weft.jobs.cluster.register import Submission
    from weft.jobs.node import Job
    from weft.jobs.records import Record

__all__ = ["Papers"]


class Papers:
    """Writes them, in the folder of a run.

    Args:
        run: the folder.
        records: of all jobs.
        places: the batch system, with what each job asks for.
        calls: what is run for each job.
        marks: fingerprint of each place of a job.
    """

    def __init__(
        self,
        run: Path,
        records: Mapping[Job[..., Any], Record],
        places: Mapping[Job[..., Any], Cluster],
        calls: Mapping[Job[..., Any], JobCall],
        marks: Callable[[Job[..., Any], int], bytes],
    ) -> None:
        self._run = run
        self._records = records
        self._places = places
        self._calls = calls
        self._marks = marks
        self._packed: dict[Any, bytes] = {}
        try:
            self._cwd = os.getcwd()
        except OSError:  # it has been deleted
            self._cwd = os.sep

    def write_launcher(self) -> None:
        """The program that all scripts start. Raises StorageError."""
        make_folder(self._run / "outcomes")
        write_atomic(self._run / "worker.py", _launcher(self._run).encode(errors="surrogateescape"))

    def write(self, job: Job[..., Any], record: Record, sub: Submission) -> None:
        """Write down one submission: what it runs, its script, and the folders that it needs. Raises StorageError."""
        run = self._run
        make_folder(task_folder(run, record.key, None))
        for place in sub.places:
            self._make_log_folder(sub, place)
        file, proofs = sub.call_file(run), make_folder(sub.proofs(run))
        facts = {
            "number": sub.number,
            "name": record.name,
            "role": sub.role,
            "array": sub.array,
            "base": sub.base,
            "places": sub.places,
            "proofs": proofs.name,
            "seconds": self._places[job].terms(job).resources.time if sub.role == "call" else None,
            "takes": [self._records[dep].key for dep in job.arguments.takes],
            **self._what(job, record, sub),
        }
        elements = [self._element(job, record, sub, place) for place in sub.places]
        purpose = f"call {run.name} {record.key} {file.name}"
        write_atomic(file, packed_calls(purpose, elements, dumps(facts, 5)))
        files = self._places[job].system.files(self._sheet(job, sub, file.name), str(sub.script(run)))
        for path, text in files.items():
            write_atomic(Path(path), text.encode(errors="surrogateescape"))

    def _what(self, job: Job[..., Any], record: Record, sub: Submission) -> dict[str, Any]:
        if sub.role != "call":
            conditions = tuple(c for c in job.conditions if c.when == sub.role and not c.per_element)
            return {"call": pack(AskCall(None, conditions, record.name)), "arguments": None, "takes": []}
        arguments = job.arguments
        if not (arguments.args or arguments.kwargs):
            return {"call": self._packed_call(job), "arguments": None}
        args, kwargs = taken_out(arguments, self._records)
        try:
            packed = pack((args, kwargs))
        except Exception as error:
            raise unpackable_arguments(job.function_name, args, kwargs, error) from error
        return {"call": self._packed_call(job), "arguments": packed}

    def _packed_call(self, job: Job[..., Any]) -> bytes:
        """The function with its conditions; what the user's code raises is tried again where it was raised."""
        call, retries = self._calls[job], job.spec.resources.retries
        key = (call, retries)
        if key not in self._packed:
            by_cause = () if retries is None else tuple(one for one in retries.by_cause if one[0] == "user")
            self._packed[key] = pack(call.alike(env=(), retries=Retries(None, by_cause) if by_cause else None))
        return self._packed[key]

    def _element(self, job: Job[..., Any], record: Record, sub: Submission, place: int) -> bytes:
        if sub.role != "call":
            return dumps((b"", b""), 5)
        if not sub.array:
            return dumps((self._marks(job, place), b""), 5)
        element = record.element(place)
        try:
            return dumps((self._marks(job, place), pack(element)), 5)
        except Exception as error:
            raise unpackable_arguments(job.function_name, (element,), {}, error) from error

    def _make_log_folder(self, sub: Submission, place: int) -> None:
        """Batch systems make files for logs, but no folders."""
        run = self._run
        folder = make_folder(task_folder(run, sub.of(place), None))
        if sub.base:  # it has another number there
            link = sub.log_of(run, place).parent
            link.unlink(missing_ok=True)
            link.symlink_to(folder.name)

    def _sheet(self, job: Job[..., Any], sub: Submission, file: str) -> Sheet:
        place = self._places[job]
        terms, run = place.terms(job), self._run
        python = os.path.abspath(place.python or sys.executable)
        return Sheet(
            name=sub.name,
            places=sub.indices,
            command=(python, str(run / "worker.py"), sub.key, file),
            log=sub.log(run),
            directory=self._cwd,
            resources=terms.resources if sub.role == "call" else Resources(),
            setup=terms.setup,
            env=terms.env,
            options=terms.options,
            throttle=job.spec.throttle if sub.role == "call" else None,
            proof=str(sub.proofs(run) / "{place}.{try}"),
        )


def _launcher(run: Path) -> str:
    """The program that scripts start. It finds weft, and what jobs import, where this process does."""
    here = os.getcwd()
    entries = [os.path.join(here, entry) for entry in sys.path]
    key = os.environ.get("WEFT_KEY_FILE")
    lines = [
        "# Started by the scripts of this run, with the name of a job, a file with what it is to do, and a number:",
        "# runs the job, or that element of its array, and writes down what became of it.",
        "import os",
        "import sys",
        "",
        f"sys.path[:] = {entries!r}",
        *([] if key is None else [f"os.environ.setdefault('WEFT_KEY_FILE', {os.path.abspath(key)!r})"]),
        "from weft.jobs.cluster.work import main",
        "",
        "key, file, place = sys.argv[1:4]",
        f"sys.argv[:] = {sys.argv!r}",
        f"main({str(run)!r}, key, file, place)",
    ]
    return "\n".join(lines) + "\n"
