"""All tests: how they are dealt out to processes, what Hypothesis may take, little work for the garbage collector."""

import ast
import gc
import threading

import pytest
from hypothesis import HealthCheck, settings

from contract.executors import CANDIDATES

# Beside other tests a step takes any time. A test that hangs is the business of pytest-timeout.
settings.register_profile("weft", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("weft")

# What tests of a file share, where they do: the first of their parameters.
EXECUTORS = [candidate.name for candidate in CANDIDATES] + ["forkserver", "spawn", "fork"]


# CPython 3.11 counts the depth of all trees that ast.parse is making in one place, so two threads that do so at once end
# in a SystemError: pytest for the report of a failure, and a pool of the standard library for a traceback.
_parse, _one_at_a_time = ast.parse, threading.Lock()


def parse(*args, **kwargs):
    with _one_at_a_time:
        return _parse(*args, **kwargs)


ast.parse = parse


def pytest_collection_finish(session):
    # Thousands of collected tests are a hundred thousand objects; each gc.collect() of a test would look at them all.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", params=[20_000, pytest.param(100_000, marks=pytest.mark.slow)])
def length(request):
    """Of chains and the like which must not need recursion: far beyond its limit, and what weft promises."""
    return request.param


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `pytest -n`: tests of one file that share an executor stay together, and in their order."""
    from xdist.scheduler import LoadFileScheduling

    class LoadFileAndExecutor(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            parameters = test.partition("[")[2]
            shared = [name for name in EXECUTORS if parameters.startswith((f"{name}-", f"{name}]"))]
            return f"{file} {max(shared, key=len)}" if shared else file

    return LoadFileAndExecutor(config, log)
