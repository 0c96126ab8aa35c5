"""Measure weft's engine beside its peers: `python benchmarks/engine.py`, or `make bench`.

Prints the tables on stdout and the progress on stderr. The verdicts are words; the exit code is 1 only
when weft gave a wrong answer, or none.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

from further import PARTS, QUICK, Finding, Scale
from race import CONTENDERS
from report import findings_table, race_report, section
from rounds import PATIENCE_S, Plan, Results, race
from shapes import SHAPES

SIZES = [1_000, 10_000, 100_000]
QUICK_SIZES = [1_000, 10_000]

TITLES = {
    "memory": "Memory per pending task, beyond what its arguments take",
    "long-chains": "Long chains, complete before their first link starts",
    "runners": "A chain of calls through ConcurrentRunner",
    "closure": "The snapshot of a Closure",
    "imports": "Start-up, beyond `import concurrent.futures`",
}


def main() -> int:
    options = parse()
    print(machine(), flush=True)
    started = perf_counter()
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    shapes = [name for name in SHAPES if name in options.only]
    plan = Plan(options.contenders, shapes, sorted(sizes), options.quick, options.patience)
    results = Results()
    if shapes:
        results = race(plan, say)
        show(race_report(plan, results))
    findings = measure_further(options.only, QUICK if options.quick else Scale())
    show(["", f"{perf_counter() - started:.0f} s in all; {load()}"])
    if options.json:
        options.json.write_text(json.dumps(as_json(results, findings), indent=1) + "\n")
    return int(any(start.contender == "weft" for start in results.problems) or anything_wrong(findings))


def parse() -> argparse.Namespace:
    parts = [*SHAPES, *PARTS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: about 2 minutes")
    parser.add_argument("--only", type=one_of(parts), default=parts, help=f"of {','.join(parts)}")
    parser.add_argument("--sizes", type=numbers, help="numbers of tasks, such as 1000,10000")
    known = list(CONTENDERS)
    parser.add_argument("--contenders", type=one_of(known), default=known, help=f"of {','.join(known)}")
    patience = "seconds that a start of a peer may take, as foretold by the smaller sizes (default: %(default)g)"
    parser.add_argument("--patience", type=float, default=PATIENCE_S, metavar="S", help=patience)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples and findings to FILE")
    return parser.parse_args()


def one_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Give a parser of lists with commas, whose items are all known."""

    def chosen(text: str) -> list[str]:
        names = text.split(",")
        if unknown := ", ".join(name for name in names if name not in known):
            raise argparse.ArgumentTypeError(f"unknown: {unknown}; known: {', '.join(known)}")
        return [name for name in known if name in names]

    return chosen


def numbers(text: str) -> list[int]:
    return [int(part.replace("_", "")) for part in text.split(",")]


def measure_further(only: Sequence[str], scale: Scale) -> dict[str, list[Finding]]:
    findings: dict[str, list[Finding]] = {}
    for part in only:
        if part in PARTS:
            say(f"{part} ...")
            findings[part] = list(PARTS[part](scale))
            show(section(TITLES[part], findings_table(findings[part])))
    return findings


def anything_wrong(findings: dict[str, list[Finding]]) -> bool:
    return any(finding.wrong for part in findings.values() for finding in part)


def as_json(results: Results, findings: dict[str, list[Finding]]) -> dict[str, object]:
    return {
        "machine": machine(),
        "samples": [{**start._asdict(), "us": times} for start, times in results.samples.items()],
        "problems": [{**start._asdict(), "why": why} for start, why in results.problems.items()],
        "findings": {part: [asdict(finding) for finding in found] for part, found in findings.items()},
    }


def machine() -> str:
    implementation = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{implementation}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores; {load()}"


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


def show(lines: Sequence[str]) -> None:
    print("\n".join(lines), flush=True)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
