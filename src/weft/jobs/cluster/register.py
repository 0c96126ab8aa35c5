"""What was submitted for a run: ``submissions.jsonl``, a line before each submission is made and one with its id after.

So a submitter may be killed at any moment: what it was at has a name that nobody else's job has, and is found again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from weft.rundir import Journal, JournalReader, task_folder, task_name

if TYPE_CHECKING:
    from weft.executors.cluster.system import BatchSystem, Seen

__all__ = ["Register", "Role", "Submission"]

#: What a submission is to its job: the job itself or elements of it, or the conditions of an array as a whole.
Role: TypeAlias = Literal["call", "before", "after"]

FILE = "submissions.jsonl"
NAME = 40  # characters of a job's name in the batch system that are its own


class Submission:
    """One submission. Made by `Register.new`.

    Attributes:
        number: of the submission in its run; of two for the same element the later one counts.
        name: in the batch system; unique.
        key: of its job.
        places: of the elements that it runs. The batch system has `index_of` for a place.
        array: whether the job has an array; otherwise its place is 0.
        base: the place that has the index 0.
        suffix: of the names of its files.
        after: the submissions that it waits for, each with how: success, failure, any, each; or, in the place of how,
            the one element that it waits for.
        any: one of them is enough.
        id: the batch system's; None before it is known.
        gone: it was given up: never made, or cancelled to be made anew.
    """

    __slots__ = ("after", "any", "array", "base", "gone", "id", "key", "name", "number", "places", "role", "suffix")

    def __init__(self, facts: dict[str, Any]) -> None:
        told = facts["places"]
        self.number: int = facts["number"]
        self.name: str = facts["name"]
        self.key: str = facts["key"]
        self.role: Role = facts["role"]
        self.places: Sequence[int] = range(*told["range"]) if isinstance(told, dict) else told
        self.array: bool = facts["array"]
        self.base: int = facts["base"]
        self.suffix: str = facts["suffix"]
        self.after: list[tuple[Submission, str | int]] = []
        self.any = False
        self.id: str | None = None
        self.gone = False

    def index_of(self, place: int) -> int:
        """What the batch system calls the element at a place."""
        return place - self.base

    @property
    def indices(self) -> Sequence[int]:
        """All of them."""
        if isinstance(self.places, range):
            return range(self.places.start - self.base, self.places.stop - self.base, self.places.step)
        return [place - self.base for place in self.places]

    def seen(self, line: Seen) -> Iterable[int]:
        """The places that an answer of the batch system is about."""
        if line.places is None:
            return self.places
        known = set(self.places)
        return [index + self.base for index in line.places if index + self.base in known]

    def id_of(self, place: int, system: BatchSystem) -> str | None:
        """The batch system's id of an element."""
        return None if self.id is None else system.element(self.id, self.indices, self.index_of(place))

    def of(self, place: int) -> str:
        """What outcomes of it are of, see `weft.rundir.Attempt.file`."""
        if self.role != "call":
            return f"{self.key}+{self.role}"
        return task_name(self.key, place if self.array else None)

    def call_file(self, run: Path) -> Path:
        """What it runs."""
        return task_folder(run, self.key, None) / f"call{self.suffix}"

    def script(self, run: Path) -> Path:
        """For the batch system."""
        return task_folder(run, self.key, None) / f"script{self.suffix}.sh"

    def proofs(self, run: Path) -> Path:
        """The folder of the files that prove good outcomes: ``<index>.<try>``."""
        return task_folder(run, self.key, None) / f"good{self.suffix}"

    def log(self, run: Path) -> str:
        """Where its elements write to; ``{place}`` is for the index."""
        if self.role != "call":
            return str(task_folder(run, f"{self.key}+{self.role}", None) / "log")
        if not self.array:
            return str(task_folder(run, self.key, None) / "log")
        folder = f"{self.key}.{{place}}" if not self.base else f"{self.key}+{self.base}.{{place}}"
        return str(run / "tasks" / folder / "log")

    def log_of(self, run: Path, place: int) -> Path:
        """What an element has written."""
        return Path(self.log(run).replace("{place}", str(self.index_of(place))))

    def facts(self) -> dict[str, Any]:
        """For the file."""
        places = self.places
        return {
            "number": self.number,
            "name": self.name,
            "key": self.key,
            "role": self.role,
            "places": {"range": [places.start, places.stop, places.step]} if isinstance(places, range) else [*places],
            "array": self.array,
            "base": self.base,
            "suffix": self.suffix,
            "after": [[dep.number, how] for dep, how in self.after],
            "any": self.any,
        }


class Register:
    """All submissions of a run, in the order in which they were made.

    Args:
        run: the folder; None: there is none yet.
    """

    def __init__(self, run: Path | None) -> None:
        self.path = Path() if run is None else run / FILE
        self.all: list[Submission] = []
        self._by_number: dict[int, Submission] = {}
        self._reader = JournalReader(self.path)
        self._journal: Journal | None = None
        self._token = hashlib.sha256(str(run).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        self._keys: set[str] = set()  # that have a submission
        self._holders: dict[tuple[str, int], Submission] | None = None
        self._next = 0
        if run is not None:
            self.read()

    def read(self) -> None:
        """Take in what others have written since."""
        for facts in self._reader.new():
            number = facts["number"]
            if "name" in facts:
                if number not in self._by_number:
                    self._add(self._made_of(facts))
            elif "id" in facts:
                self._by_number[number].id = facts["id"]
            elif "gone" in facts:
                self._by_number[number].gone = True
                self._holders = None

    def _made_of(self, facts: dict[str, Any]) -> Submission:
        found = Submission(facts)
        found.after = [(self._by_number[number], how) for number, how in facts["after"] if number in self._by_number]
        found.any = facts["any"]
        return found

    def _add(self, submission: Submission) -> None:
        self._holders = None
        self.all.append(submission)
        self._by_number[submission.number] = submission
        self._keys.add(submission.key)
        self._next = max(self._next, submission.number + 1)

    def get(self, number: int) -> Submission:
        """One of them."""
        return self._by_number[number]

    def holders(self) -> Mapping[tuple[str, int], Submission]:
        """Of each element, by key and place, the submission that counts: the last one."""
        if self._holders is None:
            self._holders = {}
            for sub in self.all:
                if not sub.gone and sub.role == "call":
                    self._holders.update(dict.fromkeys(((sub.key, place) for place in sub.places), sub))
        return self._holders

    def asked(self, key: str) -> dict[str, Submission]:
        """The submissions of a job that count, by what they are to it."""
        return {sub.role: sub for sub in self.all if sub.key == key and not sub.gone}

    def ids(self) -> dict[str, str]:
        """What the batch system calls each job, by key."""
        found: dict[str, dict[str, None]] = {}
        for sub in dict.fromkeys(self.holders().values()):
            if sub.id is not None:
                found.setdefault(sub.key, {})[sub.id] = None
        return {key: ",".join(ids) for key, ids in found.items()}

    # By the one who submits -----------------------------------------------------------------------------------

    def new(self, key: str, role: Role, places: Sequence[int], base: int = 0, *, array: bool) -> Submission:
        """One that may be made."""
        number, self._next = self._next, self._next + 1
        suffix = f"-{number}" if key in self._keys else ""
        self._keys.add(key)
        name = f"{key[:NAME]}-{self._token}-{number}"
        facts = {"number": number, "name": name, "key": key, "role": role, "places": places}
        return Submission({**facts, "array": array, "base": base, "suffix": suffix})

    def begins(self, submission: Submission) -> None:
        """It is about to be made. Raises StorageError."""
        self._add(submission)
        self._write(**submission.facts())

    def made(self, submission: Submission, job: str) -> None:
        """It has been made. Raises StorageError; the id is known here nevertheless."""
        submission.id = job
        self._write(number=submission.number, id=job)

    def gone(self, submission: Submission) -> None:
        """It was given up."""
        submission.gone = True
        self._holders = None
        self._write(number=submission.number, gone=True)

    def _write(self, **facts: Any) -> None:
        if self._journal is None:
            self._journal = Journal(self.path)
        self._journal.write(**facts)

    def close(self) -> None:
        """Nothing more is written."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
