"""An experiment with everything that can happen to one: bound arguments, results that are passed on, a flaky
instrument that is tried again, two ways to calibrate of which one is enough, and a clean-up after a failure.

    python examples/experiment.py                    # all goes well
    python examples/experiment.py --break-detector   # one branch fails; what does not need it goes on

The files go to the folder experiment/ (or --folder).
"""

import argparse
import json
import random
import sys
from pathlib import Path

from weft import after, ensure, job, schedule, waitfor
from weft.errors import WorkflowError

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backend", default=None, help="local (default), threads, serial or dry")
parser.add_argument("--folder", type=Path, default=Path("experiment"))
parser.add_argument("--break-detector", action="store_true")
options = parser.parse_args()
folder: Path = options.folder
broken: bool = options.break_detector


@job
def prepare(seed: int) -> list[float]:
    """Make samples."""
    draw = random.Random(seed)
    return [draw.gauss(10, 2) for _ in range(200)]


# It fails now and then, as instruments do: two further tries.
@ensure(lambda: folder.is_dir(), when="before")
@job(retries=2, time="1m")
def expose(samples: list[float]) -> list[float]:
    """Take a picture of each sample; the first try finds the shutter closed."""
    tries = folder / "tries"
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    if len(tries.read_text()) == 1:
        raise OSError("the shutter is closed")
    (folder / "raw.json").write_text(json.dumps(samples))
    return [sample + 0.5 for sample in samples]


@job
def calibrate_by_lamp() -> float:
    """One way to find the offset, which does not always work."""
    if broken:
        raise RuntimeError("the lamp is off")
    return 0.5


@job
def calibrate_by_star() -> float:
    """Another way."""
    return 0.5


# One calibration is enough, whichever comes first.
@waitfor("any")
@after(calibrate_by_lamp, calibrate_by_star)
@ensure(lambda: (folder / "offset.json").exists())
@job
def keep_offset() -> None:
    """Write down the offset."""
    (folder / "offset.json").write_text("0.5")


# `bind` makes new jobs: the same function, other arguments. A job among them is waited for, and its result passed in.
samples = prepare.bind(seed=1)
pictures = expose.bind(samples)


@job
def reduce(pictures: list[float], shift: float = 0.0) -> dict[str, float]:
    """Subtract the offset and take the mean."""
    if broken:
        raise ValueError(f"the detector saw {len(pictures)} pictures, and all of them are black")
    offset = json.loads((folder / "offset.json").read_text())
    return {"shift": shift, "mean": sum(picture - offset for picture in pictures) / len(pictures)}


# An array whose element is not bound; all else is.
shifts = [0.0, 0.5, 1.0]


@job(array=shifts)
def shifted(shift: float, pictures: list[float]) -> float:
    """The mean, should the stage have moved."""
    return sum(pictures) / len(pictures) + shift


table = shifted.bind(pictures=pictures)
reduced = reduce.bind(pictures).after(keep_offset)  # beside what it takes, it needs the file


@ensure(lambda: (folder / "report.txt").exists())
@job
def report(result: dict[str, float], table: list[float]) -> str:
    """Write the report."""
    text = f"mean {result['mean']:.2f}; shifted: {', '.join(f'{value:.2f}' for value in table)}"
    (folder / "report.txt").write_text(text + "\n")
    return text


last = report.bind(reduced, table)


# Runs only if the reduction fails; otherwise it is never reached, which is no failure.
@after(reduced, status="failure")
@job
def clean_up() -> None:
    """Take away what nobody can use."""
    (folder / "raw.json").unlink(missing_ok=True)
    print("raw data removed")


# Runs in any case, once the others are over.
@after(last, status="any")
@job
def switch_off() -> None:
    """Leave the laboratory as it was."""
    (folder / "tries").unlink(missing_ok=True)
    print("lights off")


if __name__ == "__main__":
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run = schedule(last, clean_up, switch_off, backend=options.backend)
    except WorkflowError as errors:
        for error in errors.exceptions:
            print(f"failed: {error} <- {error.__cause__!r}")
        sys.exit(1)
    print(run.summary())
