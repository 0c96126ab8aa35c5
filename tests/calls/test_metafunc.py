import functools
import pickle
from typing import Any

import pytest

from weft.calls import Closure, MetaFuncBase, MinimalMetaFunc, as_metafunc
from weft.calls.unknown import is_unknown
from weft.errors import ArgumentError, UnknownValueError


class Simulate(MetaFuncBase):
    def __init__(self, scale=1.0):
        self.scale = scale

    def __call__(self, seed: int, steps: int = 10) -> float:
        return seed * steps * self.scale

    def describe(self, seed, steps=10):
        return f"simulate {seed}"

    def get_resources(self, seed, steps=10):
        return {"cpus": steps}


class Sample(Simulate):
    def get_result_mock(self, seed, steps=10):
        return {"mean": 0.0, "all": [0] * steps}


def f(a: int, b: str = "x", *more: float, c=1.5, **rest: int) -> list[float]:
    return [a]


# The base class


def test_a_subclass_knows_about_itself():
    simulate = Simulate()
    assert simulate.describe(3) == "simulate 3"
    assert str(simulate.get_signature(3)) == "(seed: int, steps: int = 10) -> float"
    assert simulate.get_parameters_api(3) == {"seed": int, "steps": int}
    assert simulate.get_result_api(3) is float
    assert simulate.get_result_mock(3) == 0.0
    assert simulate.get_resources(3, 4) == {"cpus": 4}
    assert simulate(2, steps=3) == 6.0


def test_a_mock_that_a_subclass_gives_is_its_result_api():
    assert Sample().get_result_api(1, 2) == {"mean": float, "all": [int, int]}


def test_a_subclass_that_says_nothing_has_defaults():
    class Bare(MetaFuncBase):
        def __call__(self, x: int):
            return x

    assert Bare().describe(1) == "Bare"
    assert Bare().get_resources(1) == {}
    assert Bare().get_result_api(1) is Any


def test_without_a_call_method_it_says_so():
    class Forgot(MetaFuncBase):
        pass

    with pytest.raises(NotImplementedError, match="Forgot must define __call__"):
        Forgot()()


def test_it_pickles_after_it_has_been_read():
    simulate = Simulate(2.0)
    simulate.get_signature(1)
    again = pickle.loads(pickle.dumps(simulate))
    assert again(1, 1) == 2.0
    assert again.get_parameters_api(1) == {"seed": int, "steps": int}
    assert "_facts" not in Simulate.__getstate__(simulate)


# Plain functions


def test_a_plain_function_is_described_by_its_name():
    assert MinimalMetaFunc(f).describe(1) == "f"
    assert MinimalMetaFunc(functools.partial(f, 1)).describe() == "f"
    assert MinimalMetaFunc("text".upper).describe() == "upper"


def test_a_plain_function_is_called():
    assert MinimalMetaFunc(f)(3) == [3]


def test_parameters_are_typed_by_annotation_else_by_default():
    assert MinimalMetaFunc(f).get_parameters_api(1) == {
        "a": int,
        "b": str,
        "more": tuple[float, ...],
        "c": float,
        "rest": dict[str, int],
    }


def test_a_default_of_none_allows_none():
    def g(a: int = None, b=None):  # noqa: RUF013
        pass

    assert MinimalMetaFunc(g).get_parameters_api() == {"a": int | None, "b": Any}


def test_a_default_that_is_a_function_asks_for_a_function():
    def g(key=len):
        pass

    Closure(g, [lambda x: x]).validate_parameters()
    with pytest.raises(ArgumentError, match=r"'key': expected Callable, got int 3"):
        Closure(g, [3]).validate_parameters()


def test_string_annotations_are_resolved():
    def g(a: "int", b: "list[Simulate]") -> "float | None":
        pass

    assert MinimalMetaFunc(g).get_parameters_api(1, []) == {"a": int, "b": list[Simulate]}
    assert MinimalMetaFunc(g).get_result_api(1, []) == float | None


def test_annotations_of_partials_methods_wrapped_functions_and_callables_are_found():
    class Model:
        def run(self, x: "int") -> "str":
            return str(x)

        __call__ = run

    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        return f(*args, **kwargs)

    assert MinimalMetaFunc(Model().run).get_parameters_api(1) == {"x": int}
    assert MinimalMetaFunc(Model()).get_result_api(1) is str
    assert MinimalMetaFunc(wrapper).get_parameters_api(1)["a"] is int
    assert MinimalMetaFunc(functools.partial(Model().run, x=3)).get_parameters_api() == {"x": int}


def test_keyword_arguments_may_be_described_by_a_typed_dict():
    from typing import TypedDict, Unpack

    class Options(TypedDict):
        depth: int

    def g(**options: Unpack[Options]) -> None:
        pass

    Closure(g, kwargs={"depth": 1}).validate_parameters()
    with pytest.raises(ArgumentError, match=r"'options' at \['depth'\]: expected int, got str 'x'"):
        Closure(g, kwargs={"depth": "x"}).validate_parameters()


def test_a_parameter_without_annotation_and_default_is_an_error_that_names_it():
    def g(a: int, b, *c, **d) -> int:
        pass

    with pytest.raises(ArgumentError, match=r"parameter 'b' of g has no annotation.*write 'b: int'"):
        MinimalMetaFunc(g).get_parameters_api(1, 2)


@pytest.mark.parametrize("sign", ["*", "**"])
def test_variable_parameters_need_an_annotation_too(sign):
    scope = {}
    exec(f"def g({sign}rest): pass", scope)
    with pytest.raises(ArgumentError, match=rf"write '\{sign[0]}.*rest: int'"):
        MinimalMetaFunc(scope["g"]).get_parameters_api()


def test_the_parameters_of_a_lambda_may_be_anything():
    assert MinimalMetaFunc(lambda x, y=1: x).get_parameters_api(1) == {"x": Any, "y": Any}


@pytest.mark.parametrize(
    ("annotations", "named"),
    [({"x": "Nowhere"}, "parameter 'x'"), ({"x": list["Nowhere"]}, "parameter 'x'"), ({"return": "Nowhere"}, "return")],  # noqa: F821
)
def test_an_annotation_that_cannot_be_resolved_is_an_error_that_names_its_parameter(annotations, named):
    def g(x: int) -> int:
        pass

    g.__annotations__.update(annotations)
    with pytest.raises(ArgumentError, match=rf"annotation.*{named}.*|{named}.*Nowhere.*cannot be resolved"):
        MinimalMetaFunc(g).get_parameters_api(1)


# Mocks


def test_a_mock_gives_the_result_api_by_the_types_of_its_leaves():
    metafunc = MinimalMetaFunc(f, {"a": [1, 2.0], "b": (1, 2), "c": None, "d": []})
    assert metafunc.get_result_api(1) == {"a": [int, float], "b": tuple, "c": type(None), "d": []}


def test_a_mock_may_be_a_function_of_the_arguments():
    metafunc = MinimalMetaFunc(f, lambda a, **_: [0.0] * a)
    assert metafunc.get_result_mock(2) == [0.0, 0.0]
    assert metafunc.get_result_api(3, c=1) == [float, float, float]


def test_without_a_mock_the_return_annotation_is_the_api():
    assert MinimalMetaFunc(f).get_result_api(1) == list[float]
    assert MinimalMetaFunc(f).get_result_mock(1) == []


def test_without_mock_and_annotation_the_result_is_anything():
    metafunc = MinimalMetaFunc(lambda x: x)
    assert metafunc.get_result_api(1) is Any
    mock = metafunc.get_result_mock(1)
    assert is_unknown(mock)
    with pytest.raises(UnknownValueError, match=r"result of <lambda> is not known in a dry run.*@task\(mock="):
        mock + 1


def test_a_stand_in_that_cannot_be_made_says_whose():
    def g() -> memoryview:
        pass

    with pytest.raises(UnknownValueError, match=r"^g: a dry run cannot make up"):
        MinimalMetaFunc(g).get_result_mock()


def test_a_mock_is_new_at_each_call():
    metafunc = MinimalMetaFunc(f, {"a": [1]})
    metafunc.get_result_mock(1)["a"].append(2)
    assert metafunc.get_result_mock(1) == {"a": [1]}


@pytest.mark.parametrize(
    ("mock", "message"),
    [
        (float, r"mock of f is the type float.*such as 0.0"),
        ([1, int], r"mock of f at \[1\] is the type int.*such as 0 for int"),
        ({"a": {"b": Simulate}}, r"at \['a'\]\['b'\] is the type Simulate"),
        (list[float], r"mock of f is the type list\[float\]"),
    ],
)
def test_a_type_in_a_mock_is_a_type_error(mock, message):
    with pytest.raises(TypeError, match=message):
        MinimalMetaFunc(f, mock)


def test_a_type_in_what_a_mock_function_returns_is_a_type_error():
    with pytest.raises(TypeError, match=r"at \[0\] is the type int"):
        MinimalMetaFunc(f, lambda a: [int]).get_result_api(1)


# What is no function


async def asynchronous(x: int) -> int:
    return x


async def generator(x: int):
    yield x


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (3, r"a function is needed, got 3; name the function without calling it"),
        (Simulate, r"got the class Simulate; give an instance: Simulate\(\.\.\.\)"),
        (int, r"got the class int; write a function"),
        (asynchronous, r"asynchronous is an async function"),
        (generator, r"generator is an async function"),
    ],
)
def test_what_is_no_plain_function_is_refused(thing, message):
    with pytest.raises(ArgumentError, match=message):
        as_metafunc(thing)


def test_a_metafunc_is_taken_as_it_is():
    simulate = Simulate()
    assert as_metafunc(simulate) is simulate
    assert as_metafunc(f).function is f


def test_a_function_that_does_not_tell_its_parameters_is_refused():
    with pytest.raises(ArgumentError, match="max does not tell its parameters"):
        as_metafunc(max).get_signature(1)
