"""The table of promises is consistent: nothing is promised untested, nothing is tested unpromised."""

import ast
from pathlib import Path

import pytest

from contract.executors import CANDIDATES, PROMISES, Candidate, Not, needs

FILES = sorted(Path(__file__).parent.glob("test_*.py"))


def needed(path: Path) -> set[str]:
    """The promises that the tests of a file say they need."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {
        argument.value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "needs"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }


def test_each_promise_has_a_test_and_each_test_knows_its_promise():
    here = Path(__file__)
    assert set().union(*(needed(path) for path in FILES if path != here)) == set(PROMISES)


def test_an_unknown_promise_is_refused():
    with pytest.raises(AssertionError, match="no promise is called 'eternal life'"):
        needs("crash", "eternal" + " life")
    with pytest.raises(AssertionError, match="no promise is called 'eternal life'"):
        Not("eternal life", "unlikely")
    with pytest.raises(AssertionError, match="say why 'crash' is not promised"):
        Not("crash", "")


def test_each_executor_has_a_name_and_says_once_what_it_lacks():
    assert len({candidate.name for candidate in CANDIDATES}) == len(CANDIDATES)
    for candidate in CANDIDATES:
        lacking = [lack.promise for lack in candidate.lacks]
        assert len(set(lacking)) == len(lacking), candidate.name


def test_weft_makes_its_promises_itself():
    lacking = {(c.name, lack.promise) for c in CANDIDATES if c.name.startswith("local") for lack in c.lacks}
    assert lacking == {("local-fork", "pickling")}


def test_what_is_not_promised_is_expected_to_fail_or_left_out_and_what_is_promised_is_run():
    lacks = frozenset({Not("crash", "it is made of glass"), Not("kill", "it would hang", tried=False)})
    candidate = Candidate("glass", lambda workers: None, lacks)
    [mark] = candidate.marks({"crash", "time"})
    assert (mark.name, mark.kwargs["strict"]) == ("xfail", True)
    assert mark.kwargs["reason"] == "glass does not promise 'crash': it is made of glass"
    [mark] = candidate.marks({"crash", "kill"})
    assert (mark.name, mark.kwargs["reason"]) == ("skip", "glass does not promise 'kill': it would hang")
    assert candidate.marks({"time"}) == candidate.marks(set()) == []


def test_each_test_of_an_executor_runs_for_each_candidate():
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and path != Path(__file__):
                names = {argument.arg for argument in node.args.args}
                assert names & {"executor", "stage", "candidate"}, f"{path.name}: {node.name} is about no executor"
