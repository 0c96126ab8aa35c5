import copy
import inspect
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import cloudpickle
import pytest

from calls.samples import Shelf, add, plain, renamed
from hand import named
from weft import task
from weft.calls import Closure, Task
from weft.errors import ArgumentError, ChoiceError
from weft.resources import Retries, Retry


def test_called_plainly_it_is_the_function():
    assert add(1) == 2
    assert add(1, b=5) == 6


def test_it_looks_like_the_function():
    assert (add.__name__, add.__doc__, add.__module__) == ("add", "Add.", "calls.samples")
    assert str(inspect.signature(add)) == "(a: 'int', b: 'int' = 1) -> 'int'"
    assert isinstance(add, Task)
    assert repr(add) == "<task add two>"


def test_options_are_told_to_runners():
    @task(mock=[0.0, 0.0], cpus=4, gpus=0, memory="8GB", time="1m", retries=2, name="simulate")
    def run(seed: int) -> list[float]:
        return [1.0, 2.0]

    assert run.describe(1) == "simulate"
    needs = {"cpus": 4, "gpus": 0, "memory": 8 * 2**30, "time": 60, "retries": Retries(2)}
    assert run.get_resources(1) == needs
    assert run.get_result_api(1) == [float, float]
    assert Closure(run, [1]).validated_call() == [1.0, 2.0]


def test_without_options_nothing_is_asked_for():
    assert task(plain).get_resources(1) == {}
    assert task()(plain).describe(1) == "plain"
    assert task(cpus=None)(plain).get_resources(1) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cpu": 4}, r"no option 'cpu'; did you mean 'cpus'\? options: cpus, gpus, memory, mock, name, retries, time"),
        ({"colour": 1}, r"no option 'colour'; options: "),
        ({"memroy": "8GB"}, "did you mean 'memory'"),
        ({"mock": float}, "mock of plain is the type float"),
    ],
)
def test_wrong_options_are_a_type_error(options, message):
    with pytest.raises(ArgumentError, match=message):
        task(**options)(plain)


@pytest.mark.parametrize(
    "options",
    [
        {"cpus": 0},
        {"gpus": "-1"},
        {"memory": "4 bananas"},
        {"time": "soon"},
        {"retries": -1},
        {"name": 3},
        {"name": ""},
    ],
    ids=repr,
)
def test_options_with_a_value_they_cannot_have_are_a_value_error(options):
    (name,) = options
    with pytest.raises(ChoiceError, match=rf"@task\({name}=.* must be"):
        task(**options)


@pytest.mark.parametrize("options", [{"cpus": True}, {"memory": []}, {"time": object()}], ids=named)
def test_options_of_the_wrong_kind_are_a_type_error(options):
    (name,) = options
    with pytest.raises(ArgumentError, match=rf"@task\({name}=.* must be"):
        task(**options)


@pytest.mark.parametrize(
    ("options", "needs"),
    [
        ({"cpus": "4"}, {"cpus": 4}),
        ({"gpus": 0}, {"gpus": 0}),
        ({"ram": "8 GB"}, {"memory": 8 * 2**30}),
        ({"timelimit": "1h"}, {"time": 3600}),
        ({"retries": {"died": 2}}, {"retries": Retries(by_cause=(("died", Retry(2)),))}),
    ],
    ids=repr,
)
def test_options_with_a_value_they_can_have_are_accepted(options, needs):
    assert task(**options)(plain).get_resources(1) == needs


@pytest.mark.parametrize("args", [("x",), (4,), (plain, 4)], ids=named)
def test_options_are_given_by_name(args):
    with pytest.raises(ArgumentError, match=r"@task takes its options by name, got .*write @task\(name="):
        task(*args)


def test_a_class_is_refused():
    with pytest.raises(ArgumentError, match="got the class int"):
        task(int)


def test_an_async_function_is_refused():
    with pytest.raises(ArgumentError, match="async function"):

        @task
        async def run() -> None: ...


def test_a_method_is_refused_with_what_to_write_instead():
    with pytest.raises(ArgumentError, match=r"Model\.run is a method; write a function.*def run\(model: Model, ...\)"):

        class Model:
            @task
            def run(self, x: int) -> int: ...


def test_a_static_method_goes_above():
    assert Shelf.twice(2) == Shelf().twice(2) == 4
    with pytest.raises(ArgumentError, match="write @staticmethod above @task"):

        class Model:
            @task
            @staticmethod
            def run(x: int) -> int: ...


def test_a_function_inside_a_function_may_have_a_first_parameter_named_self():
    def outer():
        @task
        def inner(self: int) -> int:
            return self

        return inner

    assert outer()(3) == 3


@pytest.mark.parametrize("kept", [add, Shelf.twice], ids=repr)
@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_an_importable_task_pickles_by_reference(kept, pickler):
    assert pickle.loads(pickler.dumps(kept)) is kept


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_a_task_without_a_name_of_its_own_pickles_by_value(pickler):
    factor = 3

    @task(cpus=2, mock=lambda x: 0)
    def nested(x: int) -> int:
        return nested.function(x - 1) + factor if x else 0

    again = pickle.loads(pickler.dumps(nested))
    assert again is not nested
    assert again(2) == 6
    assert again.get_resources(1) == {"cpus": 2}
    assert again.get_result_api(1) is int
    assert pickle.loads(pickler.dumps(renamed))(3) == 3


def test_a_copy_of_a_task_is_the_task():
    assert copy.deepcopy(add) is add


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_task_travels_to_worker_processes(method):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        assert pool.submit(add, 1, b=2).result(60) == 3
        assert pool.submit(task(lambda x: x + 1), 1).result(60) == 2


def test_a_task_of_the_main_script_travels_by_value():
    script = """if True:
        import pickle
        from weft import task

        @task
        def fib(n: int) -> int:
            return n if n < 2 else fib(n - 1) + fib(n - 2)

        data = pickle.dumps(fib)
        del fib
        print(pickle.loads(data)(10))
    """
    ended = subprocess.run([sys.executable, "-c", script], check=True, timeout=60, capture_output=True, text=True)
    assert ended.stdout == "55\n"
