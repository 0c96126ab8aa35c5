"""What a person sees: a line of progress, then the summary, within 80 columns."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from textwrap import shorten, wrap
from types import TracebackType

from atlas.publish import Atlas
from atlas.survey import Package
from atlas.words import count
from weft import Event

WIDTH = 79
BAR = 24
FRAMES_PER_SECOND = 20
SHOWN = 8
"""How many files that did not parse are named; atlas.json has all of them."""


class Progress:
    """An observer of a run: counts the files that are read, and draws a bar where there is a terminal.

    In a pipe, or with NO_COLOR set, it prints four plain lines instead. Used in ``with``; silent afterwards.
    """

    def __init__(self, files: int) -> None:
        self._files = files
        self._done = 0
        self._drawn_at = 0.0
        self._live = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._open = False

    def __enter__(self) -> "Progress":
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if self._live:
            # Events arrive on a thread of their own; the last may still be on their way when the result is there.
            self._draw(self._done if error else self._files)
            print(flush=True)

    def __call__(self, event: Event) -> None:
        """Take notice of an event."""
        if event.name == "survey" and event.state.name in {"SUCCEEDED", "FAILED"}:
            self.step()

    def step(self) -> None:
        """One more file is read."""
        if not self._open:
            return
        self._done += 1
        now = time.monotonic()
        if self._live and now - self._drawn_at > 1 / FRAMES_PER_SECOND:
            self._drawn_at = now
            self._draw(self._done)
        elif not self._live and self._done * 4 // self._files > (self._done - 1) * 4 // self._files:
            print(f"  {self._done:,}/{self._files:,} files", flush=True)

    def _draw(self, done: int) -> None:
        full = BAR * done // max(1, self._files)
        print(f"\r[{'#' * full}{'.' * (BAR - full)}] {done:,}/{self._files:,} files", end="", flush=True)


def summary(atlas: Atlas) -> str:
    """Tell what was found, in some twenty lines."""
    return "\n".join(line[:WIDTH] for line in _summary(atlas)) + "\n"


def _summary(atlas: Atlas) -> Iterator[str]:
    packages, graph = atlas.packages, atlas.graph
    yield ", ".join(
        (
            count(sum(package.files for package in packages), "file"),
            count(sum(package.lines for package in packages), "line"),
            count(sum(package.functions for package in packages), "function"),
            count(sum(package.classes for package in packages), "class"),
        )
    )
    yield ""
    largest = sorted(packages, key=lambda package: (-package.lines, package.name))[:6]
    most = sorted(zip(graph.dependents, graph.names, strict=True), key=lambda pair: (-pair[0], pair[1]))[:6]
    yield from _table(
        ("largest", "lines", [(package.name, package.lines) for package in largest]),
        ("most imported", "by", [(name, by) for by, name in most if by]),
        ("from outside", "files", graph.outside[:6]),
    )
    yield ""
    yield from _imports(atlas)
    yield from _extremes(packages)
    yield from _unparsed([error for package in packages for error in package.errors])


def _table(*columns: tuple[str, str, Iterable[tuple[str, int]]]) -> Iterator[str]:
    cells = [
        [_cell(head, unit), *(_cell(name, f"{number:,}") for name, number in rows)] for head, unit, rows in columns
    ]
    yield from ("   ".join(row).rstrip() for row in zip_longest(*cells, fillvalue=" " * 24))


def _cell(name: str, number: str) -> str:
    room = 23 - len(number)
    return f"{name if len(name) <= room else name[: room - 1] + '…':<{room}} {number}"


def _imports(atlas: Atlas) -> Iterator[str]:
    graph = atlas.graph
    top = max(zip(graph.layers, graph.names, strict=True))
    yield f"{count(len(graph.edges), 'import')} in {count(top[0] + 1, 'layer')}, {top[1]} on top"
    if not graph.cycles:
        yield "no import cycles"
    else:
        members = ", ".join(graph.cycles[0])
        told = f"{count(len(graph.cycles), 'import cycle')}, the largest of {len(graph.cycles[0])}: {members}"
        yield shorten(told, WIDTH, placeholder=" ...")
    late, early = (len(cycles[0]) if cycles else 0 for cycles in (graph.late_cycles, graph.cycles))
    if late > early:
        yield f"(with the imports inside functions, the largest would be of {late})"


def _extremes(packages: Iterable[Package]) -> Iterator[str]:
    deepest = max(packages, key=lambda package: (package.depth, package.name))
    longest = max(packages, key=lambda package: (package.longest, package.name))
    if deepest.depth:
        yield f"deepest nesting: {count(deepest.depth, 'block')}, {deepest.depth_at}"
    if longest.longest:
        yield f"longest function: {count(longest.longest, 'line')}, {longest.longest_at}"


def _unparsed(errors: list[tuple[str, str]]) -> Iterator[str]:
    yield f"{count(len(errors), 'file')} did not parse:" if errors else "every file parsed"
    for path, error in errors[:SHOWN]:
        yield from wrap(f"{path}: {error}", WIDTH, initial_indent="  ", subsequent_indent="    ")
    if len(errors) > SHOWN:
        yield f"  and {len(errors) - SHOWN:,} more, told in atlas.json"
