"""Graphs that are large, made once."""

import pytest

from jobs.samples import chain, ladder


@pytest.fixture(scope="module")
def long_chain(length):
    """Jobs of which each comes after the one before. Not to be changed."""
    return chain(length)


@pytest.fixture(scope="session")
def tall_ladder():
    """10,000 diamonds on top of each other. Not to be changed."""
    return ladder(10_000)
