"""What a user writes: jobs, their options, conditions, edges and arguments; and what is refused on the user's line."""

from __future__ import annotations

import functools
import inspect
import os
import pickle
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import cloudpickle
import pytest

import weft
from jobs.samples import chain, make, noop
from weft import Retry, after, ensure, job, task, waitfor
from weft.errors import ArgumentError, ChoiceError, ConditionError, CycleError, PostconditionFailed, PreconditionFailed
from weft.jobs import Job
from weft.jobs.bind import jobs_in, unbound
from weft.jobs.node import Edge


@job
def plain():
    """It does nothing much."""
    return 42


@job(array=10)
def estimate(i: int) -> int:
    return i * i


def add(x, y=1, *, z=0):
    return x + y + z


# @job


def test_job_without_brackets_makes_a_job_named_for_its_function():
    assert isinstance(plain, Job)
    assert (plain.name, str(plain), repr(plain)) == ("plain", "plain", "<Job 'plain'>")


def test_job_with_options_makes_a_job():
    made = job(name="fit_0.1", cpus=4, gpus=1, memory="4GB", time="1h", retries=2)(noop)
    assert made.name == "fit_0.1"
    assert made.spec.resources.words().keys() == {"cpus", "gpus", "memory", "time", "retries"}
    assert (made.spec.resources.memory, made.spec.resources.time) == (4 * 1024**3, 3600)


def test_a_job_looks_like_its_function():
    assert (plain.__doc__, plain.__name__, plain.__module__) == ("It does nothing much.", "plain", __name__)
    assert list(inspect.signature(estimate).parameters) == ["i"]


@pytest.mark.parametrize("name", ["fit_0.1", "two words", "a/b", "line\nbreak", "ü" * 300, "../..", "con", " "])
def test_any_text_is_a_name(name):
    assert job(name=name)(noop).name == name


def test_numbers_may_be_texts():
    resources = job(cpus="4", gpus="1", time="90", array="3", array_throttle="2")(lambda i: i)
    assert (resources.spec.resources.cpus, resources.spec.resources.gpus, resources.spec.resources.time) == (4, 1, 90)
    assert (resources.array, resources.spec.throttle) == (range(3), 2)


def test_timelimit_means_time_and_ram_means_memory():
    made = job(timelimit=timedelta(minutes=1), ram="1GB")(noop)
    assert (made.spec.resources.time, made.spec.resources.memory) == (60, 1024**3)


def test_other_keywords_and_settings_are_kept_as_they_are():
    made = job(exclusive=None, requeue=False, partition="debug", settings={"nice": 10, "+Flock": "x"})(noop)
    assert made.spec.settings == {"exclusive": None, "requeue": False, "partition": "debug", "nice": 10, "+Flock": "x"}


def test_environment_and_setup_are_kept():
    made = job(env={"A": "1"}, setup=["module load x", "a\nb"])(noop)
    assert made.spec.env == {"A": "1"}
    assert made.spec.setup == ("module load x", "a", "b")
    assert job(setup="module load x")(noop).spec.setup == ("module load x",)


def test_retries_by_cause_are_read_as_everywhere_else():
    by_cause = {"died": 2, "infrastructure": 3, "memory": Retry(2, memory=1.5), "timeout": Retry(1, time=2), "user": 1}
    assert job(retries=by_cause)(noop).spec.resources == weft.resources.Resources.read("", retries=by_cause)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"memory": "4 bananas"}, ChoiceError, r"@job\(memory=...\) must be a number of bytes.*got '4 bananas'"),
        ({"cpus": 0}, ChoiceError, r"@job\(cpus=...\) must be a whole number from 1 up, got 0"),
        ({"cpus": "many"}, ChoiceError, "cpus"),
        ({"time": "soon"}, ChoiceError, "time"),
        ({"time": 5, "timelimit": 6}, ArgumentError, "both 'time' and 'timelimit'"),
        ({"retries": {"sloth": 1}}, ChoiceError, "by user, died, infrastructure, memory or timeout"),
        ({"name": 3}, ArgumentError, r"@job\(name=...\) must be some text, got 3"),
        ({"name": ""}, ChoiceError, "some text"),
        ({"array": -1}, ChoiceError, "array"),
        ({"array": "abc"}, ChoiceError, r"write \['abc'\]"),
        ({"array": True}, ArgumentError, "array"),
        ({"array": 2.5}, ArgumentError, "number of elements, or their values"),
        ({"array": b"ab"}, ArgumentError, "array"),
        ({"array": 3, "array_throttle": 0}, ChoiceError, "from 1 up"),
        ({"array": 3, "array_throttle": "x"}, ArgumentError, "array_throttle"),
        ({"array_throttle": 2}, ArgumentError, "needs an array"),
        ({"env": ["A=1"]}, ArgumentError, r"@job\(env=...\) must be a mapping"),
        ({"env": {"A": 1}}, ArgumentError, "texts to texts"),
        ({"env": {"A=": "1"}}, ChoiceError, "system does not take"),
        ({"setup": 3}, ArgumentError, "list of lines"),
        ({"setup": [b"x"]}, ArgumentError, "list of lines"),
        ({"settings": ["x"]}, ArgumentError, "must be a mapping"),
        ({"settings": {"--x": 1}}, ChoiceError, "without dashes"),
        ({"settings": {3: 1}}, ChoiceError, "cannot be an option"),
        ({"partition": ["a", "b"]}, ArgumentError, "text or a number"),
        ({"comment": "a\n#SBATCH --uid=0"}, ChoiceError, "one line"),
        ({"backend": "slurmm"}, ChoiceError, "backend"),
        ({"backend": 3}, ArgumentError, "backend"),
        ({"memroy": "4GB"}, ArgumentError, r"did you mean 'memory'\?.*settings=\{'memroy': ...\}"),
        ({"gpu": 1}, ArgumentError, "did you mean 'gpus'"),
    ],
)
def test_an_option_that_cannot_be_fails_on_the_line_of_the_decorator(options, error, text):
    with pytest.raises(error, match=text):
        job(**options)


@pytest.mark.parametrize("word", ["mem", "nodes", "timeout", "ntasks", "constraint", "gres", "mail_type", "nice"])
def test_words_of_batch_systems_are_no_slips(word):
    assert job(**{word: "x"})(noop).spec.settings == {word: "x"}


def test_an_option_given_by_position_is_refused():
    with pytest.raises(
        ArgumentError, match=r"by name, got 'fit'; write @job\(name=..., cpus=...\); options: array, .*time"
    ):
        job("fit")
    with pytest.raises(ArgumentError, match="by name"):
        job(noop, "fit")


class Simulate:
    def step(self): ...


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (Simulate, "a function is needed, got the class Simulate"),
        (staticmethod(noop), "write @staticmethod above @job, not below it, for noop"),
        (Simulate.step, r"Simulate.step is a method.*@job def step\(simulate: Simulate, ...\)"),
        (plain, "plain is a job already"),
    ],
)
def test_what_is_no_plain_function_is_refused(thing, text):
    with pytest.raises(ArgumentError, match=text):
        job(thing)


def test_functions_whose_result_cannot_be_kept_are_refused():
    async def sleepy(): ...

    def many():
        yield 1

    with pytest.raises(ArgumentError, match="async"):
        job(sleepy)
    with pytest.raises(ArgumentError, match="many is a generator"):
        job(many)


def test_a_job_can_be_made_of_a_task_and_takes_over_what_that_asks_for():
    @job(memory="2GB")
    @task(cpus=3, memory="1GB", name="fitting")
    def fit(x: int) -> int:
        return x + 1

    assert (fit.name, fit.spec.resources.cpus, fit.spec.resources.memory) == ("fitting", 3, 2 * 1024**3)
    assert fit(1) == 2


def test_callables_of_other_kinds_can_be_jobs():
    assert job(functools.partial(add, 1))() == 2
    assert job(len)([1, 2]) == 2
    assert job(len).name == "len"


# Arrays


@pytest.mark.parametrize(
    ("array", "elements"),
    [
        (3, [0, 1, 2]),
        (0, []),
        (range(2, 8, 3), [2, 5]),
        ([0.5, "b", None], [0.5, "b", None]),
        ({"c", "a", "b"}, ["a", "b", "c"]),
        (frozenset({2, 1}), [1, 2]),
        ((x * x for x in range(3)), [0, 1, 4]),
        ({"a": 1, "b": 2}, ["a", "b"]),
    ],
)
def test_an_array_is_a_number_or_any_values(array, elements):
    made = job(array=array)(lambda i: i)
    assert list(made.array) == elements


def test_a_numpy_integer_and_a_numpy_array_make_arrays():
    import numpy

    assert list(job(array=numpy.int64(2))(lambda i: i).array) == [0, 1]
    assert list(job(array=numpy.array([0.5, 1.5]))(lambda i: i).array) == [0.5, 1.5]


def test_a_set_has_the_same_order_in_every_interpreter():
    code = "from weft import job; print(job(array={'a', 'b', 'c', 1, None})(lambda i: i).array)"
    shown = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "12"
    }
    assert len(shown) == 1


def test_an_array_is_a_copy():
    values = [1, 2]
    made = job(array=values)(lambda i: i)
    values.append(3)
    assert list(made.array) == [1, 2]


def test_the_function_of_an_array_must_take_an_argument():
    with pytest.raises(ArgumentError, match=r"noop takes no argument.*write def noop\(i\)"):
        job(array=3)(noop)


def test_the_function_of_an_array_may_take_more_which_is_bound_later():
    made = job(array=3)(lambda i, x: (i, x))
    assert list(unbound(made)) == ["x"]
    assert list(unbound(made.bind(x=1))) == []


# @after


def test_after_makes_an_edge_with_a_status():
    a, b, c = make("a"), make("b"), make("c")
    after(a, b)(c)
    after(b, status="any")(c)
    assert c.edges == {a: Edge("success", False), b: Edge("any", False)}
    assert c.dependencies == [a, b]
    assert (a.dependents, b.dependents) == ([c], [c])


def test_after_is_a_method_too_and_chainable():
    a, b, c = make("a"), make("b"), make("c")
    assert c.after(a).after(b, status="failure").detach(a) is c
    assert c.edges == {b: Edge("failure", False)}
    assert (a.dependents, b.dependents) == ([], [c])


def test_the_last_edge_between_two_jobs_wins():
    a, b = make("a"), make("b")
    b.after(a, status="failure").after(a)
    assert b.edges == {a: Edge("success", False)}


def test_detaching_what_is_not_attached_is_no_mistake():
    a, b = make("a"), make("b")
    assert b.detach(a).edges == {}


def test_each_joins_arrays_of_one_size():
    fine = job(array=10)(lambda i: i).after(estimate, each=True)
    assert fine.edges == {estimate: Edge("success", True)}
    fine.detach(estimate)
    with pytest.raises(ArgumentError, match="two arrays of one size; b has an array of 3, estimate an array of 10"):
        job(array=3, name="b")(lambda i: i).after(estimate, each=True)
    with pytest.raises(ArgumentError, match="b has no array"):
        make("b").after(estimate, each=True)
    with pytest.raises(ArgumentError, match="a no array"):
        job(array=3)(lambda i: i).after(make("a"), each=True)


def test_waitfor_says_how_many_are_waited_for():
    assert make("a").wait_for == "all"
    assert waitfor("any")(make("a")).wait_for == "any"
    assert make("a").waitfor("any").waitfor("all").wait_for == "all"


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (lambda: after(noop), ArgumentError, r"got the function noop, which is no job; write @after\(estimate\)"),
        (lambda: after(), ArgumentError, r"write @after\(estimate\)"),
        (lambda: after([plain]), ArgumentError, r"with a star: \*jobs"),
        (lambda: after(3), ArgumentError, "got 3, which is none"),
        (lambda: after("plain"), ArgumentError, "give what @job has made"),
        (
            lambda: after(plain)(noop),
            ArgumentError,
            r"@after needs a job below it, got noop; write @after\(...\) above",
        ),
        (lambda: make("a").after(plain, noop), ArgumentError, "@after of a needs jobs.*write @job above def noop"),
        (lambda: make("a").detach(noop), ArgumentError, "a.detach needs jobs"),
        (lambda: after(plain, status="done")(make("a")), ChoiceError, "one of 'success', 'failure', 'any', got 'done'"),
        (lambda: after(plain, status="sucess")(make("a")), ChoiceError, "did you mean 'success'"),
        (lambda: waitfor(noop), ArgumentError, r'write @waitfor\("any"\) above @job'),
        (lambda: waitfor("some"), ChoiceError, r"@waitfor\(...\) must be one of 'all', 'any', got 'some'"),
        (lambda: waitfor("any")(noop), ArgumentError, "@waitfor needs a job below it"),
        (lambda: make("a").waitfor("some"), ChoiceError, "@waitfor of a"),
        (lambda: ensure(plain), ArgumentError, "@ensure needs a condition, got <Job 'plain'>"),
        (lambda: make("a").ensure(plain), ArgumentError, "got the job plain"),
        (lambda: ensure("result.txt"), ArgumentError, r"write @ensure\(lambda: Path\(\"result.txt\"\).exists\(\)\)"),
        (lambda: ensure(Path), ArgumentError, "needs a condition"),
        (lambda: ensure(lambda: True)(noop), ArgumentError, "@ensure needs a job below it"),
        (lambda: ensure(lambda: True, "later")(make("a")), ChoiceError, "one of 'after', 'before', got 'later'"),
        (
            lambda: ensure(lambda i: True)(make("a")),
            ArgumentError,
            r"<lambda> \(test_declaring.py:\d+\) takes an argument",
        ),
        (
            lambda: ensure(lambda i, j: True)(estimate),
            ArgumentError,
            "takes 2 arguments; a condition takes none, or one",
        ),
        (lambda: ensure(lambda *, x: True)(estimate), ArgumentError, "needs 'x', which can only be given by its name"),
        (lambda: make("a").ensure(3), ArgumentError, "a condition is a function, got 3"),
    ],
)
def test_what_cannot_be_declared_is_refused_on_the_users_line(wrong, error, text):
    with pytest.raises(error, match=text):
        wrong()
    assert estimate.conditions == ()


def test_one_wrong_job_among_several_leaves_no_edge():
    a, b = make("a"), make("b")
    with pytest.raises(ArgumentError):
        b.after(a, 3)
    assert b.edges == {}
    assert a.dependents == []


def test_a_job_after_itself_is_a_cycle():
    a = make("a")
    with pytest.raises(CycleError, match="a <- a"):
        a.after(a)


# @ensure


def test_a_condition_is_asked_for_each_element_or_once_by_what_it_takes():
    made = job(array=2)(lambda i: i)
    made.ensure(lambda i: True).ensure(lambda: True).ensure(lambda i, hidden=3: True).ensure(lambda hidden=3: True)
    made.ensure(os.path.exists).ensure(Path("x").exists).ensure(functools.partial(add, 1), when="before")
    assert [c.per_element for c in made.conditions] == [True, False, True, False, True, False, False]
    assert [c.when for c in made.conditions] == ["after"] * 6 + ["before"]


def test_conditions_that_are_always_true_by_mistake_are_refused():
    async def later():
        return False

    def many():
        yield False

    for function in later, many:
        with pytest.raises(ArgumentError, match="always true"):
            make("a").ensure(function)


def test_calling_a_job_calls_its_function():
    assert plain() == 42
    assert estimate(3) == 9
    assert estimate(i=3) == 9


def test_calling_a_job_checks_its_conditions(tmp_path):
    asked = []

    @ensure(lambda: asked.append("after") or (tmp_path / "there").exists())
    @ensure(lambda: asked.append("before") or True, when="before")
    @job
    def write(there: bool):
        asked.append("call")
        if there:
            (tmp_path / "there").touch()
        return "written"

    with pytest.raises(
        PostconditionFailed, match=r"the postcondition <lambda> \(test_declaring.py:\d+\) of write"
    ) as e:
        write(False)
    assert (e.value.job, e.value.element) == ("write", None)
    assert asked == ["before", "call", "after"]
    assert write(True) == "written"


def test_calling_an_array_job_checks_the_conditions_of_that_element():
    @ensure(lambda i: i != 3)
    @ensure(lambda i: i != 4, when="before")
    @ensure(lambda: False)  # of the whole array, of which this is one element
    @ensure(lambda: True, when="before")
    @job(array=5)
    def f(i):
        return i

    assert f(1) == 1
    with pytest.raises(PostconditionFailed, match=r"f\[3\] does not hold"):
        f(3)
    with pytest.raises(PreconditionFailed, match=r"the precondition .* of f\[4\]") as e:
        f(i=4)
    assert e.value.element == 4
    with pytest.raises(ArgumentError, match="takes an element of its array"):
        f()


def test_an_exception_in_a_condition_names_the_job_and_the_condition():
    def there():
        raise OSError("no such disk")

    made = make("reader").ensure(there, when="before")
    with pytest.raises(PreconditionFailed, match="the precondition there of reader raised OSError: no such disk") as e:
        made()
    assert isinstance(e.value.__cause__, OSError)
    with pytest.raises(ConditionError, match="there of reader"):
        made.conditions[0].holds("reader")


def test_a_condition_that_calls_exit_ends_nobody():
    made = make("a").ensure(sys.exit)
    with pytest.raises(PostconditionFailed, match="raised SystemExit"):
        made()


# bind


def test_bind_gives_a_new_job_with_the_same_settings_and_conditions_and_no_edges():
    original = job(name="add", cpus=2)(add).ensure(lambda: True).after(plain).waitfor("any")
    new = original.bind(1, z=2)
    assert new is not original
    assert (new.name, new.spec, new.conditions, new.wait_for) == ("add", original.spec, original.conditions, "any")
    assert (new.edges, new.dependencies) == ({}, [])
    assert original.arguments.args == ()
    assert new() == 4
    original.detach(plain)


def test_bind_may_be_done_little_by_little():
    new = job(add).bind(1).bind(z=3).bind(y=5)
    assert new() == 9
    assert new.bind(z=4)() == 10
    assert new(y=0) == 4


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((1, 2, 3), {}, r"add: too many positional arguments; it is called as add\(x, y=1, \*, z=0\)"),
        ((), {"w": 1}, "add: got an unexpected keyword argument 'w'"),
        ((1,), {"x": 1}, "multiple values for argument 'x'"),
    ],
)
def test_arguments_are_checked_against_the_signature_at_once(args, kwargs, text):
    with pytest.raises(ArgumentError, match=text):
        job(add).bind(*args, **kwargs)


def test_bound_arguments_are_a_snapshot():
    values = [1]
    new = job(lambda xs: xs).bind(values)
    values.append(2)
    assert new() == [1]


def test_parameters_left_unbound_are_known_by_name():
    assert list(unbound(job(add))) == ["x"]
    assert list(unbound(job(add).bind(1))) == []
    assert list(unbound(job(lambda a, *rest, b, **more: 0).bind(b=1))) == ["a"]
    assert list(unbound(job(functools.partial(add, z=1)))) == ["x"]
    assert list(unbound(plain)) == []
    assert list(unbound(estimate)) == []


@dataclass
class Config:
    source: object
    more: list = field(default_factory=list)


def test_a_job_among_the_arguments_is_a_dependency():
    a, b, c, d = (make(name) for name in "abcd")
    new = job(add).bind(a, {"k": [b, (c,)]}, z=Config(d, [a]))
    assert new.arguments.takes == (a, b, c, d)
    assert new.dependencies == [a, b, c, d]
    assert a.dependents == [new]
    assert jobs_in(new.arguments.args) == [a, b, c]


def test_data_and_edges_stand_side_by_side():
    a, b = make("a"), make("b")
    new = job(add).bind(a).after(b).after(a)
    assert new.dependencies == [b, a]


def test_a_job_that_takes_a_result_comes_after_a_success_only():
    a = make("a")
    new = job(add).bind(a)
    with pytest.raises(
        ChoiceError, match="add takes the result of a, so it cannot come after it with status='failure'"
    ):
        new.after(a, status="failure")
    with pytest.raises(ArgumentError, match="add takes the result of a, so it comes after it; bind another value"):
        new.detach(a)
    with pytest.raises(ArgumentError, match=r"in a run only; write schedule\(add\)"):
        new()


def test_an_array_job_may_bind_all_but_its_element():
    made = job(array=3)(lambda i, x, y=0: i + x + y)
    assert made.bind(x=10)(1) == 11
    assert list(made.bind(x=10).array) == [0, 1, 2]
    for wrong in (lambda: made.bind(1), lambda: made.bind(i=1)):
        with pytest.raises(ArgumentError, match="'i' comes from the array"):
            wrong()


def test_a_future_cannot_be_bound():
    with pytest.raises(ArgumentError, match=r"is a future; a job takes values.*or the future's result\(\)"):
        job(add).bind([Future()])


# Jobs travel


def test_a_job_of_a_module_travels_by_name():
    assert pickle.loads(pickle.dumps(plain)) is plain


def test_a_job_travels_without_its_graph():
    sizes = []
    for length in (2, 500):
        last = chain(length)[-1]
        data = cloudpickle.dumps(last)
        sizes.append(len(data))
        again = cloudpickle.loads(data)
        assert (again.name, again.dependencies, again()) == (last.name, [], None)
    assert sizes[1] - sizes[0] < 20


def test_a_job_travels_without_the_jobs_whose_results_it_takes():
    data = cloudpickle.dumps(job(add).bind(chain(3000, lambda n: make("secret"))[-1]))
    assert b"secret" not in data
    assert cloudpickle.loads(data).arguments.takes == ()


def test_a_bound_job_and_one_with_an_executor_travel():
    with ThreadPoolExecutor(1) as pool:
        made = job(name="adding", backend=pool, array=2)(lambda i, x: i + x).bind(x=1).ensure(lambda i: True)
        again = cloudpickle.loads(cloudpickle.dumps(made))
    assert (again.name, list(again.array), again(5), len(again.conditions)) == ("adding", [0, 1], 6, 1)


def test_declaring_imports_nothing_heavy():
    code = "import sys; from weft import job, after, ensure; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["typeguard", "cloudpickle", "numpy", "asyncio", "multiprocessing", "json", "subprocess"]
    out = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
