"""The folder through which an executor and its jobs talk, and the formats of what lies there.

    <folder>/                 the user's alone, see `weft.rundir`
        executor.json         which batch system, and what the names of submissions have in common
        lock                  held by the living client
        over                  the number of a submission: up to that, nothing of it is in the queue any more
        worker.py             what the scripts start
        weft.zip, key         where files are carried to jobs: weft, and what signatures are made with
        groups/<n>/           one submission
            calls             what it is to do, see `formats`
            script.sh         for the batch system, as what else it takes beside it; can be submitted by hand
            job               the id of the submission, once there is one
            outcomes/         <call>.<try>: what became of a call
            logs/<place>.log  what an element of the array wrote

All that is unpickled is signed, for the one place where it belongs. An element of an array makes one call, or several:
place p makes the calls p x k to p x k + k - 1.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from weft.errors import ChoiceError, StorageError, TamperedError
from weft.executors.cluster.formats import (
    ALL_GOOD,
    HEAD,
    MAGIC,
    OFFSET,
    call_purpose,
    outcome_purpose,
    read_index,
    shared_purpose,
)
from weft.payload import pack, unpack
from weft.rundir import append_to, make_folder, write_atomic
from weft.rundir.place import check_file, check_folder
from weft.rundir.seal import Signer, unseal

if TYPE_CHECKING:
    from weft.executors.cluster.future import Terms

__all__ = ["Call", "Folder", "GroupFolder", "Plan"]

OVER = "over"  # the file that says so
LEFT_OUT = "cancelled"  # in the place of a try: a call that is not to be made


CARRIED = ("worker.py", "weft.zip", "key")  # to jobs that do not see the folder


class Call(NamedTuple):
    """One call, as it is sent."""

    number: int  #: Of the task, in the order of submission.
    function: int  #: Which of the shared records is its function.
    setting: int  #: And which its working directory, import path and context.
    packed: bytes  #: (args, kwargs), or nothing where there are none.


class Plan(NamedTuple):
    """What a submission is to do."""

    calls: Sequence[Call]
    shared: Sequence[bytes]  #: Functions and settings, each once.
    names: Sequence[str]  #: Of the functions among these; of settings: nothing.
    each: int  #: Calls of an element of the array.
    seconds: float | None  #: After which the worker is to stop a call.
    name: str  #: Of the submission.
    terms: Terms  #: What was asked for. The worker does not unpack it.


class Folder:
    """The folder of one executor.

    Args:
        path: of it.
        carried: what jobs need of it is carried to them, with a key of its own. None: as it says itself.
    """

    def __init__(self, path: Path, *, carried: bool | None = None) -> None:
        self.path = path
        self.name = path.name
        self.carried = self._says_carried() if carried is None else carried
        #: Of signatures; None: the user's own, which stays where it is.
        self.key = Signer(f"key {self.name}")(b"") if self.carried else None

    def _says_carried(self) -> bool:
        try:
            return self._facts()[2]
        except StorageError:
            return False

    @classmethod
    def create(cls, path: Path, *, carried: bool = False) -> Folder:
        """Make it, or go on in one that is there. Raises StorageError."""
        make_folder(path)
        make_folder(path / "groups")
        return cls(path, carried=carried)

    def token(self, system: str, files: Callable[[], Mapping[str, bytes]]) -> str:
        """What is part of the name of each submission from here, and of no other; made by the first who comes.

        Raises StorageError, ChoiceError for a folder of another batch system.

        Args:
            system: the name of the batch system.
            files: makes what jobs start, ``worker.py``, and what it needs, by name. What is there stays: jobs that wait
                are to start it.
        """
        path = self.path / "executor.json"
        if not path.exists():
            for name, data in files().items():
                write_atomic(self.path / name, data)
            facts = {"system": system, "carried": self.carried, "token": os.urandom(3).hex()}
            write_atomic(path, json.dumps(facts).encode())
        token, there, carried = self._facts()
        if there != system:
            raise ChoiceError(f"{self.path} belongs to an executor on {there}, not on {system}")
        if carried != self.carried:
            raise ChoiceError(f"{self.path} belongs to an executor with transfer={carried}; say so here, too")
        return token

    def system(self) -> str:
        """The name of its batch system. Raises StorageError."""
        return self._facts()[1]

    def _facts(self) -> tuple[str, str, bool]:
        path = self.path / "executor.json"
        check_file(path)
        try:
            facts = json.loads(path.read_bytes())
            return str(facts["token"]), str(facts["system"]), bool(facts.get("carried"))
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path} is not what weft wrote there") from error

    def end(self) -> None:
        """Write down that nothing of it is in the queue any more, up to the last submission that there is."""
        try:
            write_atomic(self.path / OVER, self._last().encode())
        except StorageError:  # then that is found out from the outcomes, as far as there are some
            pass

    def is_over(self) -> bool:
        """Whether nothing of it is in the queue, as far as that can be known without asking the batch system."""
        try:
            said = (self.path / OVER).read_text()
        except OSError:
            said = ""
        return said == self._last() or all(group.is_over() for group in self.groups())

    def _last(self) -> str:
        return str(max((group.number for group in self.groups()), default=-1))

    def group(self, number: int) -> GroupFolder:
        """The folder of one submission."""
        return GroupFolder(self, number)

    def groups(self) -> list[GroupFolder]:
        """Those that are there, in order."""
        check_folder(self.path)
        names = [name for name in os.listdir(self.path / "groups") if name.isdecimal()]
        return [GroupFolder(self, number) for number in sorted(map(int, names))]


class GroupFolder:
    """The folder of one submission."""

    def __init__(self, folder: Folder, number: int) -> None:
        self.number = number
        self.path = folder.path / "groups" / str(number)
        self.outcomes = str(self.path / "outcomes")
        self._folder = folder
        self._of = folder.name

    @property
    def script(self) -> Path:
        """For the batch system."""
        return self.path / "script.sh"

    @property
    def home(self) -> str:
        """The folder of the executor."""
        return str(self._folder.path)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What is carried to jobs, if anything is."""
        files = (*(self._folder.path / name for name in CARRIED), self.path / "calls")
        return tuple(map(str, files)) if self._folder.carried else ()

    @property
    def logs(self) -> str:
        """Where elements write to; ``{place}`` is for their number."""
        return str(self.path / "logs" / "{place}.log")

    def proof(self, each: int) -> str:
        """What is there when an element, of so many calls, has done well; see `Sheet`."""
        return os.path.join(self.outcomes, "{place}.{try}" if each == 1 else ALL_GOOD + "{place}.{try}")

    def log(self, place: int) -> Path:
        """What an element wrote."""
        return self.path / "logs" / f"{place}.log"

    def write(self, plan: Plan, files: Mapping[str, str]) -> None:
        """Write down what is to be done, and files for the batch system. Raises StorageError; then nothing is left."""
        try:
            make_folder(self.path)
            make_folder(self.path / "outcomes")
            make_folder(self.path / "logs")
            write_atomic(self.path / "calls", self._calls(plan))
            for path, text in files.items():
                write_atomic(Path(path), text.encode(errors="surrogateescape"))
        except BaseException:
            self.remove()
            raise

    def _calls(self, plan: Plan) -> bytes:
        shared = [*plan.shared, pack((plan.seconds, list(plan.names), plan.name, pack(plan.terms)))]
        parts = []
        for index, call in enumerate(plan.calls):
            body = pack(tuple(call))
            parts.append(self._sign(call_purpose(self._of, self.number, index), body))
        for index, body in enumerate(shared):
            parts.append(self._sign(shared_purpose(self._of, self.number, index), body))
        head = HEAD.pack(MAGIC, len(plan.calls), len(shared), plan.each)
        at = len(head) + OFFSET.size * (len(parts) + 1)
        offsets = []
        for part in parts:
            offsets.append(OFFSET.pack(at))
            at += len(part)
        return b"".join((head, *offsets, OFFSET.pack(at), *parts))

    def _sign(self, purpose: str, body: bytes) -> bytes:
        return Signer(purpose, self._folder.key)(body) + body

    def _unseal(self, data: bytes, purpose: str, path: Path) -> bytes:
        return unseal(data, purpose, path, self._folder.key)

    def read(self) -> Plan:
        """What is to be done. Raises TamperedError, or StorageError."""
        path = self.path / "calls"
        check_file(path)
        data = path.read_bytes()
        try:
            _, count, shared, each = HEAD.unpack_from(data)
            bounds = read_index(data, count + shared)
        except (struct.error, ValueError) as error:
            raise TamperedError(f"{path} is not what weft wrote there: {error}") from error
        bodies = []
        for index, (start, stop) in enumerate(bounds):
            purpose = call_purpose if index < count else shared_purpose
            what = purpose(self._of, self.number, index - (index >= count) * count)
            bodies.append(self._unseal(data[start:stop], what, path))
        seconds, names, name, terms = unpack(bodies[-1])
        calls = [Call(*unpack(body)) for body in bodies[:count]]
        return Plan(calls, bodies[count:-1], names, each, seconds, name, unpack(terms))

    def submitted(self, job: str) -> None:
        """Write down the id of the submission. Raises StorageError."""
        write_atomic(self.path / "job", job.encode())

    def job(self) -> str | None:
        """The id of the submission; None where it was never written down."""
        try:
            check_file(self.path / "job")
            return (self.path / "job").read_text()
        except (StorageError, FileNotFoundError):
            return None

    def arrived(self) -> list[str]:
        """The names of the outcomes that are there; a look at one folder, whatever the number of calls."""
        try:
            return os.listdir(self.outcomes)
        except OSError:  # a file system that is away for a moment
            return []

    def outcome(self, name: str) -> tuple[str, bytes]:
        """What became of a call: its kind, and what it left. Raises TamperedError, or StorageError, also if torn."""
        path = Path(self.outcomes, name)
        check_file(path)
        index, _, restarts = name.partition(".")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error
        what = outcome_purpose(self._of, self.number, int(index), int(restarts))
        kind, payload = unpack(self._unseal(data, what, path))
        return kind, payload

    def size(self, name: str) -> int:
        """Of an outcome, in bytes; 0 where there is none."""
        try:
            return os.stat(os.path.join(self.outcomes, name)).st_size
        except OSError:
            return 0

    def is_over(self) -> bool:
        """Whether there is an outcome of every call; not of one that was told to end, and may be run again."""
        try:
            with open(self.path / "calls", "rb") as file:
                _, count, _, _ = HEAD.unpack(file.read(HEAD.size))
        except (OSError, struct.error):
            return False
        last: dict[int, int] = {}
        over = set()
        for name in self.arrived():
            index, _, restarts = name.partition(".")
            if index.isdecimal() and restarts == LEFT_OUT:
                over.add(int(index))
            elif index.isdecimal() and restarts.isdecimal():
                last[int(index)] = max(int(restarts), last.get(int(index), 0))
        return all(index in over or (index in last and self._is_final(index, last[index])) for index in range(count))

    def _is_final(self, index: int, restarts: int) -> bool:
        try:
            kind, _ = self.outcome(f"{index}.{restarts}")
        except Exception:  # noqa: BLE001 - cut short, or not ours
            return False
        return kind != "stopped"

    def leave_out(self, index: int) -> None:
        """Have a call not made, if it has not begun; the others of its element go on."""
        try:
            os.close(append_to(Path(self.outcomes, f"{index}.{LEFT_OUT}")))
        except StorageError:  # then it is made in vain
            pass

    def drop_log(self, place: int) -> None:
        """Delete what an element wrote, as far as that can be done."""
        try:
            self.log(place).unlink(missing_ok=True)
        except OSError:
            pass

    def remove(self) -> None:
        """Delete it."""
        import shutil

        shutil.rmtree(self.path, ignore_errors=True)
