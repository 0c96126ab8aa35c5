"""Runs of jobs on a real Slurm: what it makes of a graph, and of a script that does not stay."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.work import PIPELINE, WEIRD, asked, call, ended, named
from hand import eventually
from jobs.samples import make
from jobs.scripts import finish, start, write
from weft import Run, State, job, schedule
from weft.rundir import all_runs

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = pytest.mark.usefixtures("slurm", "home")


# What it makes of a graph


def test_every_kind_of_edge_means_what_it_means_here(slurm):
    ok, bad = call(lambda: 1, name="ok"), call(lambda: 1 / 0, name="bad")
    lost = make("lost").after(bad)
    jobs = [
        make("after ok").after(ok),
        make("after bad, any").after(bad, status="any"),
        make("after bad, failure").after(bad, status="failure"),
        make("after ok, failure").after(ok, status="failure"),
        make("after lost, failure").after(lost, status="failure"),
        make("after lost, any").after(lost, status="any"),
        make("one of two").after(ok, bad).waitfor("any"),
        make("one of two bad").after(bad, lost).waitfor("any"),
        job(name="takes")(lambda x: x + 1).bind(ok),
    ]
    run = ended(schedule(*jobs, backend="slurm"))
    good, never = State.SUCCEEDED, State.UNREACHABLE
    assert named(run) == {
        "ok": good,
        "bad": State.FAILED,
        "lost": never,
        "after ok": good,
        "after bad, any": good,
        "after bad, failure": good,
        "after ok, failure": never,
        "after lost, failure": never,
        "after lost, any": good,
        "one of two": good,
        "one of two bad": never,
        "takes": good,
    }
    assert run["takes"] == 2
    assert len(asked(slurm, "sbatch")) == 12
    assert eventually(lambda: not slurm.ask("squeue", "-h"))


def test_arrays_follow_each_other_as_a_whole_and_element_by_element(slurm, tmp_path):
    done = tmp_path / "done"
    done.touch()
    a = job(name="a", array=4)(lambda i: 1 / (i - 1) and i)
    each = job(name="each", array=4)(lambda i: 10 * i).after(a, each=True)
    over = make("over").after(a, status="any")
    failed = make("failed").after(a, status="failure")
    never = make("never").after(a)
    # One element is there already, and the one that is not follows just one.
    first = job(name="first", array=3)(lambda i: done.unlink(missing_ok=True) or i).ensure(
        lambda i: i != 1 or not done.exists()
    )
    second = job(name="second", array=3)(lambda i: i).after(first, each=True)
    alone = job(name="alone", array=4)(lambda i: done.unlink(missing_ok=True) or i).after(a, each=True)
    alone.ensure(lambda i: i != 2 or not done.exists())
    lost = job(name="lost", array=4)(lambda i: i).after(a, each=True)
    lost.ensure(lambda i: i != 1 or not done.exists())
    run = ended(schedule(each, over, failed, never, second, alone, lost, backend="slurm"))
    assert run.elements(alone)[2] is State.SUCCEEDED
    assert run.elements(lost)[1] is State.UNREACHABLE
    assert list(run.elements(each).values()) == [State.SUCCEEDED, State.UNREACHABLE, State.SUCCEEDED, State.SUCCEEDED]
    assert named(run)["over"] is named(run)["failed"] is State.SUCCEEDED
    assert named(run)["never"] is State.UNREACHABLE
    assert run.elements(first) == {0: State.UP_TO_DATE, 1: State.SUCCEEDED, 2: State.UP_TO_DATE}
    assert run[second] == [0, 1, 2]


def test_conditions_of_whole_arrays_are_jobs_of_their_own(slurm, tmp_path):
    def array(name, before, after):
        made = job(name=name, array=2)(lambda i: i)
        made.ensure(lambda: before, when="before").ensure(lambda: after)
        return made, make(f"after {name}").after(made), make(f"failed {name}").after(made, status="failure")

    graph = [*array("good", True, True), *array("early", False, True), *array("late", True, False)]
    run = ended(schedule(*graph, backend="slurm", prune=False))
    good, bad, never = State.SUCCEEDED, State.FAILED, State.UNREACHABLE
    assert [named(run)[made.name] for made in graph] == [good, good, never, bad, never, good, bad, never, good]


def test_arrays_larger_than_slurm_takes_are_submitted_in_parts(slurm):
    slurm.configure(MaxArraySize=4)
    array = job(name="array", array=list("abcdefg"))(lambda i: print(i) or i)
    last = job(name="last")("".join).bind(array)
    run = ended(schedule(last, backend="slurm"))
    assert run[last] == "abcdefg"
    assert run.log(array, "f") == "f\n"
    assert len(run.ids[array].split(",")) == 2


def test_what_is_asked_for_is_asked_of_slurm(slurm, gate):
    made = job(
        name="array",
        array=5,
        array_throttle=2,
        cpus=2,
        memory="200MB",
        time="90s",
        env={"MODE": "it's"},
        setup=["#SBATCH --comment=mine", "export ONE=1"],
        nice=7,
        partition="debug",
    )(lambda i: gate.wait() or (os.environ["MODE"], os.environ["ONE"], os.environ["SLURM_CPUS_PER_TASK"]))
    run = schedule(made, backend="slurm")
    gate.arrived(2)
    (element, *_) = slurm.ask("squeue", "-h", "-t", "running", "-o", "%F_%K").split()
    facts = slurm.job(element)
    assert (facts["NumCPUs"], facts["TimeLimit"], facts["Comment"]) == ("2", "00:02:00", "mine")
    assert facts["Command"] == str(run.path / "tasks" / "array" / "script.sh")
    assert "JobArrayTaskLimit" in slurm.ask("squeue", "-h", "-o", "%r")
    gate.open()
    assert ended(run)[made] == [("it's", "1", "2")] * 5


def test_all_works_in_a_folder_with_any_name(slurm, tmp_path, monkeypatch):
    folder = tmp_path / WEIRD
    folder.mkdir()
    monkeypatch.chdir(folder)
    array = job(name="a\nb/c %j", array=["x y", "z\n"])(lambda i: print(i, end="") or os.getcwd())
    run = ended(schedule(array, make("b").after(array), backend="slurm", name="my\nrun"))
    assert run[array] == [str(folder)] * 2
    assert run.log(array, "z\n") == "z\n"


@pytest.mark.parametrize("script", ["pi.py", "dynamic.py"])
def test_examples_give_the_same_on_a_cluster(slurm, tmp_path, script):
    said, left = {}, {}
    for backend in ("local", "slurm"):
        folder = tmp_path / backend
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, EXAMPLES / script, "--backend", backend],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        said[backend] = [line for line in done.stdout.splitlines() if not line.startswith(("run ", "estimate "))]
        files = [path for path in folder.rglob("*") if path.is_file() and ".weft" not in path.parts]
        left[backend] = {str(path.relative_to(folder)): path.read_text() for path in files}
    assert said["slurm"] == said["local"]
    assert left["slurm"] == left["local"]
    assert len(left["slurm"]) == (9 if script == "pi.py" else 0)


def test_the_pipeline_of_the_docs_runs_and_prints_what_they_say(slurm, tmp_path, weft):
    page = (EXAMPLES.parent / "docs" / "jobs.md").read_text()
    section = page[page.index("## On Slurm") : page.index("## When the driver dies")]
    (script,) = re.findall(r"^```py\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    session, dry = re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    (tmp_path / "pipeline.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-m", "weft", "run", "--dry", "pipeline.py"], capture_output=True, text=True, check=True
    )
    assert f"$ weft run --dry pipeline.py\n{done.stdout}" == dry
    (tmp_path / "pipeline.py").write_text(script.replace("array=100", "array=20"))
    done = finish(start(tmp_path / "pipeline.py"))
    assert done.returncode == 0, done.stderr
    told = re.sub(r"\d{8}T\S+-pipeline-[0-9a-f]{4}", all_runs()[0].name, session)
    assert done.stderr.splitlines()[-1] in told  # before that it may say that it takes a while
    (head,) = [line for line in session.splitlines() if line.startswith("job ")]
    assert head in weft("status", "-1").splitlines()
    ended(Run.load("-1"))
    assert weft("logs", "-1", "report").startswith("pi is about 3.14")
    assert "pi is about 3.141\n" in session


# Nobody stays


def test_the_script_ends_and_its_jobs_do_not(slurm, tmp_path, weft):
    done = finish(start(write(tmp_path, PIPELINE)))
    assert done.returncode == 0, done.stderr
    assert "is in the hands of slurm (3 submissions)" in done.stderr
    assert eventually((tmp_path / "begun").exists)
    run = Run.load("-1")
    assert set(run.ids) == {"first", "second", "third"}
    said = weft("status", "-1")
    assert re.search(rf"first +running +[\d.]+s +{run.ids['first']}\n", said)
    assert re.search(rf"second +wanted +{run.ids['second']}\n    slurm: PENDING \(Dependency\)", said)
    assert weft("logs", "-1", "first") == "begun\n"
    assert "no runs that are over" in weft("clean", "--older", "0", "--commit")
    (tmp_path / "go").touch()
    assert ended(run)["second"] == 6
    assert named(run) == dict.fromkeys(("first", "second", "third"), State.SUCCEEDED)
    assert "finished" in weft("status")
    assert "1 run deleted" in weft("clean", "--older", "0", "--commit")


def test_a_script_that_runs_again_while_it_is_queued_submits_nothing_twice(slurm, tmp_path):
    script = write(tmp_path, PIPELINE)
    finish(start(script))
    again = finish(start(script))
    assert again.returncode == 0, again.stderr
    assert "goes on: " in again.stderr
    assert "(nothing is missing)" in again.stderr
    assert len(asked(slurm, "sbatch")) == 3
    assert len(all_runs()) == 1
    (tmp_path / "go").touch()
    assert ended(Run.load("-1"))["second"] == 6


def test_a_submitter_that_is_killed_half_way_is_gone_on_with(slurm, tmp_path, weft):
    """When sbatch is about to answer the second time: that job is there, and nobody has heard its id."""
    kill = tmp_path / "killme"
    second = f'"$REAL" "$@" >/dev/null; touch {kill}; sleep 60'
    lines = f'[ -e "$0.first" ] && {{ {second}; }}; touch "$0.first"; exec "$REAL" "$@"'
    slurm.twist("sbatch", lines)
    process = start(write(tmp_path, PIPELINE))
    assert eventually(kill.exists)
    process.kill()
    process.communicate()
    slurm.straighten("sbatch")
    assert "cut short" in weft("status")
    slurm.forget_calls()
    again = finish(start(tmp_path / "script.py"))
    assert again.returncode == 0, again.stderr
    assert len(asked(slurm, "sbatch")) == 1
    (tmp_path / "go").touch()
    assert ended(Run.load("-1"))["second"] == 6
    assert len(all_runs()) == 1


def test_a_run_is_cancelled_from_elsewhere_with_all_that_it_has_started(slurm, tmp_path, weft):
    body = PIPELINE.replace("return 5", "subprocess.run(['sleep', '600'])").replace("(0.05)", "(0.01)")
    finish(start(write(tmp_path, body)))
    assert eventually((tmp_path / "begun").exists)
    run = Run.load("-1")
    said = weft("cancel", "-1")
    assert said == f"run {run.name} cancelled\n"
    assert slurm.ask("squeue", "-h") == ""
    assert named(Run.load("-1"))["first"] is State.CANCELLED
    assert eventually(lambda: not slurm.pids(run.ids["first"]))
    assert "nothing to cancel" in weft("cancel", "-1")


# Many


def test_ten_thousand_elements_are_one_submission(slurm, weft):
    array = job(name="array", array=10_000, partition="closed")(noop_of)
    run = schedule(make("last").after(array), backend="slurm")
    assert sum(line.startswith("sbatch --parsable") for line in slurm.calls()) == 2
    assert re.search(r"array +wanted +0/10000", weft("status", "-1"))
    run.cancel()
    assert set(run.elements(array).values()) == {State.CANCELLED}
    assert len(asked(slurm, "scancel")) == 1
    assert slurm.ask("squeue", "-h") == ""


def test_few_questions_are_asked_whatever_the_number_of_jobs(slurm):
    slurm.forget_calls()
    array = job(name="array", array=30)(noop_of)
    run = ended(schedule(*(make(f"j{number}") for number in range(5)), make("last").after(array), backend="slurm"))
    assert run.ok
    assert len(asked(slurm, "sbatch")) == 7
    looks = len(asked(slurm, "squeue"))
    assert set(named(run).values()) == {State.SUCCEEDED}
    assert len(asked(slurm, "squeue")) == looks


def noop_of(i):
    return i


# With a driver


def test_some_jobs_here_and_some_there(slurm):
    here = call(lambda: os.environ.get("SLURM_JOB_ID"), name="here", backend="threads")
    there = job(name="there", array=2)(lambda i: os.environ["SLURM_JOB_ID"])
    last = job(name="last", backend="threads")(lambda a, b: (a, b)).bind(here, there)
    run = schedule(last, backend="slurm", poll_interval=0.2)
    assert run[last][0] is None
    assert all(each.isdecimal() for each in run[last][1])


def test_a_driver_that_is_killed_leaves_nothing_in_the_queue_to_the_next_one(slurm, tmp_path):
    body = """
    @job(backend="threads")
    def here(xs):
        return sum(xs)

    @job(array=3, cpus=8)
    def there(i):
        Path(f"begun-{i}").touch()
        while not Path("go").exists():
            time.sleep(0.05)
        return i

    @job(array=40, cpus=8)
    def more(i):
        return 1

    if __name__ == "__main__":
        print(schedule(here.bind(there), more, backend="slurm", poll_interval=0.2)["here"])
    """
    process = start(write(tmp_path, body))
    assert eventually(lambda: all((tmp_path / f"begun-{i}").exists() for i in range(3)))
    process.kill()
    process.communicate()
    before = set(slurm.ask("squeue", "-h", "-o", "%F").split())
    (tmp_path / "go").touch()
    again = finish(start(tmp_path / "script.py"))
    assert (again.returncode, again.stdout) == (0, "3\n"), again.stderr
    assert "taking over run" in again.stderr
    assert len(all_runs()) == 1
    assert {slurm.state(number) for number in before} <= {"CANCELLED", "COMPLETED", ""}


def test_memory_grows_from_try_to_try(slurm, tmp_path):
    from weft import Retry

    def work():
        first = not (tmp_path / "was").exists()
        (tmp_path / "was").touch()
        if first:
            raise MemoryError
        return os.environ["SLURM_MEM_PER_NODE"]

    made = call(work, name="a", memory="100MB", retries={"memory": Retry(1, memory=2)})
    assert schedule(made, backend="slurm", poll_interval=0.2)[made] == "200"
