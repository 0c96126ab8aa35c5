"""Mistakes in what a user asks of Slurm are found before anything is submitted, and told."""

import pytest

from weft.errors import ArgumentError, ChoiceError
from weft.executors.cluster.slurm_options import command_line, options_in, refuse_mistakes
from weft.executors.cluster.slurm_script import script_of
from weft.executors.cluster.system import Sheet
from weft.resources import Resources


def sheet(*setup, resources=None, **options):
    resources = resources or Resources()
    return Sheet("a", range(2), ("true",), "/{place}", "/", resources, setup, options=tuple(options.items()))


def refused(kind, words, *setup, **options):
    with pytest.raises(kind, match=words):
        refuse_mistakes(sheet(*setup, **options))


def test_what_can_be_meant_is_taken():
    setup = (
        "#SBATCH --qos=high -C gpu  # ours",
        "",
        "# a comment",
        "#SBATCH --comment='a b'",
        "module load x",
        "# end",
    )
    refuse_mistakes(
        sheet(*setup, partition="debug", exclusive=None, array=False, nice=3, p="x", mem="3G", gres="lustre:1")
    )


@pytest.mark.parametrize(
    "name", ["array", "job_name", "output", "error", "dependency", "wrap", "wait", "J", "a", "help"]
)
def test_what_weft_decides_is_not_for_the_user_to_say(name):
    refused(ChoiceError, rf"^{name}=\.\.\.: --[a-z-]+ is not for you to say; w?", **{name: "1"})


@pytest.mark.parametrize(
    "line", ["--array=1-3", "-a 1-3", "-a1-3", "--arr 1-3", "-o x", "--depend=afterok:1", "--job=x"]
)
def test_nor_in_a_directive(line):
    refused(ChoiceError, r"^setup='#SBATCH .* is not for you to say", f"#SBATCH {line}")


def test_an_option_that_begins_like_one_of_ours_is_another_one():
    refuse_mistakes(sheet("#SBATCH --account=a --export=NONE --wckey=x", exclude="n1", err=False))


@pytest.mark.parametrize(
    ("word", "name"),
    [
        *(("cpus", "cpus_per_task"), ("memory", "mem"), ("memory", "mem_per_cpu"), ("gpus", "gres"), ("time", "t")),
        ("gpus", "gpus_per_node"),
    ],
)
def test_nothing_is_said_twice(word, name):
    resources = Resources.read("@task", **{word: 2})
    refused(
        ChoiceError, rf"{name}=\.\.\. says the same as {word}=\.\.\.; leave one", resources=resources, **{name: "2"}
    )
    refuse_mistakes(sheet(**{name: "2"}))
    refuse_mistakes(sheet(resources=resources, **{name: False}))


def test_a_value_is_one_line_of_text_or_a_number():
    refused(ArgumentError, r"nodelist=\.\.\. must be text or a number, None .* got \['n1'\]", nodelist=["n1"])
    refused(ChoiceError, r"comment=\.\.\. must be one line", comment="a\nb")
    refused(ChoiceError, r"comment=\.\.\. must be one line", comment="a\0b")


def test_a_name_is_written_without_dashes():
    refused(ChoiceError, "'--partition' cannot be an option of sbatch; write it without dashes", **{"--partition": "x"})


def test_a_directive_after_a_command_is_a_mix_up():
    words = r"'#SBATCH --qos=x' comes after the command 'module load a'.*put all lines with #SBATCH first"
    refused(ChoiceError, words, "#SBATCH --mem=1G", "module load a", "#SBATCH --qos=x")


def test_a_line_for_another_batch_system_is_a_mix_up():
    words = "'#CONDOR request_disk = 1GB' is for HTCondor; lines for Slurm begin with #SBATCH"
    refused(ChoiceError, words, "#CONDOR request_disk = 1GB")


def test_an_open_quote_is_no_directive():
    refused(ChoiceError, "is no directive: no closing quotation", "#SBATCH --comment='a")


def test_no_script_has_a_nul_in_it():
    refused(ChoiceError, "NUL", "echo \0")


def test_what_is_asked_for_makes_a_command_line():
    asked = sheet("#SBATCH --comment='a b'  # c", "ls", partition="debug", x=None, mail_type="END", p="q", nice=False)
    assert command_line(asked) == ["--partition=debug", "-x", "--mail-type=END", "-pq", "--comment=a b"]


def test_the_options_of_a_script_are_known(tmp_path):
    script = tmp_path / "script.sh"
    resources = Resources(cpus=2, memory=1, time=60.0)
    setup = ("#SBATCH -q high", "# note", "cat <<END\n#SBATCH --comment=text\nEND")
    script.write_text(script_of(sheet(*setup, resources=resources, partition="debug")))
    assert options_in(str(script)) == {
        *("job-name", "array", "output", "open-mode", "no-requeue", "cpus-per-task", "mem", "time", "partition", "q"),
    }
    assert options_in(str(tmp_path / "none")) == set()
