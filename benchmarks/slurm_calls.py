"""What a contender asks of Slurm's controller: its commands, noted by a script that stands before them on PATH."""

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

NAMES = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo", "srun")
CALLS = "WEFT_BENCH_CALLS"  # the environment variable with the path of the file that calls are noted in

# It starts no process to find the time, and writes one short line, so lines of several callers do not mix. What a
# call is about matters for scontrol alone: it asks for the state of jobs, and also for the configuration.
SCRIPT = """\
#!/bin/sh
name=${{0##*/}} about=-
[ "$name" = scontrol ] && about=$2
read -r now idle < /proc/uptime
echo "$name $now ${{SLURM_JOB_ID:--}} $about" >> "${{{variable}:-/dev/null}}"
exec {folder}/"$name" "$@"
"""


class Call(NamedTuple):
    """One command: its name, when it was started, in which job, and what it was about."""

    name: str
    at: float
    job: str
    about: str

    @property
    def is_status(self) -> bool:
        """Whether a client asked how its jobs are."""
        return self.job == "-" and (
            self.name in ("squeue", "sacct") or (self.name == "scontrol" and self.about != "config")
        )


def put_before(commands: Path, folder: Path) -> None:
    """Fill a folder that is to be before that of Slurm's commands on PATH."""
    script = folder / "counted"
    script.write_text(SCRIPT.format(variable=CALLS, folder=shlex.quote(str(commands))))
    script.chmod(0o755)
    for name in NAMES:
        if (commands / name).exists():
            (folder / name).symlink_to(script)


def start_counting() -> None:
    """Note the calls of this process, and of all that it starts, in the working directory."""
    os.environ[CALLS] = str(Path("calls.txt").absolute())
    Path(os.environ[CALLS]).touch()


def calls() -> list[Call]:
    lines = [line.split(" ", 3) for line in Path(os.environ[CALLS]).read_text().splitlines()]
    return [Call(name, float(at), job, about) for name, at, job, about in lines]


def counts(noted: Sequence[Call]) -> dict[str, float]:
    """Count by name, and the status queries; say how close two of these were, in s."""
    by_name = Counter(call.name for call in noted)
    asked = [call.at for call in noted if call.is_status]
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    return {**{name: by_name[name] for name in NAMES}, "status": len(asked), "gap": min(gaps, default=0.0)}
