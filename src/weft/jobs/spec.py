"""What `@job(...)` says about a job: read here, once, on the user's line."""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from weft.errors import ArgumentError, ChoiceError
from weft.resources import SYNONYMS, Resources, read_environment

__all__ = ["NOTHING", "Setting", "Spec", "read_spec"]

Setting = str | int | float | bool | None

WORDS = ("cpus", "gpus", "memory", "time", "retries", *SYNONYMS)  # what `Resources` reads
OWN = ("name", "array", "array_throttle", "env", "setup", "settings", "backend")
OPTION = re.compile(r"[A-Za-z+][\w.-]*", re.ASCII)
NEAR = 0.8  # how alike two words are, by difflib, of which one is taken for a slip of the other


class Spec(NamedTuple):
    """All that is said of a job but its function and its place in a graph."""

    name: str
    resources: Resources
    elements: Sequence[Any] | None  #: Of the array; None where there is none.
    throttle: int | None  #: So many elements at once, at most.
    backend: Any  #: None: the one of `schedule`.
    env: Mapping[str, str]
    setup: tuple[str, ...]  #: Lines for the script of a batch system.
    settings: Mapping[str, Setting]  #: For a batch system, as they are.


NOTHING = Resources()
_NONE: Mapping[str, Any] = {}


def read_spec(where: str, options: dict[str, Any]) -> Spec:
    """What the options of `@job` say; the name is empty where they give none.

    Args:
        where: for messages, such as ``"@job"``.
        options: as they were written; this takes those that it knows out of it.

    Raises what `job` raises.
    """
    name = _name(where, options.pop("name", None))
    if not options:
        return Spec(name, NOTHING, None, None, None, _NONE, (), _NONE)
    words = {word: options.pop(word) for word in WORDS if word in options}
    array, throttle, env, setup, settings, backend = [options.pop(word, None) for word in OWN[1:]]
    elements = _elements(where, array)
    return Spec(
        name,
        Resources.read(where, **words) if words else NOTHING,
        elements,
        _throttle(where, throttle, elements),
        _backend(where, backend),
        _NONE if env is None else read_environment(where, env),
        () if setup is None else _lines(where, setup),
        _settings(where, settings, options),
    )


def _name(where: str, name: Any) -> str:
    if name is None:
        return ""
    if not isinstance(name, str):
        raise ArgumentError(f"{where}(name=...) must be some text, got {name!r:.60}")
    if not name:
        raise ChoiceError(f"{where}(name=...) must be some text, got {name!r}")
    return name


def _elements(where: str, array: Any) -> Sequence[Any] | None:
    """The values of an array, in an order that is the same in every process."""
    rule = f"{where}(array=...) must be a number of elements, or their values, such as 10 or [0.1, 0.2]"
    if array is None or isinstance(array, range):
        return array
    if isinstance(array, str):
        if not re.fullmatch(r"\s*\d+\s*", array, re.ASCII):
            raise ChoiceError(f"{rule}; got the text {array!r:.60}: write [{array!r:.40}] for one element")
        return range(int(array))
    count = _whole(array)
    if count is not None:
        if count < 0:
            raise ChoiceError(f"{rule}, got {count}")
        return range(count)
    if isinstance(array, bool | bytes) or not isinstance(array, Iterable):
        raise ArgumentError(f"{rule}; got {array!r:.60}")
    if isinstance(array, (set, frozenset)):
        # Their order differs from one interpreter to the next, and an element must be found again by its place.
        try:
            return tuple(sorted(array))
        except Exception:  # noqa: BLE001 - a comparison is somebody's code
            return tuple(sorted(array, key=repr))
    return tuple(array)


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _throttle(where: str, throttle: Any, elements: Collection[Any] | None) -> int | None:
    if throttle is None:
        return None
    rule = f"{where}(array_throttle=...) must be how many elements may run at once, from 1 up"
    number = int(throttle) if isinstance(throttle, str) and throttle.strip().isdecimal() else _whole(throttle)
    if number is None:
        raise ArgumentError(f"{rule}; got {throttle!r:.60}")
    if number < 1:
        raise ChoiceError(f"{rule}; got {number}")
    if elements is None:
        raise ArgumentError(f"{where}(array_throttle={number}) needs an array; write array=... beside it")
    return number


def _backend(where: str, backend: Any) -> Any:
    if backend is not None:
        from weft.jobs.backends import check_backend

        check_backend(f"{where}(backend=...)", backend)
        if backend == "dry":
            raise ChoiceError(f'{where}(backend="dry"): only a whole schedule can be dry: schedule(..., backend="dry")')
    return backend


def _lines(where: str, setup: Any) -> tuple[str, ...]:
    lines: list[Any] = [setup] if isinstance(setup, str) else list(setup) if isinstance(setup, Iterable) else [None]
    if not all(isinstance(line, str) for line in lines):
        raise ArgumentError(f"{where}(setup=...) must be a line for the script, or a list of lines; got {setup!r:.60}")
    return tuple(part for line in lines for part in line.splitlines())


def _settings(where: str, settings: Any, raw: dict[str, Any]) -> Mapping[str, Setting]:
    if settings is None and not raw:
        return _NONE
    if settings is not None and not isinstance(settings, Mapping):
        raise ArgumentError(
            f'{where}(settings=...) must be a mapping such as {{"exclusive": None, "nice": 10}}, got {settings!r:.60}'
        )
    if raw:
        _refuse_slips(where, raw)
    found = {**(settings or {}), **raw}
    for word, value in found.items():
        if not isinstance(word, str) or not OPTION.fullmatch(word):
            raise ChoiceError(f"{where}: {word!r:.60} cannot be an option of a batch system; write it without dashes")
        if value is not None and not isinstance(value, str | int | float):
            raise ArgumentError(f"{where}({word}=...) must be text or a number, None or False; got {value!r:.60}")
        if isinstance(value, str) and ("\n" in value or "\r" in value or "\0" in value):
            raise ChoiceError(f"{where}({word}=...) must be one line, got {value!r:.60}")
    return found


def _refuse_slips(where: str, raw: Iterable[str]) -> None:
    """What is meant for the batch system may be anything, but not a word of ours with a letter wrong."""
    import difflib

    for word in raw:
        near = difflib.get_close_matches(word, [*WORDS, *OWN], n=1, cutoff=NEAR)
        if near:
            raise ArgumentError(
                f"{where} has no option {word!r}; did you mean {near[0]!r}? For the batch system, as it is: "
                f"settings={{{word!r}: ...}}"
            )
