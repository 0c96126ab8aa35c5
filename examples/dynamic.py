"""A graph that is built in a loop: one fit for each width, a cross-check of neighbours, and the best of all.

    python examples/dynamic.py [--backend threads | slurm]

Jobs are made by calling `job` like any function, so their number and names may depend on data.
"""

import argparse
from itertools import pairwise

from weft import Job, job, schedule

WIDTHS = [0.1, 0.2, 0.5, 1.0, 2.0]
DATA = [(x / 10, (x / 10) ** 2 + (0.3 if x % 3 else -0.6)) for x in range(-20, 21)]


def fit(width: float) -> float:
    """How badly a moving average of this width misses each point, when it does not know that point."""
    misses = []
    for x, y in DATA:
        near = [other for at, other in DATA if at != x and abs(at - x) <= width]
        misses.append((sum(near) / len(near) - y) ** 2 if near else y**2)
    return sum(misses) / len(misses)


def compare(name: str, one: float, other: float) -> str:
    """Say which of two fits is better."""
    return f"{name}: {'first' if one < other else 'second'} is better"


def choose(misses: dict[str, float]) -> str:
    """The name of the best fit."""
    return min(misses, key=lambda name: misses[name])


# A new job for each width; any text is a name.
fits: dict[str, Job[..., float]] = {f"fit_{width}": job(name=f"fit_{width}")(fit).bind(width) for width in WIDTHS}

# A job among the arguments stands for its result, and is waited for. It may be anywhere in lists and dicts.
names = list(fits)
checks = [
    job(name=f"{one} against {other}")(compare).bind(f"{one}/{other}", fits[one], fits[other])
    for one, other in pairwise(names)
]
best = job(choose).bind(fits)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--backend", default=None)
    run = schedule(best, *checks, backend=parser.parse_args().backend, wait=True)
    for check in checks:
        print(run[check])
    print("best:", run[best])
