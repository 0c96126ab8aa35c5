"""Estimate pi by an array of jobs, then merge what they found.

    python examples/pi.py                      # runs 8 estimates, then the merge
    python examples/pi.py                      # again: everything is there, so nothing runs
    python examples/pi.py --backend threads    # somewhere else
    python examples/pi.py --backend slurm      # on a cluster

The files go to the folder pi/ (or --folder). Remove one of them, and the next run makes just that one, and the merge.
"""

import argparse
import json
import random
from pathlib import Path

from weft import after, ensure, job, schedule

ESTIMATES = 8
POINTS = 100_000

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backend", default=None, help="local (default), threads, serial, slurm, condor or dry")
parser.add_argument("--folder", type=Path, default=Path("pi"))
options = parser.parse_args()
folder: Path = options.folder
merged = folder / "pi.json"


def part(i: int) -> Path:
    """The file of one estimate."""
    return folder / f"estimate-{i}.json"


# A job says what it leaves behind. Where that is there already, it is done, and does not run.
@ensure(lambda i: part(i).exists())
@job(array=ESTIMATES, cpus=1, memory="100MB", time="10m")
def estimate(i: int) -> None:
    """Throw points at a square and count those in the circle."""
    draw = random.Random(i)
    inside = sum(draw.random() ** 2 + draw.random() ** 2 < 1 for _ in range(POINTS))
    part(i).write_text(json.dumps({"inside": inside, "points": POINTS}))
    print(f"estimate {i}: {4 * inside / POINTS:.4f}")


# A merge is older than its parts when one of them has been made again.
def merge_is_new() -> bool:
    """Whether the merge has all that there is."""
    parts = [part(i) for i in range(ESTIMATES)]
    return merged.exists() and all(p.exists() and p.stat().st_mtime <= merged.stat().st_mtime for p in parts)


@after(estimate)
@ensure(merge_is_new)
@job
def merge() -> float:
    """Put all estimates together."""
    counts = [json.loads(part(i).read_text()) for i in range(ESTIMATES)]
    pi: float = 4 * sum(count["inside"] for count in counts) / sum(count["points"] for count in counts)
    merged.write_text(json.dumps(pi))
    return pi


if __name__ == "__main__":
    folder.mkdir(parents=True, exist_ok=True)
    run = schedule(merge, backend=options.backend, wait=True)  # a cluster would not keep us waiting
    print(run.summary())
    if merged.exists():
        print(f"pi is about {json.loads(merged.read_text()):.3f}")
