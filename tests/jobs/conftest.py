"""Graphs that are large, made once."""

import pytest

from jobs.samples import chain, ladder


@pytest.fixture(scope="session")
def long_chain():
    """100,000 jobs of which each comes after the one before. Not to be changed."""
    return chain(100_000)


@pytest.fixture(scope="session")
def tall_ladder():
    """10,000 diamonds on top of each other. Not to be changed."""
    return ladder(10_000)
