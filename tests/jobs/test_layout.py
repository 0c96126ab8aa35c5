"""Which submissions a graph comes to, and what each waits for in a batch system's words."""

from __future__ import annotations

import pytest

from jobs.samples import make
from weft.engine.states import State
from weft.jobs import Plan, job
from weft.jobs.cluster.layout import Layout, Never, Unsayable
from weft.jobs.cluster.register import Register
from weft.jobs.names import Named
from weft.jobs.prune import ordered
from weft.jobs.records import Record


class Laid:
    """A graph, laid out."""

    def __init__(self, *jobs, size=1000, lives=None, fates=None, states=None, register=None, pieces=None):
        order = ordered(jobs)
        named = Named(order)
        self.plan = Plan(jobs, order=order)
        self.records = {}
        for made, name in zip(order, named.names, strict=True):
            places = range(1) if made.left is None else made.left
            record = self.records[made] = Record(made, name, named.keys[made], made.elements, places)
            record.states = dict.fromkeys(places, State.WANTED) | (states or {}).get(made, {})
        self.fates = fates or {}
        self.register = register or Register(None)
        self.layout = Layout(
            self.plan,
            self.records,
            self.register,
            size,
            lives or {},
            lambda sub, place: self.fates.get((sub.number, place)),
            pieces,
        )
        self.never = []
        self.subs = []
        for part in self.plan:
            if part.state is State.WANTED:
                try:
                    self.subs += self.layout.lay(part)
                except Never:
                    self.never.append(part.job.name)

    @property
    def lines(self):
        return [told(sub) for sub in self.subs]


def told(sub):
    """A submission as a line, such as ``b[0-9] after success of a, any of c``."""
    name = sub.key if sub.role == "call" else f"{sub.key}+{sub.role}"
    if sub.array and sub.role == "call":
        places = sub.places
        name += f"[{places[0]}-{places[-1]}]" if isinstance(places, range) else f"{list(places)}"
    waits = [f"{how} of {told(dep).partition(' after ')[0]}" for dep, how in sub.after]
    return name + (f" after {' or '.join(waits) if sub.any else ', '.join(waits)}" if waits else "")


def array(name, count=3, **options):
    return job(name=name, array=count, **options)(lambda i: i)


def test_a_job_is_one_submission_and_so_is_an_array():
    a = array("a", 10)
    b = make("b").after(a)
    assert Laid(b).lines == ["a[0-9]", "b after success of a[0-9]"]


def test_edges_are_what_a_batch_system_knows():
    a = make("a")
    jobs = [
        make("ok").after(a),
        make("over").after(a, status="any"),
        make("bad").after(a, status="failure"),
        job(name="taker")(lambda x: x).bind(a),
    ]
    assert Laid(*jobs).lines == [
        "a",
        "ok after success of a",
        "over after any of a",
        "bad after failure of a",
        "taker after success of a",
    ]


def test_who_asks_for_a_failure_also_waits_for_what_that_job_waits_for():
    """Else it would run where that job was never reached."""
    a, b = make("a"), make("b")
    c = make("c").after(a).after(b, status="any")
    d = make("d").after(c, status="failure")
    e = make("e").after(d, status="failure")
    assert Laid(e).lines[-2:] == [
        "d after failure of c, success of a, any of b",
        "e after failure of d, failure of c, success of a, any of b",
    ]


def test_one_of_several_is_enough():
    a, b = make("a"), make("b")
    c = make("c").after(a).after(b, status="any").waitfor("any")
    assert Laid(c).lines[-1] == "c after success of a or any of b"


def test_element_follows_element():
    a = array("a")
    b = array("b").after(a, each=True)
    c = array("c").after(a).after(b, each=True)
    assert Laid(c).lines == ["a[0-2]", "b[0-2] after each of a[0-2]", "c[0-2] after success of a[0-2], each of b[0-2]"]


def test_only_elements_that_are_left_are_submitted_and_follow_those_that_are():
    done = {"a": {0}, "b": {2}}
    a = array("a", 4).ensure(lambda i: i in done["a"])
    b = array("b", 4).ensure(lambda i: i in done["b"]).after(a, each=True)
    assert Laid(b).lines == [
        "a[1-3]",
        "b[0-0]",
        "b[1, 3] after each of a[1-3]",
    ]


def test_one_element_follows_another_by_its_place():
    a = array("a", 4)
    b = array("b", 4).ensure(lambda i: i != 2).after(a, each=True)
    (_, second) = Laid(b).subs
    assert [(dep.key, how) for dep, how in second.after] == [("a", 2)]
    c = array("c", 4).after(array("x", 4).ensure(lambda i: i != 2), each=True)
    assert Laid(c).lines == ["x[2-2]", "c[0, 1, 3]", "c[2-2] after success of x[2-2]"]


def test_what_is_done_and_what_has_no_elements_is_not_submitted():
    a, empty = make("a", done=True), array("empty", 0).after(make("x"))
    b = make("b").after(a, empty)
    c = make("c").after(empty, status="any")
    assert Laid(b, c).lines == ["x", "b after success of x", "c after any of x"]


def test_conditions_of_a_whole_array_are_small_jobs_before_and_after_it():
    a = make("a")
    b = array("b").after(a).ensure(lambda: True, when="before").ensure(lambda: False)
    c = make("c").after(b)
    d = make("d").after(b, status="any")
    e = make("e").after(b, status="failure")
    assert Laid(c, d, e).lines == [
        "a",
        "b+before after success of a",
        "b[0-2] after success of b+before",
        "b+after after success of b[0-2]",
        "c after success of b+after",
        "d after any of b[0-2], any of b+after",
        "e after failure of b+after, any of b[0-2], success of a",
    ]


def test_an_array_that_is_too_large_is_several():
    a = array("a", 8)
    b = array("b", 8).after(a, each=True)
    c = make("c").after(b)
    laid = Laid(c, size=3)
    assert laid.lines == [
        *("a[0-2]", "a[3-5]", "a[6-7]"),
        *("b[0-2] after each of a[0-2]", "b[3-5] after each of a[3-5]", "b[6-7] after each of a[6-7]"),
        "c after success of b[0-2], success of b[3-5], success of b[6-7]",
    ]
    assert [list(sub.indices) for sub in laid.subs[:3]] == [[0, 1, 2], [0, 1, 2], [0, 1]]


def test_elements_that_take_too_many_words_are_several():
    def pieces(places):
        return [places[at : at + 2] for at in range(0, len(places), 2)]

    a = array("a", 10).ensure(lambda i: i % 2 == 0)
    b = array("b", 10).ensure(lambda i: i in (1, 9)).after(a, each=True)
    assert Laid(b, pieces=pieces).lines == [
        *("a[1, 3]", "a[5, 7]", "a[9-9]"),
        *("b[0, 2]", "b[4, 6]", "b[8-8]"),
        *("b[3-3] after 3 of a[1, 3]", "b[5, 7] after each of a[5, 7]"),
    ]


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (lambda: make("c").after(make("a"), make("b")).waitfor("any").bind(), None),
        (
            lambda: job(name="c")(lambda x: x).bind(make("x")).after(make("a"), make("b")).waitfor("any"),
            "one of several",
        ),
        (lambda: array("b").after(array("a"), each=True, status="any"), "comes after each element"),
        (lambda: make("c").after(make("b").after(make("x"), make("a")).waitfor("any"), status="failure"), "reached"),
        (lambda: make("c").after(array("a", 8), status="failure"), "a is several arrays, of which one may fail"),
        (lambda: make("c").after(make("x"), array("a", 8)).waitfor("any"), "a is more than one"),
        (lambda: array("a", 8, array_throttle=2), "array_throttle=2 of a"),
        (lambda: make("c").after(array("b").after(array("a"), each=True), status="failure"), "differs by element"),
        (lambda: make("c").after(array("a", 0), status="failure"), "cannot fail"),
    ],
)
def test_what_a_batch_system_cannot_be_told_is_said(graph, why):
    if why is None:
        assert Laid(graph(), size=3).lines
        return
    with pytest.raises(Unsayable, match=why):
        Laid(graph(), size=3)


# When something has ended already


def ended(laid, **fates):
    """Say what became of submissions, by the keys of their jobs, before the others are laid out."""
    laid.fates.update(
        {(sub.number, place): fates[sub.key] for sub in laid.subs if sub.key in fates for place in sub.places}
    )


def late(*jobs, **fates):
    """Lay out the last of these jobs when what became of others is known; nothing where it can never run."""
    laid = Laid(*jobs[:-1])
    ended(laid, **fates)
    plan = Plan(jobs)
    laid.layout._plan = plan
    record = Record(jobs[-1], jobs[-1].name, jobs[-1].name, jobs[-1].elements, range(1))
    record.states = {0: State.WANTED}
    laid.layout._records[jobs[-1]] = record
    try:
        return [told(sub) for sub in laid.layout.lay(plan[jobs[-1]])]
    except Never:
        return []


@pytest.mark.parametrize(
    ("status", "good", "line"),
    [
        ("success", True, ["b"]),
        ("success", False, []),
        ("failure", True, []),
        ("failure", False, ["b"]),
        ("any", True, ["b"]),
        ("any", False, ["b"]),
    ],
)
def test_what_has_ended_is_no_dependency_or_says_that_it_never_runs(status, good, line):
    a = make("a")
    assert late(a, make("b").after(a, status=status), a=good) == line


def test_of_several_ways_those_that_are_closed_are_left_out():
    a, b, c = make("a"), make("b"), make("c")
    last = make("d").after(a, b, c).waitfor("any")
    assert late(a, b, c, last, a=False) == ["d after success of b or success of c"]
    assert late(a, b, c, last, a=False, b=False) == ["d after success of c"]
    assert late(a, b, c, last, a=False, b=False, c=False) == []
    assert late(a, b, c, last, b=True) == ["d"]


def test_who_waits_for_its_turn_sees_what_has_ended_meanwhile():
    a, b = make("a"), make("b")
    laid = Laid(make("all").after(a, b), make("one").after(a, b).waitfor("any"))
    everything, one = laid.subs[2:]
    ended(laid, a=True)
    laid.layout.settle(everything)
    laid.layout.settle(one)
    assert (told(everything), told(one)) == ("all after success of b", "one")
    laid = Laid(make("all").after(a, b), make("one").after(a, b).waitfor("any"))
    everything, one = laid.subs[2:]
    ended(laid, a=False)
    with pytest.raises(Never):
        laid.layout.settle(everything)
    laid.layout.settle(one)
    assert told(one) == "one after success of b"


# Going on with what is in the queue


def test_what_is_in_the_queue_is_not_submitted_again():
    a = array("a")
    b = make("b").after(a)
    first = Laid(b)
    lives = {a: dict.fromkeys(range(3), first.subs[0]), b: {0: first.subs[1]}}
    assert Laid(b, lives=lives).lines == []


def test_what_waits_for_something_that_is_submitted_anew_waits_for_that_instead():
    a, b, c = make("a"), make("b"), make("c")
    last = make("d").after(a, b, c)
    first = Laid(last)
    lives = {made: {0: sub} for made, sub in zip((b, c, last), first.subs[1:], strict=True)}
    again = Laid(last, lives=lives)
    assert again.lines == ["a", "d after success of a, success of b, success of c"]
    assert [(sub.key, places) for sub, places in again.layout.stale] == [("d", [0])]
    running = Laid(last, lives=lives, states={last: {0: State.RUNNING}})
    assert running.lines == ["a"]


def test_of_an_array_with_a_failed_element_what_runs_counts_by_itself():
    a = array("a", 4)
    b = make("b").after(a)
    first = Laid(b)
    sub = first.subs[0]
    # 0 is over, 1 has failed, 2 runs, 3 waits
    again = Laid(
        b,
        lives={a: {2: sub, 3: sub}},
        fates={(sub.number, 0): True, (sub.number, 1): False},
        states={a: {2: State.RUNNING}},
        register=first.register,
    )
    (new, last) = again.subs
    assert list(new.places) == [0, 1, 3]  # the plan knows nothing of what is over here
    assert [(dep, how) for dep, how in last.after] == [(sub, 2), (new, "success")]
    assert [places for _, places in again.layout.stale] == [[3]]


def test_names_and_files_of_submissions_are_their_own(tmp_path):
    register = Register(tmp_path)
    one, two, three = (register.new(key, "call", range(1), array=False) for key in ("fit", "fit", "x" * 90))
    assert len({sub.name for sub in (one, two, three)}) == 3
    assert (one.script(tmp_path).name, two.script(tmp_path).name) == ("script.sh", "script-1.sh")
    assert len(three.name) < 64


def test_a_register_is_read_again_as_it_was(tmp_path):
    register = Register(tmp_path)
    a = register.new("a", "call", range(3, 9), 3, array=True)
    b = register.new("b", "after", [0], array=True)
    b.after, b.any = [(a, "each"), (a, 4)], True
    for sub in (a, b):
        register.begins(sub)
    register.made(a, "17")
    reader = Register(tmp_path)
    assert [(sub.key, list(sub.places), sub.id, sub.gone) for sub in reader.all] == [
        ("a", list(range(3, 9)), "17", False),
        ("b", [0], None, False),
    ]
    assert reader.all[1].after == [(reader.all[0], "each"), (reader.all[0], 4)]
    register.gone(b)
    reader.read()
    assert reader.all[1].gone
    assert reader.new("c", "call", range(1), array=False).number == 2
    register.close()


def test_a_register_whose_writer_was_killed_is_read_up_to_there(tmp_path):
    register = Register(tmp_path)
    register.begins(register.new("a", "call", range(1), array=False))
    register.close()
    with register.path.open("ab") as file:
        file.write(b'{"number":1,"na')
    again = Register(tmp_path)
    assert [sub.key for sub in again.all] == ["a"]
    again.begins(again.new("b", "call", range(1), array=False))
    again.close()
    assert [sub.key for sub in Register(tmp_path).all] == ["a", "b"]
