"""``events.jsonl``: what happened in a run, a line for each event.

It has one writer: the driver. A run without a driver has whoever looks at it, one at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weft.rundir.place import append_to, check_file, write_all

__all__ = ["Journal", "JournalReader", "read_journal"]


class Journal:
    """The writer. Each line is there as soon as `write` returns, also if the process is killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = append_to(path)
        if _is_torn(path):  # by a driver that died in the middle
            write_all(self._file, b"\n", path)

    def write(self, **facts: Any) -> None:
        """Add a line; StorageError where that cannot be."""
        self.write_line(json.dumps(facts, separators=(",", ":")))

    def write_line(self, line: str) -> None:
        """Add a line that is JSON already."""
        write_all(self._file, line.encode() + b"\n", self.path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Meanwhile nobody else writes who asks for that, too. Where files cannot be locked, nobody is kept out."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError:
            yield
            return
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Nothing more is written."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return False
        file.seek(size - 1)
        return file.read(1) != b"\n"


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The events in their order. A line that is torn, because its writer was killed, is left out."""
    if not path.exists():
        return
    check_file(path)
    with path.open("rb") as file:
        for line in file:
            try:
                facts = json.loads(line)
            except ValueError:
                continue
            if isinstance(facts, dict):
                yield facts


class JournalReader:
    """Reads what is new, again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0

    def new(self) -> list[dict[str, Any]]:
        """The events that have come since; a line that is not whole yet is left for later."""
        if not self.path.exists():
            return []
        check_file(self.path)
        with self.path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        found = []
        for line in whole.splitlines():
            try:
                facts = json.loads(line)
            except ValueError:  # torn, because its writer was killed
                continue
            if isinstance(facts, dict):
                found.append(facts)
        return found
