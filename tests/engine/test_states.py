import pytest

from weft.engine.states import State, check_transition


def test_a_task_that_runs_goes_from_wanted_over_running_to_its_end():
    for old, new in [
        (State.IDLE, State.WANTED),
        (State.WANTED, State.RUNNING),
        (State.RUNNING, State.SUCCEEDED),
        (State.RUNNING, State.FAILED),
        (State.RUNNING, State.WANTED),
    ]:
        check_transition(old, new)


@pytest.mark.parametrize("end", [s for s in State if s.is_end])
def test_an_end_is_never_left(end):
    for new in State:
        with pytest.raises(AssertionError, match="illegal transition"):
            check_transition(end, new)


def test_a_task_cannot_succeed_without_running():
    with pytest.raises(AssertionError):
        check_transition(State.WANTED, State.SUCCEEDED)


def test_skipped_and_up_to_date_count_as_success_and_a_cancel_does_not():
    assert {s for s in State if s.is_success} == {State.SUCCEEDED, State.SKIPPED, State.UP_TO_DATE}
    assert {s for s in State if not s.is_end} == {State.IDLE, State.WANTED, State.RUNNING}


def test_failed_dep_is_another_word_for_unreachable():
    assert State.FAILED_DEP is State.UNREACHABLE
