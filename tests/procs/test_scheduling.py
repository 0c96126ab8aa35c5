"""What runs when: dependencies, targets, waves, locks, conditions; and what is refused since it could never run."""

import threading

import pytest

from weft.errors import ArgumentError, ChoiceError, ClosedError, CycleError, DeadlockError, ProcessError, UserError
from weft.procs import AFTER_ALL, NO_FAILURES, ProcState, WhenScheduled, WhenTargetScheduled


@pytest.fixture
def ran(manager):
    """Names in the order in which they ran."""
    return []


@pytest.fixture
def define(manager, ran):
    """Define a proc that notes that it ran."""

    def define(name, fails=False, **options):
        def function(context):
            ran.append(context.proc_name)
            if fails:
                raise ValueError(f"no {name}")
            return name

        return manager.Proc(name, function, **options)

    return define


@pytest.fixture
def pattern(manager, ran):
    """Define a proto that notes what ran."""

    def pattern(name, **options):
        return manager.Proto(name, lambda context: ran.append(context.proc_name), **options)

    return pattern


def go(manager, *names):
    manager.start(*names)
    return manager.wait_for_all(exception_on_failure=False)


def states(manager):
    return {name: proc.state.name for name, proc in manager.get_procs().items()}


def reason(manager, name):
    return manager.get_procs()[name].reason


def test_dependencies_run_first_and_their_results_are_there(manager, define):
    define("a")
    define("b", deps=["a"])
    manager.Proc("c", lambda context: dict(context.results), deps=["b", "a"])
    assert go(manager, "c")
    assert manager.results() == {"a": "a", "b": "b", "c": {"a": "a", "b": "b"}}
    assert states(manager) == dict.fromkeys("abc", "SUCCEEDED")


def test_started_twice_runs_once(manager, define, ran):
    define("a")
    define("b", deps=["a"])
    manager.start("a", ["a", "b"])
    manager.start("a")
    manager.wait_for_all()
    manager.start("a")
    assert manager.wait_for_all()
    assert ran == ["a", "b"]


def test_now_starts_what_depends_on_what_comes_later(manager, define, ran):
    define("a", now=True, deps=["late", "t::1"])
    define("late", deps=["later"])
    define("later")
    manager.Proto("t::[n]", lambda context: ran.append("t"))
    assert manager.wait_for_all()
    assert ran[-1] == "a"
    assert sorted(ran[:-1]) == ["late", "later", "t"]


def test_a_dependency_that_is_never_defined_is_missing(manager, define, ran):
    define("a", deps=["nonsense"])
    define("b", deps=["a"])
    define("c")
    assert not go(manager, "b", "c")
    assert ran == ["c"]
    assert states(manager) == {"a": "UNREACHABLE", "b": "UNREACHABLE", "c": "SUCCEEDED"}
    assert reason(manager, "a") == 'dependency "nonsense" missing'
    assert reason(manager, "b") == 'canceled due to failure of "a"'


def test_a_missing_dependency_may_be_defined_by_what_runs(manager, define, ran):
    define("a", deps=["made"])
    manager.Proc("maker", lambda context: define("made") and None)
    assert go(manager, "a", "maker")
    assert ran == ["made", "a"]


def test_a_missing_dependency_is_refused_where_it_is_not_allowed(manager, define):
    manager.set_options(allow_missing_deps=False)
    define("build")
    define("a", deps=["biuld"])
    with pytest.raises(ChoiceError, match=r"no proc 'biuld'.*did you mean 'build'"):
        manager.start("a")
    assert states(manager) == {"build": "IDLE", "a": "IDLE"}


def test_failed_dependencies_are_told_with_the_one_that_failed(manager, define, ran):
    define("a", fails=True)
    define("b", deps=["a"])
    define("c", deps=["b"])
    define("d")
    manager.start("c", "d")
    with pytest.raises(ProcessError) as raised:
        manager.wait_for_all()
    assert states(manager) == {"a": "FAILED", "b": "UNREACHABLE", "c": "UNREACHABLE", "d": "SUCCEEDED"}
    assert ProcState.FAILED_DEP is ProcState.UNREACHABLE
    assert reason(manager, "a") == "ValueError: no a"
    assert reason(manager, "b") == reason(manager, "c") == 'canceled due to failure of "a"'
    assert [str(error) for error in raised.value.exceptions] == ["no a"]  # once
    assert "3 procs failed" in str(raised.value)
    assert f"a: ValueError: no a (log: {manager.get_procs()['a'].log_path})" in str(raised.value)
    with pytest.raises(ProcessError, match="1 proc failed"):
        manager.wait("c", "d")
    manager.wait("d")


def test_dependencies_are_filled_from_parameters_and_defaults(manager, pattern, ran):
    pattern("load::[env]::[n]", args={"n": 7})
    pattern("build::[env]", deps=["load::[env]::[n]"])
    manager.Proc("site", lambda context: ran.append("site"), deps=["build::[env]"], args={"env": "dev"})
    assert go(manager, "build::prod", "site")
    assert sorted(ran) == ["build::dev", "build::prod", "load::dev::7", "load::prod::7", "site"]


def test_globs_in_dependencies_stand_for_choices(manager, pattern, define, ran):
    pattern("t::[n]", arg_choices={"n": [1, 2, 3]})
    define("all", deps=["t::*"])
    assert go(manager, "all")
    assert ran == ["t::1", "t::2", "t::3", "all"]


def test_functions_say_what_to_depend_on(manager, define, pattern, ran):
    pattern("t::[n]")

    def of_context(context):
        assert (context.proc_name, context.params, context.args) == ("u::4", {"mode": "fast"}, {"n": 4})
        return "x"

    manager.set_params(mode="fast")
    define("x")
    manager.Proto("u::[n]", lambda n: None, deps=[lambda n: [f"t::{n}", f"t::{n + 1}"], of_context])

    def step(context, n: int):
        ran.append("u")

    manager.Proto("v::[n]", step, deps=[lambda n: [f"t::{n}", f"t::{n + 1}"]])
    assert go(manager, "v::4")
    assert ran == ["t::4", "t::5", "u"]
    manager.Proto("w::[n]", step, deps=[lambda context: [f"x{'' if context.args['n'] == 1 else 2}"]])
    assert go(manager, "w::1")
    assert ran[3:] == ["x", "u"]


@pytest.mark.parametrize("found", [3, None, [3], {"x": 1}])
def test_a_function_that_returns_no_names_is_refused(manager, define, found):
    define("a", deps=[lambda context: found])
    with pytest.raises(ArgumentError, match="must return a name or a list of names"):
        manager.start("a")
    assert states(manager) == {"a": "IDLE"}


def test_a_function_that_raises_starts_nothing(manager, define):
    define("b")
    define("a", deps=["b", lambda context: 1 // 0])
    with pytest.raises(ZeroDivisionError):
        manager.start("a")
    assert states(manager) == {"b": "IDLE", "a": "IDLE"}


# Cycles -----------------------------------------------------------------------------------------------------


def test_a_cycle_is_shown(manager, define):
    define("a", deps=["c"])
    define("b", deps=["a"])
    define("c", deps=["b"])
    define("d", deps=["d"])
    with pytest.raises(CycleError, match=r"(a <- c <- b <- a|b <- a <- c <- b|c <- b <- a <- c)"):
        manager.start("a")
    with pytest.raises(CycleError, match="d <- d"):
        manager.start("d")
    assert set(states(manager).values()) == {"IDLE"}


def test_a_cycle_through_rdeps_is_shown(manager, define):
    define("a", deps=["b"])
    define("b")
    define("c", rdeps=["b"], deps=["a"])
    with pytest.raises(CycleError, match="<-"):
        manager.start("a")


def test_a_cycle_through_what_was_missing_is_refused_at_its_definition(manager, define):
    define("hold")
    define("a", deps=["b"], now=True)
    with pytest.raises(CycleError, match=r"a <- b <- a|b <- a <- b"):
        define("b", deps=["a"])
    assert "b" not in manager.get_procs()
    define("b")
    assert manager.wait_for_all()


def test_long_chains_are_planned_and_run(manager, ran):
    manager.Proto("n::[n]", lambda context, n=0: ran.append(n), deps=[lambda n: f"n::{int(n) - 1}" if int(n) else []])
    assert go(manager, "n::1200")
    assert [int(n) for n in ran] == list(range(1201))


# Targets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [str, WhenTargetScheduled])
def test_one_that_puts_itself_before_a_target_comes_with_it(manager, pattern, ran, wrap):
    pattern("lint::[env]", rdeps=[wrap("deploy::[env]")])
    pattern("deploy::[env]")
    assert go(manager, "deploy::prod")
    assert ran == ["lint::prod", "deploy::prod"]
    assert go(manager, "lint::dev")
    assert ran[2:] == ["lint::dev"]


def test_a_proc_puts_itself_before_any_target_of_its_pattern(manager, define, pattern, ran):
    pattern("deploy::[env]")
    define("setup", rdeps=["deploy::[env]"])
    assert go(manager, "deploy::prod", "deploy::dev")
    assert ran[0] == "setup"
    assert sorted(ran) == ["deploy::dev", "deploy::prod", "setup"]


def test_when_scheduled_brings_its_target(manager, pattern, ran):
    pattern("migrate", rdeps=[WhenScheduled("deploy::[env]")])
    pattern("deploy::[env]")
    assert go(manager, "migrate::prod")
    assert ran == ["migrate::prod", "deploy::prod"]
    assert go(manager, "deploy::dev")
    assert ran[2:] == ["deploy::dev"]


def test_when_scheduled_comes_first_in_one_start_in_any_order(manager, pattern, ran):
    pattern("migrate", rdeps=[WhenScheduled("deploy::[env]")])
    pattern("deploy::[env]")
    assert go(manager, "deploy::prod", "migrate::prod")
    assert ran == ["migrate::prod", "deploy::prod"]


@pytest.mark.parametrize("kind", [WhenScheduled, WhenTargetScheduled])
def test_too_late_is_refused(manager, define, pattern, ran, kind):
    pattern("deploy::[env]")
    assert go(manager, "deploy::prod")
    pattern("migrate", rdeps=[kind("deploy::[env]")])
    with pytest.raises(UserError, match="already SUCCEEDED: 'migrate::prod' is scheduled too late"):
        manager.run("migrate::prod")
    define("bad", fails=True)
    assert not go(manager, "bad")
    define("early", rdeps=[kind("bad")])
    with pytest.raises(UserError, match="already FAILED: 'early' is scheduled too late"):
        manager.start("early")
    assert ran == ["deploy::prod", "bad"]


def test_a_target_that_waits_already_waits_for_one_more(manager, define, ran):
    gate = threading.Event()
    manager.Proc("hold", lambda context: gate.wait() and None)
    define("target", deps=["hold"])
    define("after", deps=["target"])
    define("early", rdeps=[WhenScheduled("target")])
    manager.start("after")
    manager.start("early")
    gate.set()
    assert manager.wait_for_all()
    assert ran == ["early", "target", "after"]


def test_a_target_that_runs_is_too_late(manager, define, ran):
    began, gate = threading.Event(), threading.Event()

    def target(context):
        began.set()
        gate.wait()

    manager.Proc("target", target)
    define("early", rdeps=[WhenScheduled("target")])
    manager.start("target")
    began.wait()
    with pytest.raises(UserError, match="already RUNNING"):
        manager.start("early")
    gate.set()
    assert manager.wait_for_all()
    assert ran == []


# Conditions -------------------------------------------------------------------------------------------------


def test_no_failures_is_asked_when_all_else_holds(manager, define, ran):
    define("a", fails=True)
    define("b")
    define("c", deps=["b", NO_FAILURES], wave=1)
    define("d", deps=["b"], wave=1)
    assert not go(manager, "a", "c", "d")
    assert states(manager) == {"a": "FAILED", "b": "SUCCEEDED", "c": "UNREACHABLE", "d": "SUCCEEDED"}
    assert reason(manager, "c") == "run aborted: a task has failed"


def test_no_failures_waits_for_nothing(manager, define, ran):
    define("c", deps=[NO_FAILURES])
    define("a", fails=True)
    assert not go(manager, "c", "a")
    assert ran == ["c", "a"]


def test_after_all_waits_for_all_others(manager, define, ran):
    define("report", deps=[AFTER_ALL])
    define("clean", deps=[AFTER_ALL])
    define("mail", deps=["report"])
    define("a")
    define("b", deps=["a"], fails=True)
    define("c", deps=["b"])
    assert not go(manager, "report", "clean", "mail", "c")
    assert ran[:2] == ["a", "b"]
    assert sorted(ran[2:]) == ["clean", "mail", "report"]
    assert states(manager)["c"] == "UNREACHABLE"


def test_after_all_in_a_lower_wave_than_others_is_not_held_up_by_them(manager, define, ran):
    define("first", deps=[AFTER_ALL])
    define("a", wave=1)
    define("b")
    assert go(manager, "first", "a", "b")
    assert ran == ["b", "first", "a"]


def test_after_all_waits_for_what_depends_on_another(manager, define, ran):
    define("first", deps=[AFTER_ALL])
    define("of first", deps=["first"])
    define("second", deps=[AFTER_ALL])
    define("a")
    assert go(manager, "second", "of first", "a")
    assert ran == ["a", "first", "of first", "second"]


def test_two_that_are_after_all_and_would_wait_for_each_other_both_run(manager, define, ran):
    for name in "xy":
        define(name, deps=[AFTER_ALL])
        define(f"of {name}", deps=[name])
    assert go(manager, "of x", "of y")
    assert sorted(ran) == ["of x", "of y", "x", "y"]


# Waves and locks --------------------------------------------------------------------------------------------


def test_waves_end_one_after_the_other_failed_or_not(manager, define, ran):
    define("idle", wave=-5)
    define("c", wave=2)
    define("b", wave=1, fails=True)
    define("a", wave=-1)
    define("after b", deps=["b"], wave=1)
    assert not go(manager, "c", "after b", "a")
    assert ran == ["a", "b", "c"]


def test_a_dependency_of_a_higher_wave_is_refused(manager, define):
    define("a", wave=1)
    define("b", deps=["a"])
    with pytest.raises(UserError, match="'b' of wave 0 cannot wait for 'a' of wave 1"):
        manager.start("b")
    assert states(manager) == {"a": "IDLE", "b": "IDLE"}


def test_more_of_a_lock_than_there_is_is_refused(manager, define):
    define("a", locks={"gpu": 3})
    with pytest.raises(ChoiceError, match="asks for 3 of the lock 'gpu', of which there are 1"):
        manager.start("a")
    manager.set_options(locks={"gpu": 4})
    assert go(manager, "a")


def test_options_that_gates_are_made_of_are_fixed_while_procs_run(manager, define):
    gate = threading.Event()
    manager.Proc("hold", lambda context: gate.wait() and None)
    manager.start("hold")
    with pytest.raises(ClosedError, match="parallel cannot change while procs run"):
        manager.set_options(parallel=2)
    manager.set_options(full_log_on_failure=True)
    gate.set()
    manager.wait_for_all()
    manager.set_options(parallel=2)


# Waiting for what cannot come ---------------------------------------------------------------------------------


def test_waiting_for_the_unknown_or_the_idle_is_refused(manager, define):
    define("build")
    with pytest.raises(ChoiceError, match="there is no proc 'biuld'; did you mean 'build'"):
        manager.wait("biuld")
    with pytest.raises(ChoiceError, match="'build' has not been started"):
        manager.wait("build")
    with pytest.raises(ArgumentError, match="takes names of procs"):
        manager.wait(3)
    assert manager.wait_for_all()


def test_clear_forgets_all_and_stops_what_runs(manager, define):
    began = threading.Event()

    def endless(context):
        began.set()
        while True:
            pass

    manager.Proc("endless", endless)
    define("next", deps=["endless"])
    define("x")
    manager.start("next")
    began.wait()
    proc = manager.get_procs()["endless"]
    manager.clear()
    assert manager.get_procs() == manager.get_protos() == manager.results() == {}
    assert proc.state is ProcState.CANCELLED
    define("x")
    assert go(manager, "x")
    assert manager.wait_clear()
    assert manager.get_procs() == {}


# From within ------------------------------------------------------------------------------------------------


def test_a_proc_starts_others_and_waits_for_them(manager, pattern, ran):
    def main(context):
        names = context.run("t::[n]", n=3)
        context.start(context.create("t::4"))
        context.create("t::5")
        context.wait(names, "t::4", "t::5")
        return sorted(context.results)

    manager.Proto("t::[n]", lambda context: ran.append(context.proc_name))
    manager.Proc("main", main)
    assert go(manager, "main")
    assert manager.results()["main"] == ["t::3", "t::4", "t::5"]
    assert ran == ["t::3", "t::4", "t::5"]


def test_procs_wait_for_each_other_to_any_depth(manager):
    def step(context, n: int):
        if n:
            context.wait(*context.run(f"n::{n - 1}"))
        return n

    manager.Proto("n::[n]", step)
    assert go(manager, "n::150")
    assert len(manager.results()) == 151


def test_a_failure_is_raised_where_it_was_waited_for(manager, define):
    define("bad", fails=True)

    def main(context):
        try:
            context.wait("bad")
        except ProcessError as error:
            return str(error.exceptions[0])

    manager.Proc("main", main)
    manager.Proc("careless", lambda context: context.wait("bad"))
    assert not go(manager, "main", "careless")
    assert manager.results() == {"main": "no bad"}
    assert reason(manager, "careless").startswith("ProcessError: 1 proc failed")


def test_an_unknown_name_is_raised_where_it_was_said(manager):
    def main(context):
        with pytest.raises(ChoiceError, match="nonsense"):
            context.wait("nonsense")
        with pytest.raises(ChoiceError, match="nonsense"):
            context.run("nonsense")
        return "went on"

    manager.Proc("main", main)
    assert go(manager, "main")
    assert manager.results() == {"main": "went on"}


def test_waiting_in_a_circle_is_refused(manager):
    manager.Proc("a", lambda context: context.wait("b"))
    manager.Proc("b", lambda context: context.wait("a"))
    manager.Proc("self", lambda context: context.wait("self"))
    manager.Proc("dependent", lambda context: None, deps=["on it"])
    manager.Proc("on it", lambda context: context.wait("dependent"))
    assert not go(manager, "a", "self", "on it")
    told = [reason(manager, name) for name in ("a", "b", "self", "on it")]
    assert any("'b' waits for 'a' waits for 'b'" in text for text in told)
    assert "'self' waits for 'self'" in told[2]
    assert "'on it' waits for 'dependent' waits for 'on it'" in told[3]


def test_waiting_for_what_needs_ones_own_lock_or_wave_is_refused(manager, define):
    define("locked", locks=["db"])
    define("later", wave=1)
    manager.Proc("a", lambda context: context.wait("locked"), locks=["db"])
    manager.Proc("b", lambda context: context.wait("later"))
    assert not go(manager, "a", "b")
    assert "'a' waits for 'locked' waits for the lock 'db', which is held by 'a'" in reason(manager, "a")
    assert "'b' waits for 'later' waits for the end of wave 0 waits for 'b'" in reason(manager, "b")
    assert manager.get_procs()["locked"].state is ProcState.SUCCEEDED


def test_waiting_for_one_that_is_after_all_does_not_hold_it_up(manager, define, ran):
    define("last", deps=[AFTER_ALL])
    define("other")
    manager.Proc("main", lambda context: context.wait("last"))
    assert go(manager, "main", "other")
    assert ran == ["other", "last"]


def test_what_is_created_while_others_wait_for_it_runs(manager, define, pattern, ran):
    pattern("t::[n]")
    define("a", deps=["made"], now=True)
    assert manager.create("t::1", "made") == ["made"]
    assert manager.wait_for_all()
    assert ran == ["made", "a"]


def test_a_filled_dependency_may_be_a_proc_of_its_own(manager, define, ran):
    define("load::prod")
    manager.Proto("build::[env]", lambda context: ran.append("build"), deps=["load::[env]"])
    assert go(manager, "build::prod")
    assert ran == ["load::prod", "build"]


def test_many_that_are_defined_backwards_run(manager, ran):
    for n in range(400, 0, -1):
        manager.Proc(f"p{n}", lambda context: ran.append(context.proc_name), deps=[f"p{n - 1}"], now=True)
    manager.Proc("p0", lambda: None)
    assert manager.wait_for_all()
    assert ran == [f"p{n}" for n in range(1, 401)]


def test_a_folder_for_logs_that_cannot_be_made_is_told(manager, define, tmp_path):
    (tmp_path / "file").write_text("")
    manager.set_options(log_directory=tmp_path / "file" / "logs")
    define("a")
    with pytest.raises(OSError, match=r"cannot make the folder for logs, .*logs"):
        manager.start("a")
    assert states(manager) == {"a": "IDLE"}


def test_a_function_in_deps_that_waits_for_procs_is_refused(manager, define):
    define("x", now=True)

    def impatient(context):
        manager.wait("x")
        return "x"

    define("a", deps=[impatient])
    with pytest.raises(DeadlockError, match="cannot wait for procs"):
        manager.start("a")
    assert manager.wait_for_all()


def test_a_function_in_deps_may_define_and_start_procs(manager, define, ran):
    def generous(context):
        define("made")
        manager.start("made")
        return "made"

    define("a", deps=[generous])
    assert go(manager, "a")
    assert ran == ["made", "a"]


def test_one_that_puts_itself_before_what_waits_already_comes_first(manager, define, ran):
    gate = threading.Event()
    manager.Proc("hold", lambda context: gate.wait() and None)
    define("target", deps=["hold"])
    manager.start("target")
    define("early", rdeps=["target"], now=True)
    define("last", deps=["target"], now=True)
    gate.set()
    assert manager.wait_for_all()
    assert ran == ["early", "target", "last"]


def test_one_that_was_scheduled_comes_before_all_that_match_from_then_on(manager, define, pattern, ran):
    pattern("deploy::[env]")
    define("backup", rdeps=[WhenScheduled("deploy::[env]")])
    define("all", deps=["deploy::a", "careful"])
    define("careful", deps=["backup"])
    assert go(manager, "deploy::z")
    assert ran == ["deploy::z"]
    assert go(manager, "all")
    assert ran[1] == "backup"
    assert sorted(ran[2:]) == ["all", "careful", "deploy::a"]
    assert go(manager, "deploy::b")
    assert manager.get_procs()["deploy::b"]._deps.keys() == {"backup"}


def test_a_declarer_is_not_put_before_itself(manager, define, ran):
    define("deploy::first", rdeps=["deploy::[env]", WhenScheduled("deploy::[env]")])
    define("deploy::second")
    assert go(manager, "deploy::second", "deploy::first")
    assert ran == ["deploy::first", "deploy::second"]


def test_a_declarer_with_more_parameters_than_its_target_comes_first_when_it_is_scheduled(manager, pattern, ran):
    pattern("deploy::[env]")
    pattern("migrate::[env]::[version]", rdeps=[WhenScheduled("deploy::[env]")])
    assert go(manager, "deploy::dev")
    assert go(manager, "migrate::prod::2", "migrate::prod::3", "migrate::test::1", "deploy::prod")
    assert ran[0] == "deploy::dev"
    assert ran.index("deploy::prod") > max(ran.index("migrate::prod::2"), ran.index("migrate::prod::3"))
    assert manager.get_procs()["deploy::prod"]._deps.keys() == {"migrate::prod::2", "migrate::prod::3"}
    assert manager.get_procs()["deploy::test"]._deps.keys() == {"migrate::test::1"}
