"""Measure weft's LocalExecutor beside its peers: `python benchmarks/local.py`, or `make bench-local`.

Prints the tables on stdout and the progress on stderr. The verdicts are words; the exit code is 1 only
when weft gave a wrong answer, or none.
"""

import json
import sys
from functools import partial
from time import perf_counter

from command import load, machine, parser_for, say, show
from figures import WORKLOADS
from local_peers import CONTENDERS, ON_REQUEST
from plan import Plan
from rounds import make_all


def main() -> int:
    options = parser_for(
        __doc__, list(WORKLOADS), list(CONTENDERS), "fewer tasks and rounds: about 8 minutes", list(ON_REQUEST)
    ).parse_args()
    print(machine(), flush=True)
    started = perf_counter()
    plan = Plan({name: WORKLOADS[name] for name in options.only}, options.contenders, options.quick)
    results = make_all(plan.starts(), partial(plan.measure, "workload"), say, plan.unit)
    show([*plan.tables(results), *plan.figures(results)])
    show(["", f"{perf_counter() - started:.0f} s in all; {load()}"])
    if options.json:
        options.json.write_text(json.dumps(plan.as_json(results), indent=1) + "\n")
    return int(any(start.contender.startswith("weft") for start in results.problems))


if __name__ == "__main__":
    sys.exit(main())
