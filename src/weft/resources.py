"""What a task needs: the one place that reads these words, whichever door they come in by.

    Resources.read("@task", cpus=4, memory="8GB", time="1h30m", retries={"memory": Retry(2, memory=1.5)})

Amounts are kept in plain units: memory in bytes, time in seconds.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, fields, replace
from numbers import Real
from typing import Any, Literal, TypeAlias, get_args

from weft.errors import ArgumentError, ChoiceError, TaskTimeout, WorkerDied

__all__ = ["Cause", "Resources", "Retries", "Retry", "cause_of", "read_environment"]

Cause: TypeAlias = Literal["user", "died", "infrastructure", "memory", "timeout"]
"""Why a try failed: an exception of the function, its process ended, the cluster's fault, too little memory or time."""

CAUSES: tuple[Cause, ...] = get_args(Cause)

SYNONYMS = {"ram": "memory", "timelimit": "time"}


def cause_of(error: BaseException) -> Cause:
    """The word for what an exception says about a try that it ended."""
    if isinstance(error, WorkerDied):
        return "died"
    if isinstance(error, TaskTimeout):
        return "timeout"
    if isinstance(error, MemoryError):
        return "memory"
    return "user"


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a task is tried again, and how much more each further try asks for.

    Args:
        times: further tries, at most.
        memory, time: factors; with 1.5 the second further try asks for 2.25 times as much as the first try.
    """

    times: int
    _: KW_ONLY
    memory: float = 1
    time: float = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", _taken("Retry", "times", _count, self.times))
        for word in ("memory", "time"):
            _taken("Retry", word, _factor, getattr(self, word))


@dataclass(frozen=True, slots=True)
class Retries:
    """After which failures a task is tried again: `total` times after any, or as `by_cause` says."""

    total: int | None = None
    by_cause: tuple[tuple[Cause, Retry], ...] = ()

    def allows(self, cause: Cause, already: Mapping[Cause, int]) -> Retry | None:
        """The rule for one more try after a failure for `cause`, or None; `already` counts the further tries so far."""
        if self.total is not None:
            return Retry(self.total) if sum(already.values()) < self.total else None
        retry = dict(self.by_cause).get(cause)
        return retry if retry is not None and already.get(cause, 0) < retry.times else None


@dataclass(frozen=True, slots=True)
class Resources:
    """What a task needs. None: nothing is asked for, and the place where it runs decides."""

    cpus: int | None = None
    gpus: int | None = None
    memory: int | None = None  # bytes
    time: float | None = None  # seconds
    retries: Retries | None = None

    @classmethod
    def read(cls, where: str, /, *also: str, **words: Any) -> Resources:
        """What a user asks for.

        Numbers may be texts; None stands for a word that is not given; ``ram`` means memory, ``timelimit`` time.

        Args:
            where: the call that the user wrote, such as ``"@task"``; messages begin with it.
            also: the other options that may be given there, for a message that lists what there is.
            words: what is asked for.

        Raises:
            ArgumentError: (a TypeError) an unknown word, or a value of the wrong kind.
            ChoiceError: (a ValueError) a value that cannot be.
        """
        found: dict[str, Any] = {}
        for word, value in words.items():
            name = SYNONYMS.get(word, word)
            if name not in READERS:
                raise ArgumentError(
                    f"{where} has no option {word!r}; {_near(word, also)}options: {', '.join(cls.options(*also))}"
                )
            if value is None:
                continue
            if name in found:
                other = next(other for other in words if other != word and SYNONYMS.get(other, other) == name)
                raise ArgumentError(f"{where} got both {other!r} and {word!r}, which mean the same; leave one out")
            found[name] = _taken(where, word, READERS[name], value)
        return cls(**found)

    @staticmethod
    def options(*also: str) -> list[str]:
        """The words that `read` knows, and those of the caller's own, in order."""
        return sorted({*READERS, *also})

    def words(self) -> dict[str, Any]:
        """What is asked for, by word; `read` takes it again."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    def merged(self, other: Resources) -> Resources:
        """Both together; where both ask, as `other` says."""
        return replace(self, **other.words())

    def grown(self, retry: Retry) -> Resources:
        """What the next try asks for."""
        return replace(
            self,
            memory=None if self.memory is None else math.ceil(self.memory * retry.memory),
            time=None if self.time is None else self.time * retry.time,
        )


def read_environment(where: str, env: Any) -> dict[str, str]:
    """Environment variables that a user asks for; `where` is the call that the user wrote.

    Raises:
        ArgumentError: (a TypeError) no mapping from texts to texts.
        ChoiceError: (a ValueError) a name or value that no system takes.
    """
    if not isinstance(env, Mapping):
        raise ArgumentError(f'{where}(env=...) must be a mapping such as {{"KEY": "value"}}, got {env!r:.60}')
    for key, value in env.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ArgumentError(f"{where}(env=...) must map texts to texts, got {key!r:.40}: {value!r:.40}")
        if "=" in key or not key or "\0" in key + value:
            raise ChoiceError(
                f"{where}(env=...) has a name or value that the system does not take: {key!r:.40}: {value!r:.40}"
            )
    return dict(env)


def _taken(where: str, word: str, reader: Callable[[Any], Any], value: Any) -> Any:
    """What a reader makes of a value. It refuses one with TypeError or ValueError, whose text is the rule."""
    try:
        return reader(value)
    except TypeError as rule:
        error: type[Exception] = ArgumentError
        text = str(rule)
    except ValueError as rule:
        error, text = ChoiceError, str(rule)
    raise error(f"{where}({word}=...) must be {text}, got {value!r:.60}")


def _near(word: str, also: tuple[str, ...]) -> str:
    import difflib

    close = difflib.get_close_matches(word, [*READERS, *SYNONYMS, *also], n=1, cutoff=0.5)
    return f"did you mean {SYNONYMS.get(close[0], close[0])!r}? " if close else ""


# Readers of one value each


def _whole(value: Any, lowest: int, rule: str) -> int:
    if isinstance(value, str):
        if not re.fullmatch(r"\s*\d+\s*", value, re.ASCII):
            raise ValueError(rule)
        number = int(value)
    elif isinstance(value, float):  # 8e9 bytes
        if not value.is_integer():
            raise ValueError(rule)
        number = int(value)
    else:
        try:
            number = operator.index(value)
        except TypeError:
            raise TypeError(rule) from None
        if isinstance(value, bool):
            raise TypeError(rule)
    if number < lowest:
        raise ValueError(rule)
    return number


def _cpus(value: Any) -> int:
    return _whole(value, 1, "a whole number from 1 up")


def _count(value: Any) -> int:
    return _whole(value, 0, "a whole number from 0 up")


def _factor(value: Any) -> float:
    rule = "a factor such as 1.5"
    if not _is_number(value):
        raise TypeError(rule)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(rule)
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)  # NumPy's numbers are Real, too


def _memory(value: Any) -> int:
    """Bytes. As in batch systems a GB is 1024 MB, written ``"8GB"``, ``"8G"``, ``"8 GiB"`` or ``"8g"``.

    See ``--mem`` on https://slurm.schedmd.com/sbatch.html. Text without a unit is bytes, as a number is; there it
    is megabytes.
    """
    rule = 'a number of bytes, or text such as "8GB" or "500 MiB" (K, M, G, T and P, in steps of 1024)'
    if not isinstance(value, str):
        return _whole(value, 1, rule)
    match = _MEMORY.fullmatch(value.strip())
    if match is None:
        raise ValueError(rule)
    number, unit = match.groups()
    amount = (int(number) if number.isdecimal() else float(number)) * 1024 ** " kmgtp".index(unit.lower() or " ")
    if not 1 <= amount < 2**63:
        raise ValueError(rule)
    return int(amount)


_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE | re.ASCII)


def _time(value: Any) -> float:
    """Seconds: a number, a timedelta, ``"1h30m"``, or one of Slurm's forms, ``[days-]hours:minutes:seconds`` and so on.

    See ``--time`` on https://slurm.schedmd.com/sbatch.html. Text without a unit is seconds, as a number is; there it
    is minutes.
    """
    rule = 'a number of seconds, or text such as "90s", "1h30m", "10:00" (minutes) or "1-12:00:00" (days)'
    seconds: float | None
    if isinstance(value, str):
        text = value.strip()
        seconds = float(text) if re.fullmatch(_NUMBER, text, re.ASCII) else _spelled(text) or _clock(text)
    elif hasattr(value, "total_seconds"):
        seconds = float(value.total_seconds())
    elif _is_number(value):
        seconds = value if type(value) is int else float(value)
    else:
        raise TypeError(rule)
    if seconds is None or not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(rule)
    return seconds


_NUMBER = r"(\d+(?:\.\d+)?)\s*"
_SPELLED = re.compile(
    rf"(?:{_NUMBER}d(?:ays?)?)?\s*(?:{_NUMBER}h(?:(?:ou)?rs?)?)?\s*(?:{_NUMBER}m(?:in(?:ute)?s?)?)?\s*"
    rf"(?:{_NUMBER}s(?:ec(?:ond)?s?)?)?",
    re.IGNORECASE | re.ASCII,
)
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", re.ASCII)


def _spelled(text: str) -> float | None:
    match = _SPELLED.fullmatch(text)
    if match is None:
        return None
    parts = [float(part or 0) for part in match.groups()]
    return math.fsum(part * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=True))


def _clock(text: str) -> float | None:
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    days, *rest = (None if part is None else int(part) for part in match.groups())
    parts = [part for part in rest if part is not None]
    if any(part > 59 for part in parts[1:]):
        return None
    if days is None:  # minutes:seconds, or hours:minutes:seconds
        hours, minutes, seconds = [0, 0, *parts][-3:]
    else:  # days-hours, and the rest as far as it is given
        hours, minutes, seconds = [*parts, 0, 0][:3]
        if hours > 23:
            return None
    return float((((days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


def _retries(value: Any) -> Retries:
    """A number of further tries after any failure, or a dict of numbers and `Retry` by cause."""
    rule = f'a whole number from 0 up, or a dict such as {{"died": 2, "memory": Retry(2, memory=1.5)}} by {_CAUSES}'
    if isinstance(value, Retries):
        return value
    if not isinstance(value, Mapping):
        return Retries(_whole(value, 0, rule))
    if not all(cause in CAUSES for cause in value):
        raise ValueError(rule)
    given = [(cause, value[cause]) for cause in CAUSES if cause in value]
    return Retries(
        None, tuple((cause, one if isinstance(one, Retry) else Retry(_whole(one, 0, rule))) for cause, one in given)
    )


_CAUSES = f"{', '.join(CAUSES[:-1])} or {CAUSES[-1]}"

READERS: dict[str, Callable[[Any], Any]] = {
    "cpus": _cpus,
    "gpus": _count,
    "memory": _memory,
    "time": _time,
    "retries": _retries,
}
