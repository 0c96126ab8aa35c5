"""Managers for tests: each with rules of its own, and gone at the end."""

import pytest

from weft.procs import ProcManager


@pytest.fixture
def manager(tmp_path):
    """In this process, which is all that the rules need."""
    manager = ProcManager()
    manager.set_options(mode="single", report=False, log_directory=tmp_path / "lögs with spaces")
    yield manager
    manager.clear()


@pytest.fixture
def forking(tmp_path):
    """With processes."""
    manager = ProcManager()
    manager.set_options(report=False, log_directory=tmp_path / "logs")
    yield manager
    manager.clear()
