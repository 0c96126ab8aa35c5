"""Plain lines for what happens: one at the begin and one at the end of each proc, and a summary."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from weft.engine.states import CANCELLED, FAILED, RUNNING, SKIPPED, SUCCEEDED, UNREACHABLE, UP_TO_DATE, State
from weft.procs.logs import snippet

if TYPE_CHECKING:
    from weft.procs.core import Core
    from weft.procs.running import Happened

__all__ = ["Lines", "icon"]

ICONS: dict[State, tuple[str, str]] = {
    RUNNING: ("▶", ">"),
    SUCCEEDED: ("✓", "+"),
    FAILED: ("✗", "x"),
    UNREACHABLE: ("🚫", "!"),
    SKIPPED: ("⊘", "-"),
    UP_TO_DATE: ("↷", "="),
}
COLOURS = {SUCCEEDED: "32", FAILED: "31", UNREACHABLE: "31", SKIPPED: "33", UP_TO_DATE: "36"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LINE_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Lines:
    """An observer that prints, while the option `report` is set."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._counts: Counter[State] = Counter()
        self._lock = threading.Lock()  # what is printed, and whether it is; never around a write
        self._kept: list[str] | None = None

    def __call__(self, happened: Happened) -> None:
        options = self._core.options
        state, proc = happened.state, happened.proc
        if state.is_end:
            self._counts[state] += 1
        if not options.report or state is CANCELLED:  # whoever has cancelled all knows, or has told it
            return
        out = sys.stdout
        text = f"{icon(state, out)} {_LINE_CONTROL.sub(_escaped, proc.name)}"
        if state.is_end:
            text += f": {_LINE_CONTROL.sub(_escaped, proc.reason)}" if proc.reason else ""
            text += f" ({_duration(proc.seconds)})" if proc.seconds else ""
        lines = [text]
        if state is FAILED and proc.log_path is not None:
            lines += [f"    {_CONTROL.sub(_escaped, line)}" for line in self._told(proc.log_path)]
            lines.append(f"    log: {proc.log_path}")
        self._write(out, lines)

    def forget(self) -> None:
        """No summary of what has been so far."""
        self._counts.clear()

    def summary(self) -> None:
        """How many ended in which way, since the last summary."""
        counts, self._counts = self._counts, Counter()
        if counts and self._core.options.report:
            told = ", ".join(f"{count} {state.value}" for state, count in counts.items())
            total = sum(counts.values())
            self._write(sys.stdout, [f"{total} proc{'s' * (total != 1)}: {told}"])

    def _told(self, path: Any) -> list[str]:
        return snippet(path, full=self._core.options.full_log_on_failure)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Print nothing meanwhile, as while the user is asked something; what there is to say comes after it."""
        with self._lock:
            self._kept = []
        try:
            yield
        finally:
            with self._lock:
                kept, self._kept = self._kept, None
            if kept:
                self._write(sys.stdout, kept)

    def _write(self, out: Any, lines: list[str]) -> None:
        if out is None:
            return
        with self._lock:
            if self._kept is not None:
                self._kept += lines
                return
        encoding = getattr(out, "encoding", None) or "utf-8"
        text = "".join(f"{line}\n" for line in lines)
        try:
            out.write(text.encode(encoding, "backslashreplace").decode(encoding))
            out.flush()
        except (OSError, ValueError):  # nobody reads any more, or it is closed
            pass


def icon(state: State, out: Any) -> str:
    """The sign of a state: in colour on a terminal, unless NO_COLOR is set; in ASCII where the stream has no more."""
    sign, plain = ICONS[state]
    try:
        sign.encode(getattr(out, "encoding", None) or "utf-8")
    except (UnicodeError, LookupError):
        sign = plain
    if state in COLOURS and "NO_COLOR" not in os.environ and _is_terminal(out):
        return f"\x1b[{COLOURS[state]}m{sign}\x1b[0m"
    return sign


def _is_terminal(out: Any) -> bool:
    try:
        return bool(out.isatty())
    except (AttributeError, ValueError):
        return False


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
