"""The race as a whole: round robin over all contenders, each start in a child process of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import NamedTuple

from child import in_child
from race import ONLY_FOR

# The figures rest on these two; the others need fewer rounds to be told apart.
JUDGED = ("floor", "weft")

LIMIT_S = 120.0
PATIENCE_S = 15.0
SMALL = 10_000


class Start(NamedTuple):
    """One place in the table: this contender, with this shape, of this size."""

    contender: str
    shape: str
    n: int


@dataclass(frozen=True)
class Plan:
    """Which starts to make, and how often."""

    contenders: list[str]
    shapes: list[str]
    sizes: list[int]
    quick: bool = False
    patience_s: float = PATIENCE_S

    def starts(self) -> Iterator[Start]:
        """Give all starts in the order in which they are made: by size, and within it by rounds."""
        draw = Random(0)
        for n in self.sizes:
            for round_ in range(self.rounds("weft", n)):
                # One shape after the other: what is compared is then measured within the same seconds.
                for shape in draw.sample(self.shapes, len(self.shapes)):
                    starts = [start for start in self.places(shape, n) if round_ < self.rounds(start.contender, n)]
                    yield from draw.sample(starts, len(starts))

    def places(self, shape: str, n: int) -> list[Start]:
        runners = [name for name in self.contenders if shape in ONLY_FOR.get(name, self.shapes)]
        return [Start(contender, shape, n) for contender in runners]

    def rounds(self, contender: str, n: int) -> int:
        if self.quick:
            return 3 if contender in JUDGED else 1
        if n > SMALL:
            return 3 if contender in JUDGED else 1
        return 5 if contender in JUDGED else 3


@dataclass
class Results:
    """What the race gave so far: samples in microseconds per task, or why a start has none."""

    samples: dict[Start, list[float]] = field(default_factory=dict)
    problems: dict[Start, str] = field(default_factory=dict)
    patience_s: float = PATIENCE_S

    def median(self, contender: str, shape: str, n: int) -> float | None:
        samples = self.samples.get(Start(contender, shape, n))
        return median(samples) if samples else None

    def reason_to_skip(self, start: Start) -> str:
        """Say why this start is not made: it failed at this or a smaller size, or would take too long."""
        sizes = {place.n for place in (*self.samples, *self.problems) if place[:2] == start[:2]}
        before = start._replace(n=max((n for n in sizes if n <= start.n), default=0))
        if before in self.problems:
            return self.problems[before]
        # weft and the floor are never left out.
        if before.n == start.n or before not in self.samples or start.contender in JUDGED:
            return ""
        foretold_s = median(self.samples[before]) * start.n / 1e6
        if foretold_s <= self.patience_s:
            return ""
        return f"left out at {start.n:,} tasks: would take more than {self.patience_s:.0f} s (--patience)"


def race(plan: Plan, say: Callable[[str], None]) -> Results:
    results = Results(patience_s=plan.patience_s)
    starts = list(plan.starts())
    for count, start in enumerate(starts, 1):
        make(start, results)
        told = results.problems.get(start) or f"{results.samples[start][-1]:8.1f} µs"
        say(f"[{count}/{len(starts)}] {start.n:>7,} {start.shape:<13} {start.contender:<13} {told}")
    return results


def make(start: Start, results: Results) -> None:
    if reason := results.reason_to_skip(start):
        results.problems[start] = reason
        return
    # A small start is over in milliseconds: repeat it within its process.
    repeats = max(1, 5_000 // start.n)
    outcome = in_child("race", LIMIT_S, **start._asdict(), repeats=repeats)
    if outcome.problem:
        results.problems[start] = outcome.problem
    else:
        results.samples.setdefault(start, []).append(outcome.numbers["us"])
