"""The race as a whole: round robin over all contenders, each start in a child process of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import NamedTuple

from child import Outcome, in_child
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


def interleaved(topics: Sequence[Sequence[Start]], rounds: Callable[[Start], int], draw: Random) -> Iterator[Start]:
    """Give each start as often as it has rounds; what is compared, a topic, within the same seconds."""
    most = max((rounds(start) for topic in topics for start in topic), default=0)
    for round_ in range(most):
        for topic in draw.sample(topics, len(topics)):
            starts = [start for start in topic if round_ < rounds(start)]
            yield from draw.sample(starts, len(starts))


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
            shapes = [self.places(shape, n) for shape in self.shapes]
            yield from interleaved(shapes, lambda start: self.rounds(start.contender, start.n), draw)

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
    """What the race gave so far: the numbers of each sample, or why a start has none."""

    samples: dict[Start, list[dict[str, float]]] = field(default_factory=dict)
    problems: dict[Start, str] = field(default_factory=dict)

    def median(self, contender: str, shape: str, n: int, key: str = "us") -> float | None:
        samples = self.samples.get(Start(contender, shape, n))
        return median(sample[key] for sample in samples) if samples else None

    def note(self, start: Start, outcome: Outcome) -> None:
        if outcome.problem:
            self.problems[start] = outcome.problem
        else:
            self.samples.setdefault(start, []).append(outcome.numbers)

    def as_json(self) -> dict[str, object]:
        return {
            "samples": [{**start._asdict(), "numbers": numbers} for start, numbers in self.samples.items()],
            "problems": [{**start._asdict(), "why": why} for start, why in self.problems.items()],
        }


def make_all(
    starts: Sequence[Start],
    measure: Callable[[Start, Results], Outcome],
    say: Callable[[str], None],
    units: Callable[[str], tuple[str, str]] = lambda _shape: ("us", "µs"),
) -> Results:
    """Make all starts; `units` says which number of a shape is told on the way, and what it counts."""
    results = Results()
    for count, start in enumerate(starts, 1):
        results.note(start, outcome := measure(start, results))
        key, unit = units(start.shape)
        told = outcome.problem or f"{outcome.numbers[key]:10,.1f} {unit}"
        say(f"[{count}/{len(starts)}] {start.n:>7,} {start.shape:<13} {start.contender:<14} {told}")
    return results


def race(plan: Plan, say: Callable[[str], None]) -> Results:
    def measure(start: Start, results: Results) -> Outcome:
        if reason := reason_to_skip(start, results, plan.patience_s):
            return Outcome(problem=reason)
        # A small start is over in milliseconds: repeat it within its process.
        return in_child("race", LIMIT_S, **start._asdict(), repeats=max(1, 5_000 // start.n))

    return make_all(list(plan.starts()), measure, say)


def reason_to_skip(start: Start, results: Results, patience_s: float) -> str:
    """Say why this start is not made: it failed at this or a smaller size, or would take too long."""
    sizes = {place.n for place in (*results.samples, *results.problems) if place[:2] == start[:2]}
    before = start._replace(n=max((n for n in sizes if n <= start.n), default=0))
    if before in results.problems:
        return results.problems[before]
    # weft and the floor are never left out.
    foretold_from = results.median(*before)
    if before.n == start.n or foretold_from is None or start.contender in JUDGED:
        return ""
    if foretold_from * start.n / 1e6 <= patience_s:
        return ""
    return f"left out at {start.n:,} tasks: would take more than {patience_s:.0f} s (--patience)"
