"""Commands are run for a time, in an environment of their own. Here they are small programs of the test's."""

import os
import re
import sys

import pytest

from contract.stage import ended
from hand import PATIENCE
from weft.errors import ChoiceError
from weft.executors.cluster.command import run
from weft.executors.cluster.slurm import SlurmSystem
from weft.executors.cluster.slurm_command import asking, submitting
from weft.executors.cluster.system import Busy, Order, Refused, Sheet
from weft.resources import Resources


def sh(script, *, timeout=PATIENCE, **options):
    return run(["sh", "-c", script], timeout=timeout, environment=dict(os.environ), **options)


def test_an_answer_has_all_that_was_said(tmp_path):
    answer = sh("pwd; echo 'caf\\351' >&2; exit 3", directory=str(tmp_path))
    assert (answer.code, answer.stdout, answer.stderr, answer.cut) == (
        3,
        f"{tmp_path}\n",
        "caf\N{REPLACEMENT CHARACTER}\n",
        False,
    )


def test_large_answers_are_read_whole():
    answer = sh("seq 200000; seq 200000 >&2")
    assert len(answer.stdout.splitlines()) == len(answer.stderr.splitlines()) == 200_000


@pytest.mark.parametrize("until", [None, re.compile("never said")])
def test_whoever_takes_too_long_is_ended_with_all_that_it_started(until):
    answer = sh("sleep 1000 & echo $!; echo so far >&2; wait", timeout=0.2, until=until)
    assert answer.cut
    assert answer.stderr == "so far\n"
    assert ended(int(answer.stdout))


def test_what_is_waited_for_ends_it():
    answer = sh("echo 5; echo one >&2; echo sleeping and retrying >&2; sleep 1000", until=re.compile("and retrying"))
    assert answer.cut
    assert (answer.stdout, answer.stderr) == ("5\n", "one\nsleeping and retrying\n")
    answer = sh("echo 5; echo one >&2; exit 1", until=re.compile("and retrying"))
    assert (answer.code, answer.cut, answer.stdout) == (1, False, "5\n")


def test_what_cannot_be_run_is_busy_or_refused():
    with pytest.raises(Busy, match="no-such-command cannot be run: No such file or directory"):
        run(["no-such-command"], timeout=1, environment={})
    with pytest.raises(Refused, match="true cannot be run: Argument list too long"):
        run(["true", "x" * 200_000], timeout=1, environment={"PATH": os.environ["PATH"]})


def test_ctrl_c_does_not_reach_it():
    tell = "import os; print(os.getsid(0) == os.getpid())"
    answer = run([sys.executable, "-c", tell], timeout=PATIENCE, environment=dict(os.environ))
    assert answer.stdout == "True\n"


# Environment -------------------------------------------------------------------------------------------------


@pytest.fixture
def environ(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_")):
            monkeypatch.delenv(name)
    given = {"SLURM_CONF": "/c", "SLURM_JOB_ID": "5", "SLURM_RESTART_COUNT": "1", "LC_ALL": "de_DE.UTF-8", "MINE": "1"}
    given |= dict.fromkeys(["SQUEUE_FORMAT", "SACCT_FORMAT", "SBATCH_ACCOUNT", "SBATCH_PARTITION"], "x")
    given |= dict.fromkeys(["SBATCH_MEM_PER_CPU", "SBATCH_NO_REQUEUE", "SBATCH_OPEN_MODE"], "x")
    given |= dict.fromkeys(["SBATCH_TIMELIMIT", "SBATCH_WAIT"], "1")
    for name, value in given.items():
        monkeypatch.setenv(name, value)


def of_slurm(environment):
    return {name for name in environment if re.match("SLURM_|SBATCH_|SQUEUE_|SACCT_|LC_ALL|MINE", name)}


def test_questions_are_asked_in_plain_words(environ):
    environment = asking()
    assert environment["LC_ALL"] == "C"
    assert environment["SLURM_BITSTR_LEN"] == "0"
    assert environment["SLURM_CONF"] == "/c"
    assert not {"SLURM_JOB_ID", "SQUEUE_FORMAT", "SACCT_FORMAT"} & set(environment)


def test_what_a_script_says_is_not_left_to_the_environment(environ):
    always = {"SLURM_CONF", "MINE", "LC_ALL"}
    defaults = {"SBATCH_ACCOUNT", "SBATCH_TIMELIMIT", "SBATCH_MEM_PER_CPU", "SBATCH_PARTITION"}
    rest = {"SBATCH_NO_REQUEUE", "SBATCH_OPEN_MODE"}
    assert of_slurm(submitting(())) == always | defaults | rest
    assert of_slurm(submitting({"account", "t", "mem", "p", "requeue", "open-mode"})) == always
    assert submitting(())["LC_ALL"] == "de_DE.UTF-8"  # it is the job's, too


# Where there is no Slurm -------------------------------------------------------------------------------------


def test_a_missing_slurm_is_told_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    sheet = Sheet("a", range(2), ("true",), "/{place}", "/", Resources())
    with pytest.raises(ChoiceError, match=r"sbatch is not found on this machine.*on a login node"):
        SlurmSystem().check(sheet)
    with pytest.raises(Busy, match="squeue cannot be run"):
        SlurmSystem().look(["1"])


def test_a_script_that_is_gone_is_refused(tmp_path):
    with pytest.raises(Refused, match="the script to submit is gone"):
        SlurmSystem().submit(Order("a", str(tmp_path / "none.sh"), range(2)))


def test_nothing_is_asked_about_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert SlurmSystem().look([]) == []
    SlurmSystem().cancel({})
