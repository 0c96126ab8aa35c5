"""What `set_options` takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from weft.engine.edges import choose
from weft.errors import ArgumentError, ChoiceError
from weft.procs.names import near

__all__ = ["FIXED", "Options", "changed"]

MODES = ("mp", "single")
#: What cannot change while procs run: the gates and places that they have passed are made of it.
FIXED = ("executor", "locks", "log_directory", "mode", "parallel")


@dataclass(frozen=True)
class Options:
    """The options of a manager, with their defaults."""

    parallel: int = 100
    mode: str = "mp"
    executor: Executor | None = None
    locks: dict[str, int] = field(default_factory=dict)
    log_directory: Path | None = None
    name_param_separator: str = "::"
    allow_missing_deps: bool = True
    full_log_on_failure: bool = False
    report: bool = True


def changed(options: Options, words: Mapping[str, Any]) -> Options:
    """`options` with these values. Raises ArgumentError and ChoiceError."""
    known = {option.name for option in fields(Options)}
    for word in words:
        if word not in known:
            raise ArgumentError(
                f"set_options has no option {word!r}{near(word, known)}; options: {', '.join(sorted(known))}"
            )
    read: dict[str, Any] = {word: _READERS[word](word, value) for word, value in words.items()}
    return replace(options, **read)


def _parallel(word: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentError(f"set_options({word}=...) must be a whole number, got {value!r:.60}")
    if value < 1:
        raise ChoiceError(f"set_options({word}=...) must be at least 1, got {value}; nothing could ever run")
    return value


def _mode(word: str, value: Any) -> str:
    return choose(value, MODES, f"set_options({word}=...)")


def _executor(word: str, value: Any) -> Executor | None:
    if value is not None and not isinstance(value, Executor):
        raise ArgumentError(f"set_options({word}=...) must be a concurrent.futures.Executor, got {value!r:.60}")
    return value


def _locks(word: str, value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise ArgumentError(f'set_options({word}=...) must be a dict such as {{"gpu": 4}}, got {value!r:.60}')
    return {str(name): _parallel(f"{word}[{name!r}]", count) for name, count in value.items()}


def _log_directory(word: str, value: Any) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ArgumentError(f"set_options({word}=...) must be the path of a folder, got {value!r:.60}")
    return Path(os.path.abspath(os.fspath(value)))


def _separator(word: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ArgumentError(f"set_options({word}=...) must be a text, got {value!r:.60}")
    if not value or "[" in value or "]" in value:
        raise ChoiceError(f"set_options({word}=...) must be a text without brackets, and not empty, got {value!r}")
    return value


def _flag(word: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ArgumentError(f"set_options({word}=...) must be True or False, got {value!r:.60}")
    return value


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "parallel": _parallel,
    "mode": _mode,
    "executor": _executor,
    "locks": _locks,
    "log_directory": _log_directory,
    "name_param_separator": _separator,
    "allow_missing_deps": _flag,
    "full_log_on_failure": _flag,
    "report": _flag,
}
