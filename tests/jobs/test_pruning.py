"""What is done is not run again: the plan of a schedule, and `Job.prune`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.samples import chain, make
from weft.engine.states import State
from weft.errors import ConditionError, CycleError
from weft.jobs import Plan, job, terminal_nodes

RUNS, DONE, NEVER, IDLE = State.WANTED, State.UP_TO_DATE, State.UNREACHABLE, State.IDLE


def states(plan):
    return {part.job.name: part.state for part in plan}


# Done


def test_a_job_without_postconditions_is_never_done():
    assert states(Plan([make("a")])) == {"a": RUNS}
    assert states(Plan([make("a").ensure(lambda: True, when="before")])) == {"a": RUNS}


def test_a_job_is_done_when_all_of_its_postconditions_hold():
    assert states(Plan([make("a", done=True)])) == {"a": DONE}
    assert states(Plan([make("a", done=True).ensure(lambda: False)])) == {"a": RUNS}
    assert states(Plan([make("a", done=True).ensure(lambda: [1])])) == {"a": DONE}


def test_an_array_is_done_when_all_hold_for_every_element():
    made = job(array="3", name="a")(lambda i: i).ensure(lambda i: i < 5)
    assert states(Plan([made])) == {"a": DONE}


def test_of_an_array_the_elements_that_are_not_done_are_kept():
    made = job(array=range(10, 15))(lambda i: i).ensure(lambda i: i % 2).ensure(lambda i: i != 13)
    part = Plan([made])[made]
    assert (part.state, list(part.places)) == (RUNS, [0, 2, 3, 4])


def test_a_condition_of_the_whole_array_says_all_or_nothing():
    made = job(array=3)(lambda i: i)
    assert list(Plan([made.bind().ensure(lambda: False)]).asked[0].array) == [0, 1, 2]
    for holds, places in ((True, []), (False, [0, 1, 2])):
        one = made.bind().ensure(lambda holds=holds: holds)
        assert list(Plan([one])[one].places) == places
        both = made.bind().ensure(lambda i: True).ensure(lambda holds=holds: holds)
        assert list(Plan([both])[both].places) == places
        some = made.bind().ensure(lambda i: i == 1).ensure(lambda holds=holds: holds)
        assert list(Plan([some])[some].places) == [0, 2]


def test_an_empty_array_runs_without_elements_or_is_done():
    made = job(array=[], name="a")(lambda i: i)
    assert (Plan([made])[made].state, list(Plan([made])[made].places)) == (RUNS, [])
    made.ensure(lambda i: False)
    assert Plan([made])[made].state is DONE


def test_conditions_are_asked_afresh_for_each_plan_and_once_in_it():
    asked = []
    a = make("a").ensure(lambda: asked.append(1))
    b, c = make("b").after(a), make("c").after(a)
    Plan([b, c, a])
    assert asked == [1]
    Plan([b, c, a])
    assert asked == [1, 1]


def test_what_only_done_jobs_need_is_not_asked():
    def never():
        raise AssertionError

    a = make("a").ensure(never)
    b = make("b", done=True).after(a)
    c = make("c").after(b)
    assert states(Plan([c])) == {"a": IDLE, "b": DONE, "c": RUNS}
    assert states(Plan([b])) == {"a": IDLE, "b": DONE}


def test_preconditions_are_not_asked():
    def never():
        raise AssertionError

    assert states(Plan([make("a").ensure(never, when="before")])) == {"a": RUNS}


def test_a_condition_that_raises_names_the_job_the_element_and_the_condition():
    def there(i):
        return 1 / i

    with pytest.raises(ConditionError, match=r"the postcondition there of a\[0\] raised ZeroDivisionError") as caught:
        Plan([job(array=2, name="a")(lambda i: i).ensure(there)])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(ConditionError, match=r"<lambda> \(test_pruning.py:\d+\) of b raised"):
        Plan([make("b").ensure(lambda: 1 / 0)])


def test_without_pruning_everything_runs():
    a = make("a", done=True)
    b = make("b", done=True).after(a, status="failure")
    plan = Plan([b], prune=False)
    assert states(plan) == {"a": RUNS, "b": RUNS}
    assert list(plan[b].edges) == [a]


def test_a_cycle_is_told_as_a_path():
    a, b = make("a"), make("b")
    a.after(b)
    b.after(a)
    with pytest.raises(CycleError, match=r"(b <- a <- b|a <- b <- a) \(each x <- y: x after y\)"):
        Plan([a])


# Edges


@pytest.mark.parametrize("status", ["success", "any"])
def test_a_done_dependency_is_dropped(status):
    a, c = make("a", done=True), make("c")
    b = make("b").after(a, c, status=status)
    plan = Plan([b])
    assert states(plan) == {"a": DONE, "c": RUNS, "b": RUNS}
    assert list(plan[b].edges) == [c]


def test_a_failure_edge_at_a_done_job_makes_unreachable():
    a, other = make("a", done=True), make("other")
    b = make("b").after(a, status="failure").after(other)
    plan = Plan([b])
    assert states(plan) == {"a": DONE, "other": IDLE, "b": NEVER}
    assert plan[b].why == "'b' needs the failure of 'a', which is done"


def test_what_comes_after_an_unreachable_job_is_so_too_unless_any_end_will_do():
    done, other = make("done", done=True), make("other")
    never = make("never").after(done, status="failure")
    success = make("success").after(never, other)
    failure = make("failure").after(never, status="failure")
    either = make("either").after(never, status="any")
    deep = make("deep").after(success)
    plan = Plan([deep, failure, either])
    assert states(plan) == {
        **{"done": DONE, "never": NEVER, "other": IDLE, "success": NEVER, "failure": NEVER, "deep": NEVER},
        "either": RUNS,
    }
    assert plan[either].edges == {}
    assert plan[deep].why == "'deep' needs the success of 'success', which is never reached"


def test_waiting_for_any_one_done_dependency_is_enough_and_the_others_are_not_needed():
    a, other = make("a", done=True), make("other")
    b = make("b").after(a, other).waitfor("any")
    plan = Plan([b])
    assert states(plan) == {"a": DONE, "other": IDLE, "b": RUNS}
    assert plan[b].edges == {}
    assert states(Plan([b, other])) == {"a": DONE, "other": RUNS, "b": RUNS}


def test_waiting_for_any_a_failure_edge_at_a_done_job_is_no_way_to_start():
    a, other = make("a", done=True), make("other")
    b = make("b").after(a, status="failure").after(other).waitfor("any")
    plan = Plan([b])
    assert (states(plan), list(plan[b].edges)) == ({"a": DONE, "other": RUNS, "b": RUNS}, [other])
    b.detach(other)
    assert states(Plan([b])) == {"a": DONE, "b": NEVER}


def test_waiting_for_any_an_unreachable_job_is_no_way_to_start_unless_any_end_will_do():
    done, other = make("done", done=True), make("other")
    never = make("never").after(done, status="failure")
    b = make("b").after(never, other).waitfor("any")
    c = make("c").after(never, status="any").after(other).waitfor("any")
    d = make("d").after(never).waitfor("any")
    plan = Plan([b, c, d])
    assert states(plan) == {"done": DONE, "other": RUNS, "never": NEVER, "b": RUNS, "c": RUNS, "d": NEVER}
    assert (list(plan[b].edges), list(plan[c].edges)) == ([other], [])
    assert states(Plan([c])) == {"done": DONE, "other": IDLE, "never": NEVER, "c": RUNS}


# Results


def take(*jobs, name="taker"):
    return job(name=name)(lambda *values: values).bind(*jobs)


def test_a_job_that_takes_a_known_result_of_a_done_job_does_not_wait():
    a = make("a", done=True)
    assert states(Plan([take(a)])) == {"a": DONE, "taker": RUNS}


def test_a_done_job_whose_result_is_needed_and_not_known_runs_again():
    root = make("root")
    a = make("a", done=True).after(root)
    other = make("other").after(a)
    plan = Plan([take(a), other], known=lambda job, places: ())
    assert states(plan) == {"root": RUNS, "a": RUNS, "other": RUNS, "taker": RUNS}
    assert list(plan[other].edges) == [a]


def test_a_chain_of_results_that_are_not_known_runs_again_from_its_beginning():
    first = make("first", done=True)
    second = job(name="second")(lambda x: x).bind(first).ensure(lambda: True)
    plan = Plan([take(second)], known=lambda job, places: ())
    assert states(plan) == {"first": RUNS, "second": RUNS, "taker": RUNS}
    plan = Plan([take(second)], known=lambda job, places: places if job is second else ())
    assert states(plan) == {"first": IDLE, "second": DONE, "taker": RUNS}


def test_of_an_array_those_elements_run_again_whose_result_is_not_known():
    made = job(array=5, name="a")(lambda i: i).ensure(lambda i: i != 4)
    taker = take(made)
    plan = Plan([taker], known=lambda job, places: [0, 2])
    assert list(plan[made].places) == [1, 3, 4]


def test_an_any_job_needs_its_other_dependencies_when_the_done_one_runs_again():
    a, other = make("a", done=True), make("other")
    b = make("b").after(a, other).waitfor("any")
    plan = Plan([b, take(a)], known=lambda job, places: ())
    assert states(plan) == {"a": RUNS, "other": RUNS, "b": RUNS, "taker": RUNS}
    assert list(plan[b].edges) == [a, other]


def test_what_has_finished_in_a_run_that_is_taken_over_counts_as_done():
    a, b = make("a"), job(array=3, name="b")(lambda i: i)
    c = make("c").after(a, b)
    plan = Plan([c], finished=lambda job: {a: [0], b: [1]}.get(job, ()))
    assert states(plan) == {"a": DONE, "b": RUNS, "c": RUNS}
    assert (list(plan[b].places), list(plan[c].edges)) == ([0, 2], [b])


def test_a_postcondition_that_does_not_hold_says_more_than_an_outcome():
    a = make("a", done=False)
    b = job(array=3, name="b")(lambda i: i).ensure(lambda i: i == 2)
    c = job(array=3, name="c")(lambda i: i).ensure(lambda: False)
    finished = {a: [0], b: [0, 1], c: [0, 1]}
    plan = Plan(finished, finished=finished.get)
    assert [list(part.places) for part in plan] == [[0], [0, 1], [2]]
    finished[c] = [0, 1, 2]
    assert list(Plan(finished, finished=finished.get)[c].places) == [0, 1, 2]


# Job.prune


def test_a_schedule_never_changes_the_graph_but_prune_does():
    a, c = make("a", done=True), make("c")
    d = job(array=4, name="d")(lambda i: i).ensure(lambda i: i % 2)
    b = make("b").after(a, c, d)
    Plan([b])
    assert b.dependencies == [a, c, d]
    assert list(d.array) == [0, 1, 2, 3]
    assert b.prune() is b
    assert b.dependencies == [c, d]
    assert (list(d.array), repr(d)) == ([0, 2], "<Job 'd' x 2>")
    assert (a.dependents, c.dependents) == ([], [b])


def test_pruning_a_done_job_detaches_it_from_what_it_came_after():
    a = make("a")
    b = make("b", done=True).after(a)
    b.prune()
    assert (b.dependencies, a.dependents) == ([], [])


def test_pruning_keeps_the_results_that_a_job_takes_and_the_edges_that_can_never_be_met():
    a, b = make("a", done=True), make("b", done=True)
    c = take(a).after(b, status="failure")
    c.prune()
    assert c.dependencies == [b, a]
    assert states(Plan([c]))["taker"] is NEVER


def test_pruning_goes_all_the_way_down():
    jobs = chain(5)
    jobs[1].ensure(lambda: True)
    jobs[-1].prune()
    assert jobs[2].dependencies == []
    assert jobs[3].dependencies == [jobs[2]]


def test_an_array_that_was_pruned_may_be_pruned_again():
    done = {1}
    made = job(array=4)(lambda i: i).ensure(lambda i: i in done)
    assert list(made.prune().array) == [0, 2, 3]
    done.add(3)
    assert list(made.prune().array) == [0, 2]
    assert list(Plan([made])[made].places) == [0, 2]


def test_terminal_nodes_with_prune_leaves_out_those_that_are_done():
    a = make("a", done=True)
    b, c = make("b").after(a), make("c", done=True).after(a)
    assert terminal_nodes(a) == [b, c]
    assert terminal_nodes(a, prune=True) == [b]
    assert b.dependencies == []


# Size


def test_long_chains_are_planned_without_recursion(long_chain):
    plan = Plan([long_chain[-1]], finished=lambda job: [0] if job is long_chain[10] else [])
    assert [part.state for part in plan][9:12] == [IDLE, DONE, RUNS]


def test_ladders_of_diamonds_are_planned_in_linear_time(tall_ladder):
    assert len([part for part in Plan([tall_ladder[-1]]) if part.state is RUNS]) == 3 * len(tall_ladder) - 2


# Any graph


@st.composite
def graphs(draw):
    jobs = []
    for number in range(draw(st.integers(1, 8))):
        made = make(f"j{number}", done=draw(st.sampled_from([None, True, False])))
        for dep in draw(st.lists(st.sampled_from(jobs), max_size=3)) if jobs else ():
            made.after(dep, status=draw(st.sampled_from(["success", "failure", "any"])))
        jobs.append(made.waitfor(draw(st.sampled_from(["all", "all", "any"]))))
    asked = draw(st.lists(st.sampled_from(jobs), min_size=1, max_size=3))
    return jobs, asked


def possible(jobs):
    """By the definition: of each job, whether it is done, and whether it can still run, looked at alone."""
    found = {}
    for made in jobs:
        done = bool(made.conditions) and all(condition.holds("") for condition in made.conditions)
        verdicts = []
        for dep, edge in made.edges.items():
            dep_done, dep_can = found[dep]
            verdicts.append(
                {"success": dep_done or dep_can, "failure": not dep_done and dep_can, "any": True}[edge.status]
            )
        can = not verdicts or (any if made.wait_for == "any" else all)(verdicts)
        found[made] = done, can
    return found


@settings(deadline=None, max_examples=150)
@given(graphs())
def test_plans_of_any_graph_agree_with_the_definition(drawn):
    jobs, asked = drawn
    plan, facts = Plan(asked), possible(jobs)
    for part in plan:
        done, can = facts[part.job]
        if part.state is not IDLE:
            assert part.state is (DONE if done else RUNS if can else NEVER)
        if part.state is RUNS:
            for dep in part.edges:
                assert plan[dep].state is RUNS  # what it still waits for does run
    for made in asked:
        assert plan[made].state is not IDLE
    # Nothing runs that nobody needs.
    needed = {id(dep) for part in plan if part.state is RUNS for dep in part.edges} | {id(made) for made in asked}
    assert all(id(part.job) in needed for part in plan if part.state is RUNS)


@settings(deadline=None, max_examples=100)
@given(graphs())
def test_pruning_changes_nothing_about_what_runs(drawn):
    _, asked = drawn
    before = {part.job: part.state for part in Plan(asked)}
    for made in asked:
        made.prune()
    after = {part.job: part.state for part in Plan(asked)}
    assert {made for made, state in after.items() if state is RUNS} == {
        made for made, state in before.items() if state is RUNS
    }


def test_a_plan_goes_by_the_order_of_declaration_as_far_as_the_graph_allows():
    a, b, c, d = (make(name) for name in "abcd")
    c.after(a)
    d.after(b, c)
    assert [part.job for part in Plan([d, b])] == [a, b, c, d]
    a.after(d.detach(c))  # declared later than what comes after it
    order = [part.job for part in Plan([c])]
    assert order == [b, d, a, c]
    late = make("late")
    b.after(late)
    assert [part.job for part in Plan([c])] == [late, b, d, a, c]
