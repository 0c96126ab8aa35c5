"""Procs are defined, made out of protos, and refused with a word on what to write instead."""

from enum import Enum
from pathlib import Path

import pytest

import weft.procs as pp
from weft.errors import ArgumentError, ChoiceError, UserError
from weft.procs import ProcState


class Env(Enum):
    DEV = "dev"
    PROD = "prod"


def nothing():
    pass


def test_a_bare_decorator_takes_the_name_of_the_function(manager):
    @manager.Proc
    def build(context):
        return 1

    assert callable(build)
    assert build(None) == 1
    assert list(manager.get_procs()) == ["build"]
    assert manager.get_procs()["build"].state is ProcState.IDLE


def test_a_decorator_with_brackets_takes_a_name_first_or_by_keyword(manager):
    manager.Proc()(nothing)
    manager.Proc("b")(nothing)
    manager.Proc(name="c/ü '\n")(nothing)
    assert list(manager.get_procs()) == ["nothing", "b", "c/ü '\n"]


def test_a_direct_call_returns_the_proc(manager):
    proc = manager.Proc("x", nothing, wave=2)
    assert (proc.name, proc.state, proc.reason, proc.output, proc.log_path) == ("x", ProcState.IDLE, "", None, None)
    assert manager.get_procs() == {"x": proc}


def test_a_second_of_the_same_name_is_refused(manager):
    manager.Proc("x", nothing)
    manager.Proto("y::[n]", nothing)
    for define, name in [(manager.Proc, "x"), (manager.Proto, "x"), (manager.Proto, "y::[n]")]:
        with pytest.raises(ChoiceError, match="already"):
            define(name, nothing)
    assert list(manager.get_procs()) == ["x"]


def test_a_proc_with_a_placeholder_is_refused(manager):
    with pytest.raises(ChoiceError, match=r"write @Proto\(name='x::\[n\]'\)"):
        manager.Proc("x::[n]", nothing)


def test_a_parameter_without_a_value_is_refused(manager):
    with pytest.raises(ArgumentError, match="takes 'size', of which there is no value"):
        manager.Proc("x", lambda context, size: None)
    manager.Proc("x", lambda context, size: None, args={"size": 1})
    manager.Proc("y", lambda context, size=1: None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dep": ["x"]}, "has no option 'dep'; did you mean 'deps'"),
        ({"deps": "x"}, r"deps must be a list, got 'x'; write deps=\['x'\]"),
        ({"deps": [3]}, "deps must have names, functions"),
        ({"rdeps": "x"}, "rdeps must be a list"),
        ({"rdeps": [lambda: 1]}, "rdeps must have names, WhenScheduled"),
        ({"rdeps": ["a::[x]b"]}, "must begin with '::'"),
        ({"locks": "x"}, "locks must be a list"),
        ({"locks": [3]}, "locks must have names"),
        ({"locks": {"x": 0}}, "from 1 up"),
        ({"wave": "1"}, "wave must be a whole number"),
        ({"args": ["x"]}, "args must be a dict"),
        ({"timeout": "soon"}, r"\(timeout=...\) must be a number of seconds"),
        ({"timeout": -1}, r"\(timeout=...\) must be a number of seconds"),
        ({"retries": -1}, "retries"),
        ({"resources": {"cpu": 1}}, "did you mean 'cpus'"),
        ({"resources": {"time": 1}}, "write timeout=1"),
        ({"executor": 3}, "must be a concurrent.futures.Executor"),
        ({"arg_choices": {}}, "has no option 'arg_choices'"),
    ],
)
def test_an_option_that_cannot_be_is_refused(manager, options, says):
    with pytest.raises(UserError, match=says):
        manager.Proc("x", nothing, **options)
    assert manager.get_procs() == {}


def test_choices_of_what_is_no_parameter_are_refused(manager):
    with pytest.raises(ChoiceError, match="arg_choices has 'evn', which is no parameter; did you mean 'env'"):
        manager.Proto("build::[env]", nothing, arg_choices={"evn": ["a"]})
    with pytest.raises(ArgumentError, match="must be a list of choices"):
        manager.Proto("build::[env]", nothing, arg_choices={"env": "dev"})


def test_a_target_that_its_declarer_cannot_name_is_refused(manager):
    with pytest.raises(ChoiceError, match=r"has \[evn\], which is no parameter; did you mean 'env'"):
        manager.Proto("migrate::[env]", nothing, rdeps=[pp.WhenScheduled("deploy::[evn]")])
    with pytest.raises(ChoiceError, match=r"a target 'deploy' does not tell \[env\]"):
        manager.Proto("lint::[env]", nothing, rdeps=["deploy"])
    assert manager.get_protos() == {}


def test_a_name_is_made_by_the_proto_that_matches(manager):
    seen = []
    manager.Proto("build::[env]::[n]", lambda context, env, n: seen.append((env, n)))
    assert manager.create("build::prod::3") == ["build::prod::3"]
    assert manager.create("build::[env]::[n]", env="dev", n=4) == ["build::dev::4"]
    assert manager.create("build::[env]::5", env="dev") == ["build::dev::5"]
    assert [proc.args for proc in manager.get_procs().values()] == [
        {"env": "prod", "n": "3"},
        {"env": "dev", "n": 4},
        {"env": "dev", "n": "5"},
    ]
    assert manager.create("build::prod::3") == ["build::prod::3"]
    assert len(manager.get_procs()) == 3


def test_values_are_cast_by_annotation(manager):
    def step(context, n: int, fast: bool, env: Env, where: "Path | None" = None):
        pass

    manager.Proto("step::[n]::[fast]::[env]", step)
    (name,) = manager.create("step::03::on::dev", where="a/b")
    assert name == "step::03::on::dev"  # as it was written
    assert manager.get_procs()[name].args == {"n": 3, "fast": True, "env": Env.DEV, "where": Path("a/b")}
    with pytest.raises(ChoiceError, match=r"the parameter 'n' of 'step::.*' must be int, got 'x'"):
        manager.create("step::x::on::dev")


def test_globs_stand_for_choices(manager):
    manager.Proto(
        "t::[env]::[n]",
        lambda env, n: None,
        arg_choices={"env": ["dev", "prod", "proxy"], "n": lambda env: [1, 2] if env == "dev" else [3]},
    )
    assert manager.create("t::pro*::*") == ["t::prod::3", "t::proxy::3"]
    assert manager.create("t::d*::?") == ["t::dev::1", "t::dev::2"]
    assert manager.get_procs()["t::dev::2"].args == {"env": "dev", "n": 2}
    with pytest.raises(ChoiceError, match="none of its choices is a 'x\\*'; choices: 'dev', 'prod', 'proxy'"):
        manager.create("t::x*::3")


def test_several_globs_stand_for_their_product(manager):
    manager.Proto("t::[a]::[b]", lambda a, b: None, arg_choices={"a": ["x1", "x2", "y"], "b": [1, 22]})
    assert manager.create("t::x?::*") == ["t::x1::1", "t::x1::22", "t::x2::1", "t::x2::22"]
    assert manager.get_procs()["t::x1::22"].args == {"a": "x1", "b": 22}


def test_a_literal_must_be_a_choice(manager):
    manager.Proto("t::[n]", lambda n: None, arg_choices={"n": [1, 2]})
    assert manager.create("t::1") == ["t::1"]
    with pytest.raises(ChoiceError, match="must be one of '1', '2', got '3'"):
        manager.create("t::3")


def test_a_glob_without_choices_is_refused(manager):
    manager.Proto("t::[n]", nothing)
    with pytest.raises(ChoiceError, match="has no choices that '\\*' could stand for"):
        manager.create("t::*")


def test_a_star_in_the_name_of_a_proc_is_a_star(manager):
    manager.Proc("all*", nothing)
    assert manager.create("all*") == ["all*"]


def test_enums_are_choices(manager):
    manager.Proto("t::[env]", lambda env: None, arg_choices={"env": list(Env)})
    assert manager.create("t::*") == ["t::dev", "t::prod"]
    assert manager.get_procs()["t::dev"].args == {"env": Env.DEV}


def test_no_match_and_several_matches_are_refused(manager):
    manager.Proto("build::[env]", nothing)
    manager.Proto("[what]::prod", nothing)
    with pytest.raises(ChoiceError, match=r"matched by 2 protos: 'build::\[env\]', '\[what\]::prod'"):
        manager.create("build::prod")
    with pytest.raises(ChoiceError, match=r"there is no proc 'biuld', .*did you mean 'build::\[env\]'"):
        manager.create("biuld")
    with pytest.raises(ChoiceError, match=r"\[env\] of 'build::\[env\]' has no value; write env=..."):
        manager.create("build::[env]")
    with pytest.raises(ArgumentError, match="has no parameter 'evn'"):
        manager.create("build::[env]", env="dev", evn="prod")


def test_defaults_fill_what_is_not_given(manager):
    manager.Proto("build::[env]", lambda env, size: None, args={"env": "dev", "size": 3})
    assert manager.create("build::[env]") == ["build::dev"]
    assert manager.create("build::prod", size=4) == ["build::prod"]
    assert [proc.args["size"] for proc in manager.get_procs().values()] == [3, 4]
    with pytest.raises(ChoiceError, match="there is a proc 'build::prod' already, with size=4, not 5"):
        manager.create("build::prod", size=5)


def test_a_parameter_that_is_nowhere_is_named(manager):
    manager.Proto("build::[env]", lambda context, env, size: None)
    with pytest.raises(ChoiceError, match="no value for the parameter 'size'; write size="):
        manager.create("build::prod")


def test_a_proc_may_be_given_another_name(manager):
    manager.Proto("build::[env]", lambda env: None, arg_choices={"env": ["a", "b"]})
    assert manager.create("build::a", "mine") == ["mine"]
    assert manager.get_procs()["mine"].args == {"env": "a"}
    with pytest.raises(ChoiceError, match="already"):
        manager.create("build::b", "mine")
    with pytest.raises(ChoiceError, match="is one name for 2 procs"):
        manager.create("build::*", "ours")


def test_another_separator_counts_for_what_comes(manager):
    manager.set_options(name_param_separator="/")
    manager.Proto("a/[x]/[y]", nothing)
    assert manager.create("a/1/2") == ["a/1/2"]


def test_managers_do_not_meet(manager):
    other = pp.ProcManager()
    other.Proc("x", nothing)
    manager.Proc("x", nothing)
    other.set_options(parallel=3)
    assert manager.get_procs()["x"] is not other.get_procs()["x"]
    other.clear()
    assert list(manager.get_procs()) == ["x"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"paralel": 3}, "did you mean 'parallel'.*options: .*log_directory"),
        ({"parallel": 0}, "at least 1"),
        ({"parallel": "3"}, "whole number"),
        ({"mode": "threads"}, "must be one of 'mp', 'single'"),
        ({"executor": 3}, "Executor"),
        ({"locks": 3}, "dict"),
        ({"locks": {"x": 0}}, "at least 1"),
        ({"log_directory": 3}, "path of a folder"),
        ({"name_param_separator": ""}, "not be empty|not empty"),
        ({"allow_missing_deps": 1}, "True or False"),
    ],
)
def test_an_option_of_the_manager_that_cannot_be_is_refused(manager, options, says):
    with pytest.raises(UserError, match=says):
        manager.set_options(**options)


def test_an_option_that_is_not_given_keeps_its_value(manager):
    manager.set_options(parallel=3)
    manager.set_options(full_log_on_failure=True)
    assert manager._core.options.parallel == 3
