import inspect
import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor

import pytest

from hand import PATIENCE
from runners import zoo
from weft import ConcurrentRunner, DryRunner, SerialRunner, task, wrap
from weft.errors import ArgumentError


def f(x: int, *, y: float = 1.0) -> float:
    """Multiply."""
    return x * y


def test_a_wrapped_function_has_the_same_signature():
    wrapped = wrap(SerialRunner(), f)
    assert inspect.signature(wrapped) == inspect.signature(f)
    assert (wrapped.__name__, wrapped.__doc__) == ("f", "Multiply.")


def test_a_wrapped_function_makes_its_calls_through_the_runner():
    assert wrap(SerialRunner(), f)(2, y=3.0) == 6.0
    dry = DryRunner()
    assert wrap(dry, f)(2) == 0.0
    assert dry.calls == 1
    with ConcurrentRunner(schedule=True) as run:
        g = wrap(run, f)
        result = g(2, y=g(3, y=2.0))
        assert isinstance(result, Future)
        assert result.result(PATIENCE) == 12.0


def test_wrong_arguments_fail_on_the_line_of_the_call():
    g = wrap(DryRunner(), f)
    with pytest.raises(ArgumentError, match="it is called as f"):
        g()
    with pytest.raises(ArgumentError, match="argument 'x'"):
        g("a")


def test_a_mock_gives_the_shape():
    with ConcurrentRunner() as run:
        low, high = wrap(run, lambda x: [x, x + 1], mock=[0, 0])(3)
        assert (low.result(PATIENCE), high.result(PATIENCE)) == (3, 4)
        parts = wrap(run, lambda n: list(range(n)), mock=lambda n: [0] * n)(2)
        assert [p.result(PATIENCE) for p in parts] == [0, 1]


def test_a_task_can_be_wrapped_and_given_another_mock():
    assert wrap(SerialRunner(), zoo.add)(1) == 2
    dry = DryRunner()
    assert wrap(dry, zoo.describe)(1)["mean"] == 0.0
    assert wrap(dry, zoo.describe, mock="other")(1) == "other"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("schedule", [False, True], ids=["direct", "scheduled"])
def test_lambdas_and_rebound_names_work_with_processes(method, schedule, monkeypatch):
    factor = 3
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool, ConcurrentRunner(schedule, pool) as run:
        triple = wrap(run, lambda x: factor * x)
        monkeypatch.setattr(zoo, "rebound", wrap(run, zoo.rebound))
        assert triple(triple(1)).result(PATIENCE) == 9
        assert zoo.rebound(triple(1)).result(PATIENCE) == 30


def test_a_wrapped_function_that_calls_itself_in_a_process_is_told():
    scope = {"__name__": "__main__"}
    exec("def again(x: int) -> int:\n    return again(x - 1) if x else 0", scope)
    with ConcurrentRunner() as run:
        scope["again"] = wrap(run, scope["again"])
        with pytest.raises(ArgumentError, match=r"^again cannot be sent.*ConcurrentRunner cannot travel"):
            scope["again"](3)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((f, SerialRunner()), r"wrap needs a runner first, got <function f.*write wrap\(runner, function\)"),
        ((SerialRunner(), 3), "a function is needed, got 3"),
        ((SerialRunner(), f, float), "mock of f is the type float"),
    ],
)
def test_wrong_use_is_told(args, message):
    with pytest.raises(ArgumentError, match=message):
        wrap(*args)


def test_the_lambda_of_a_task_can_be_wrapped():
    assert wrap(SerialRunner(), task(lambda x: x))(3) == 3
