"""Fixtures of real clusters, for tests anywhere. Whoever uses one is marked ``cluster``.

Each process that runs tests has its own clusters: they are up in less than a second, and tests may do to them what they
like. ``slurm`` is the one of a test; ``slurm_cluster``, the same for what is shared by many. They are left out where
Slurm's programs are not to be had, unless WEFT_REQUIRE_SLURM is set: then that is a failure.
"""

import os
import tempfile
from pathlib import Path

import pytest

from cluster.daemons import TOOL, Slurm
from cluster.ordinary import Ordinary
from cluster.required import have_programs, leave_out


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if "slurm_programs" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for cluster in getattr(item, "funcargs", {}).values():
            if isinstance(cluster, Slurm):
                report.sections.append(("slurmctld.log", cluster.log()))
    return report


def _programs(*options):
    """Have Slurm's programs, or leave out the test."""
    have_programs(TOOL, "Slurm", "WEFT_REQUIRE_SLURM", *options)


def _cluster(*options, **settings):
    folder = Path(tempfile.mkdtemp(prefix="weft-slurm-"))
    cluster = Slurm(folder, *options, **settings)
    cluster.up()
    yield cluster
    cluster.down()


def _entered(cluster, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_")):
            monkeypatch.delenv(name)
    for name, value in cluster.environ.items():
        monkeypatch.setenv(name, value)
    cluster.forget_calls()
    yield cluster
    cluster.heal()


@pytest.fixture(scope="session")
def slurm_programs():
    """Slurm's programs are there."""
    _programs()


@pytest.fixture(scope="session")
def slurm_cluster(slurm_programs):
    """A Slurm of four nodes, without accounting."""
    yield from _cluster()


@pytest.fixture(scope="session")
def slurm_accounting_cluster(slurm_programs):
    """A Slurm of two nodes, with accounting: `sacct`, accounts and limits."""
    _programs("--accounting")
    yield from _cluster("--accounting", "--nodes", 2)


@pytest.fixture
def slurm(slurm_cluster, monkeypatch):
    """A Slurm, which commands in this test talk to; healed after the test."""
    yield from _entered(slurm_cluster, monkeypatch)


@pytest.fixture
def slurm_accounting(slurm_accounting_cluster, monkeypatch):
    """A Slurm with accounting, which commands in this test talk to; healed after the test."""
    yield from _entered(slurm_accounting_cluster, monkeypatch)


@pytest.fixture(scope="session")
def ordinary(slurm_programs):
    """Runs scripts as an ordinary user, who has a Slurm of their own."""
    try:
        ordinary = Ordinary(Path(tempfile.mkdtemp(prefix="weft-user-")))
    except LookupError as error:
        leave_out(str(error), "WEFT_REQUIRE_SLURM")
    ordinary.up()
    yield ordinary
    ordinary.down()
