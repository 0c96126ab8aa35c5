"""Measure weft's engine beside its peers: `python benchmarks/engine.py`, or `make bench`.

Prints the tables on stdout and the progress on stderr. The verdicts are words; the exit code is 1 only
when weft gave a wrong answer, or none.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from time import perf_counter

from command import load, machine, parser_for, say, show
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
    parser = parser_for(__doc__, [*SHAPES, *PARTS], list(CONTENDERS), "smaller and fewer: about 2 minutes")
    parser.add_argument("--sizes", type=numbers, help="numbers of tasks, such as 1000,10000")
    patience = "seconds that a start of a peer may take, as foretold by the smaller sizes (default: %(default)g)"
    parser.add_argument("--patience", type=float, default=PATIENCE_S, metavar="S", help=patience)
    return parser.parse_args()


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
        **results.as_json(),
        "findings": {part: [asdict(finding) for finding in found] for part, found in findings.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
