"""All tests: what Hypothesis may take, and a small heap for those that collect garbage."""

import gc

from hypothesis import HealthCheck, settings

# Beside other tests a step takes any time. A test that hangs is the business of pytest-timeout.
settings.register_profile("weft", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("weft")


def pytest_collection_finish(session):
    # Thousands of collected tests are a hundred thousand objects; each gc.collect() of a test would look at them all.
    gc.collect()
    gc.freeze()
