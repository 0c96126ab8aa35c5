"""Each measurement runs in a process of its own, with a time limit: a peer that hangs takes nothing with it.

`in_child` is the end that asks; run as a script, this file is the end that answers, with one line of JSON.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import chains
import costs
import memory
import race

MEASUREMENTS: dict[str, Callable[..., dict[str, float]]] = {
    "race": race.time_per_task,
    "chain": chains.long_chain,
    "pending": memory.pending,
    "runner": memory.runner_chain,
    "closure": costs.closure,
    "imports": costs.imports,
}


@dataclass(frozen=True)
class Outcome:
    """The numbers of one measurement, or why there are none."""

    numbers: dict[str, float] = field(default_factory=dict)
    problem: str = ""


def in_child(measurement: str, limit_s: float, **params: object) -> Outcome:
    command = [sys.executable, __file__, measurement, json.dumps(params)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return Outcome(problem=f"no end within {limit_s:.0f} s")
    last_line = ran.stdout.strip().rpartition("\n")[2]
    if not last_line.startswith("{"):
        return Outcome(problem=f"died with exit code {ran.returncode}: {ran.stderr[-200:].strip()}")
    return Outcome(**json.loads(last_line))


def answer(measurement: str, params: dict[str, Any]) -> dict[str, object]:
    try:
        return {"numbers": MEASUREMENTS[measurement](**params)}
    except Exception as error:
        traceback.print_exc()
        return {"problem": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    print(json.dumps(answer(sys.argv[1], json.loads(sys.argv[2]))), flush=True)
    # Not `sys.exit`: a scheduler that failed may have left threads behind that never end.
    os._exit(0)
