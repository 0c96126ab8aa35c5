"""The first result in a fresh process, as a user gets it: a script that imports, starts a pool and calls."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

SCRIPT = """\
from time import perf_counter

started = perf_counter()
{imports}

def square(x):
    return x * x

def tell(result):
    print(result, (perf_counter() - started) * 1e3, flush=True)

if __name__ == "__main__":
    {body}
"""

FIRST = {
    "weft": (
        "from weft.executors import LocalExecutor",
        "with LocalExecutor(2) as pool: tell(pool.submit(square, 7).result())",
    ),
    **{
        f"weft-{start}": (
            "from weft.executors import LocalExecutor",
            f"with LocalExecutor(2, start={start!r}) as pool: tell(pool.submit(square, 7).result())",
        )
        for start in ("fork", "forkserver", "spawn")
    },
    **{
        f"ppe-{start}": (
            "from concurrent.futures import ProcessPoolExecutor\nfrom multiprocessing import get_context",
            f"with ProcessPoolExecutor(2, get_context({start!r})) as pool: tell(pool.submit(square, 7).result())",
        )
        for start in ("fork", "forkserver")
    },
    "loky": (
        "from loky import get_reusable_executor",
        "tell(get_reusable_executor(2).submit(square, 7).result())",
    ),
    "mpire": (
        "from mpire import WorkerPool",
        "with WorkerPool(2) as pool: tell(pool.apply(square, (7,)))",
    ),
    "pebble": (
        "from pebble import ProcessPool",
        "with ProcessPool(2) as pool: tell(pool.schedule(square, (7,)).result())",
    ),
    "joblib": (
        "from joblib import Parallel, delayed",
        "tell(Parallel(n_jobs=2)([delayed(square)(7)])[0])",
    ),
    "executorlib": (
        "from executorlib import SingleNodeExecutor",
        "with SingleNodeExecutor(max_workers=2, hostname_localhost=True) as pool:\n"
        "        tell(pool.submit(square, 7).result())",
    ),
    "dask": (
        "from distributed import Client",
        "with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:\n"
        "        tell(client.submit(square, 7).result())",
    ),
    "ray": (
        "import ray",
        "ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)\n"
        "    tell(ray.get(ray.remote(square).remote(7)))",
    ),
    "parsl": (
        "import parsl\nfrom parsl.executors import HighThroughputExecutor as Htex",
        "htex = Htex(max_workers_per_node=2, address='127.0.0.1', encrypted=False)\n"
        "    with parsl.load(parsl.Config(executors=[htex], strategy='none', initialize_logging=False)):\n"
        "        tell(parsl.python_app(square)(7).result())",
    ),
}

# The least that a worker costs which is no fork of the script: a fresh interpreter, started before all else, that gets
# one function of the script by value. Both sides import what that takes at the same time.
FRESH = """\
import os, pickle, socket, sys
ours, its = socket.socketpair()
code = f"import pickle, socket, cloudpickle; wire = socket.socket(fileno={its.fileno()}); " \\
    "call, arg = pickle.loads(wire.recv(65536)); wire.send(pickle.dumps(call(arg)))"
its.set_inheritable(True)
os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
import cloudpickle"""
FIRST["pipes"] = (FRESH, "ours.send(cloudpickle.dumps((square, 7))); tell(pickle.loads(ours.recv(65536)))")

PATIENCE_S = 30
RESULT = "49"


def first_result(contender: str, n: int) -> dict[str, float]:
    """Measure the median milliseconds over n starts: beyond a bare interpreter's, and from the import on."""
    imports, body = FIRST[contender]
    with TemporaryDirectory(prefix="weft-bench-") as folder:
        script = Path(folder, "script.py")
        script.write_text(SCRIPT.format(imports=imports, body=body))
        first_line_ms([str(script)], folder)  # compiles what is not yet compiled
        bare, whole, after_import = [], [], []
        for _ in range(n):
            bare.append(first_line_ms(["-c", "print(49, 0)"], folder)[0])
            whole_ms, after_ms = first_line_ms([str(script)], folder)
            whole.append(whole_ms)
            after_import.append(after_ms)
        return {"value": median(whole) - median(bare), "after_import": median(after_import)}


def first_line_ms(arguments: Sequence[str], folder: str) -> tuple[float, float]:
    """Run Python until it ends; give how long its first line took, and what it says on that itself."""
    start = perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, cwd=folder)
    with process:
        assert process.stdout
        line = process.stdout.readline()
        elapsed = perf_counter() - start
        process.wait(PATIENCE_S)
    result, _, after_import = line.partition(" ")
    if result != RESULT:
        raise AssertionError(f"the first line is {line!r}, not {RESULT} and a time")
    return elapsed * 1e3, float(after_import)
