"""Fixtures of real HTCondor pools, for tests anywhere. Whoever uses one is marked ``cluster``.

Each process that runs tests has a pool of its own, as with Slurm: it is up within two seconds, takes 30 MB, and tests
may do to it what they like. They are left out where HTCondor cannot be had, unless WEFT_REQUIRE_CONDOR is set: then
that is a failure. Root is an ordinary user to it (``tools/onemachine/condor/identity.py``), so nothing is different for
root.
"""

import os
import tempfile
from pathlib import Path

import pytest

from cluster.condor import TOOL, Condor
from cluster.required import have_programs
from contract.executors import CPUS


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if "condor_programs" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for pool in getattr(item, "funcargs", {}).values():
            if isinstance(pool, Condor):
                report.sections.append(("schedd.log", pool.log()))
    return report


def _programs():
    """Have HTCondor's programs, or leave out the test."""
    have_programs(TOOL, "HTCondor", "WEFT_REQUIRE_CONDOR")


@pytest.fixture(scope="session")
def condor_programs():
    """HTCondor's programs are there."""
    _programs()


@pytest.fixture(scope="session")
def condor_cluster(condor_programs):
    """An HTCondor of two nodes."""
    pool = Condor(Path(tempfile.mkdtemp(prefix="weft-condor-")))
    pool.up()
    yield pool
    pool.down()


@pytest.fixture(scope="session")
def condor_of_one_node(condor_programs):
    """An HTCondor on which a few tasks take all there is."""
    pool = Condor(Path(tempfile.mkdtemp(prefix="weft-condor-")), "--nodes", 1, "--cpus", CPUS)
    pool.up()
    yield pool
    pool.down()


@pytest.fixture
def condor(condor_cluster, monkeypatch):
    """An HTCondor, which commands in this test talk to; healed after the test."""
    for name in list(os.environ):
        if name.upper().startswith(("CONDOR_", "_CONDOR_")):
            monkeypatch.delenv(name)
    for name, value in condor_cluster.environ.items():
        monkeypatch.setenv(name, value)
    condor_cluster.forget_calls()
    yield condor_cluster
    condor_cluster.heal()
