"""What makes a recorded result still of use, and what does not."""

from __future__ import annotations

import enum
import functools
import os
import subprocess
import sys
import threading
import types
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from textwrap import dedent

import pytest

from jobs.samples import chain, make
from weft import job, task
from weft.jobs.fingerprint import SIZE, Fingerprints


def script(source: str, name: str = "__main__") -> types.SimpleNamespace:
    """A module made from source, as a script is."""
    module = types.ModuleType(name)
    exec(compile(dedent(source), "script.py", "exec"), module.__dict__)
    return types.SimpleNamespace(**module.__dict__)


def of(made, place=None) -> bytes:
    found = Fingerprints()
    for dep in made.arguments.takes:
        found.job(dep)
    return found.place(made, place)


def of_source(source: str) -> bytes:
    return of(job(script(source).f))


BASE = """
    import math, threading
    SCALE = 3
    TABLE = {"a": [1, 2]}
    lock = threading.Lock()
    class Model:
        size = 2
        def fit(self, x): return x + self.size
    def deep(x): return x + SCALE
    def helper(x): return deep(x) * TABLE["a"][0]
    def unused(x): return 7
    def f(x, y=1):
        with lock:
            return [helper(i) + math.sqrt(Model().fit(x)) for i in range(y)]
    """


def test_a_fingerprint_is_a_few_bytes_and_always_the_same():
    assert of_source(BASE) == of_source(BASE)
    assert len(of_source(BASE)) == SIZE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return [helper(i)", "return [-helper(i)"),  # a function inside it
        ("y=1", "y=2"),
        ("SCALE = 3", "SCALE = 4"),  # a value that is named by a function that it names
        ("[1, 2]", "[2, 2]"),
        ("return deep(x) * ", "return deep(x) + "),
        ("return x + SCALE", "return x - SCALE"),
        ("size = 2", "size = 3"),
        ("return x + self.size", "return x - self.size"),
        ("math.sqrt", "math.exp"),
        ("import math, threading", "import cmath as math, threading"),
        ("lock = threading.Lock()", "lock = threading.RLock()"),
    ],
)
def test_a_change_that_counts_is_seen(old, new):
    assert old in BASE
    assert of_source(BASE.replace(old, new)) != of_source(BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def f(", "\n\n    # a comment\n    def f("),
        ("return 7", "return 8"),  # of a function that is not used
        ("def f(x, y=1):", "def f(x: int, y: int = 1) -> list:"),
    ],
)
def test_a_change_that_does_not_count_is_not_seen(old, new):
    assert of_source(BASE.replace(old, new)) == of_source(BASE)


def test_what_is_bound_to_a_name_later_counts():
    source = "def g(): return 1\ndef f(): return g()"
    first = of_source(source)
    assert of_source(source + "\ndef g(): return 2") != first


def test_functions_that_call_each_other_are_no_problem():
    source = "def f(n): return g(n - 1)\ndef g(n): return n and f(n)"
    assert of_source(source) == of_source(source)
    assert of_source(source.replace("n and", "n or")) != of_source(source)


def test_a_long_chain_of_functions_is_no_problem():
    lines = [f"def f{n}(): return f{n + 1}()" for n in range(2000)]
    source = "\n".join([*lines, "def f2000(): return 1", "f = f0"])
    assert of_source(source)
    assert of_source(source.replace("return 1\n", "return 2\n")) != of_source(source)


def test_closures_defaults_partials_and_methods_count_with_what_they_hold():
    def closing(value):
        return lambda: value

    assert of(job(closing(1))) == of(job(closing(1))) != of(job(closing(2)))
    assert (
        of(job(functools.partial(pow, 2))) == of(job(functools.partial(pow, 2))) != of(job(functools.partial(pow, 3)))
    )
    assert of(job([1].index)) == of(job([1].index)) != of(job([2].index))
    assert of(job(Model(1).fit)) == of(job(Model(1).fit)) != of(job(Model(2).fit))
    assert of(job(task(closing(1)))) == of(job(task(closing(1)))) != of(job(task(closing(2))))


def test_what_a_decorator_wraps_counts():
    source = """
        import functools
        def twice(g):
            @functools.wraps(g)
            def wrapper(x): return 2 * g(x)
            return wrapper
        @twice
        def f(x): return x + 1
        """
    assert of_source(source) == of_source(source)
    assert of_source(source.replace("x + 1", "x + 2")) != of_source(source)
    assert of_source(source.replace("2 * g", "3 * g")) != of_source(source)


def test_a_job_that_is_called_by_another_counts_with_its_function():
    source = "from weft import job\n@job\ndef g(): return 1\ndef f(): return g()"
    assert of_source(source) == of_source(source) != of_source(source.replace("return 1", "return 2"))


def test_conditions_count():
    def job_with(*conditions, when="after"):
        made = make("a")
        for condition in conditions:
            made.ensure(condition, when=when)
        return of(made)

    assert job_with(lambda: True) == job_with(lambda: True)
    different = [job_with(), job_with(lambda: True), job_with(lambda: False), job_with(lambda: True, when="before")]
    assert len(set(different)) == 4


def test_names_resources_and_edges_do_not_count():
    a = make("a")
    b = job(name="b", cpus=3, backend="threads")(a.function).after(a)
    assert of(a) == of(b)


@dataclass
class Model:
    size: int

    def fit(self):
        return self.size


class Color(enum.Enum):
    RED = 1
    BLUE = 2


ARGUMENTS = [
    *(1, 1.0, True, "1", b"1", None, 2, -1, 10**5000, 1j, "", "é", "\ud800", [], [1], (1,), [[1]], [1, 1], {1}, {1, 2}),
    *({"a": 1}, {"a": 2}, {"b": 1}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, frozenset({"x", "y"}), {"x", "y"}),
    *(Path("a"), Path("b"), Model(1), Model(2), Color.RED, Color.BLUE, datetime(2026, 1, 1), datetime(2026, 1, 2)),
    *(len, pow, Model, Color, range(3), range(4), bytearray(b"x"), types.SimpleNamespace(a=1), os.path.join, os),
]


def take(x):
    return x


def test_arguments_count_by_what_they_are():
    found = [of(job(take).bind(value)) for value in ARGUMENTS]
    assert all(len(one) == SIZE for one in found)
    again = [of(job(take).bind(value)) for value in ARGUMENTS]
    assert found == again
    # What is equal for Python, such as 1 and True, or a set and a frozenset, need not be told apart.
    same = len(found) - len(set(found))
    assert same <= 1
    assert of(job(take).bind(1)) != of(job(take).bind(x=1)) != of(job(take))


def test_it_does_not_matter_whether_equal_arguments_are_one_object():
    one = [1, 2]
    assert of(job(take).bind([one, one])) == of(job(take).bind([[1, 2], [1, 2]]))


def test_arguments_in_a_circle_or_nested_deeply_have_some_fingerprint_or_none():
    circle: list = [1]
    circle.append(circle)
    assert of(job(take).bind(circle)) == of(job(take).bind(circle)) != b""
    deep: list = []
    for _ in range(1000):
        deep = [deep]
    assert of(job(take).bind(deep)) == b""


def test_arrays_of_numpy_count_by_their_numbers():
    import numpy

    base = numpy.arange(6).reshape(2, 3)
    others = [base + 1, base.T, base.astype(float), base[:1], numpy.array([])]
    assert of(job(take).bind(base)) == of(job(take).bind(base.copy()))
    assert len({of(job(take).bind(value)) for value in (base, *others)}) == len(others) + 1
    assert of(job(take).bind(numpy.float64(1))) == of(job(take).bind(numpy.float64(1)))
    assert of(job(take).bind(numpy.array([object()]))) != of(job(take).bind(numpy.array([Model(1)])))


def test_what_cannot_be_told_makes_no_fingerprint():
    assert of(job(take).bind(threading.Lock())) == b""
    assert of(job(lambda lock=threading.Lock(): lock)) == b""  # noqa: B008
    opaque = make("opaque").bind()
    taker = job(take).bind(job(take).bind(threading.Lock()))
    assert of(taker) == b""
    assert of(opaque) != b""


def test_a_job_among_the_arguments_counts_with_its_fingerprint():
    def taker(function, *args):
        return job(take).bind([job(function).bind(*args)])

    assert of(taker(take, 1)) == of(taker(take, 1))
    assert len({of(taker(take, 1)), of(taker(take, 2)), of(taker(lambda x: x, 1))}) == 3


def test_a_long_chain_of_results_needs_no_recursion():
    jobs = [job(take).bind(1)]
    for _ in range(5000):
        jobs.append(job(take).bind(jobs[-1]))
    found = Fingerprints()
    assert len({found.job(made) for made in jobs}) == len(jobs)


def test_an_element_counts_by_its_value_and_not_by_its_place():
    one, two = job(array=[5, "a", (1,)])(take), job(array=["a", 5, (1,)])(take)
    assert of(one, 0) == of(two, 1) != of(one, 1) == of(two, 0)
    assert of(one, 2) == of(two, 2) != of(one, 0)
    assert of(job(array=[threading.Lock()])(take), 0) == b""
    assert of(job(array=[10**5000])(take), 0) != b""


def test_jobs_that_share_a_function_are_looked_at_once():
    found = Fingerprints()
    assert len({found.job(made) for made in chain(1000)}) == 1
    assert len(found._of_functions) == 1


STABLE = """
import sys
from pathlib import Path
from weft import job
from weft.jobs.fingerprint import Fingerprints
WORDS = {"a", "b", "c", "d"}
def helper(x):
    return x in {"e", "f", "g", "h"} or x in WORDS
def f(x, y):
    return helper(x), y
made = job(array=["p", "q"])(f).bind(y={"k", "l", "m", frozenset({"n", "o"}), helper, len}).ensure(lambda i: helper(i))
print(Fingerprints().place(made, 1).hex())
"""


def test_fingerprints_are_the_same_in_every_process_and_for_every_hash_seed(tmp_path):
    found = set()
    for seed, name in (("0", "one.py"), ("1", "two.py"), ("2", "one.py")):
        (tmp_path / name).write_text("\n" * int(seed) + STABLE)
        ended = subprocess.run(
            [sys.executable, tmp_path / name],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(ended.stdout)
    assert len(found) == 1
    assert len(found.pop().strip()) == 2 * SIZE
