"""Mistakes in what a user asks of HTCondor are found before anything is submitted, and told."""

import pytest

from weft.errors import ArgumentError, ChoiceError
from weft.executors.cluster.condor_options import names_in, refuse_folder, refuse_mistakes, refuse_unused
from weft.executors.cluster.system import Sheet
from weft.resources import Resources


def sheet(*setup, resources=None, **options):
    resources = resources or Resources()
    return Sheet("a", range(2), ("true",), "/{place}", "/", resources, setup, options=tuple(options.items()))


def refused(kind, words, *setup, transfer=False, **options):
    with pytest.raises(kind, match=words):
        refuse_mistakes(sheet(*setup, **options), transfer=transfer)


def test_what_can_be_meant_is_taken():
    setup = ('#CONDOR +ProjectName = "x"', "# a comment", "A=1", "#CONDOR MY.Own=3", "[ $A == 1 ]", "A= b", "a == b")
    refuse_mistakes(
        sheet(*setup, accounting_group="x", nice_user=True, priority=3, getenv=False, rank=None), transfer=False
    )


@pytest.mark.parametrize("name", ["executable", "Arguments", "log", "queue", "output", "universe", "max_retries"])
def test_what_weft_decides_is_not_for_the_user_to_say(name):
    refused(ChoiceError, rf"^{name}=\.\.\.: {name.lower()} is not for you to say; [ws]", **{name: "1"})
    refused(ChoiceError, r"^setup='#CONDOR .* is not for you to say", f"#CONDOR {name} = 1")


@pytest.mark.parametrize(
    ("word", "name"),
    [("cpus", "request_cpus"), ("memory", "Request_Memory"), ("gpus", "request_gpus"), ("time", "periodic_remove")],
)
def test_nothing_is_said_twice(word, name):
    resources = Resources.read("@task", **{word: 2})
    refused(
        ChoiceError, rf"{name}=\.\.\. says the same as {word}=\.\.\.; leave one", resources=resources, **{name: "2"}
    )
    refuse_mistakes(sheet(**{name: "2"}), transfer=False)


def test_a_value_is_one_line_of_text_or_a_number():
    refused(ArgumentError, r"rank=\.\.\. must be text, a number, True, False or None .* got \['n1'\]", rank=["n1"])
    refused(ChoiceError, r"rank=\.\.\. must be one line", rank="a\nb")
    refused(ChoiceError, "'--rank' cannot be a word of a submit description", **{"--rank": "x"})


def test_a_line_for_another_batch_system_is_a_mix_up():
    refused(ChoiceError, "'#SBATCH --mem=1G' is for Slurm; lines for HTCondor begin with #CONDOR", "#SBATCH --mem=1G")


@pytest.mark.parametrize("line", ["request_disk = 1GB", "+ProjectName = 'x'", "MY.Own =3"])
def test_a_line_of_the_description_without_its_mark_is_told(line):
    refused(
        ChoiceError, rf"is no line of shell; for the submit description: '#CONDOR {line[:3].replace('+', '.')}", line
    )


def test_a_text_in_the_script_may_look_like_a_description():
    refuse_mistakes(sheet("cat >settings <<END", "request_disk = 1GB", "END"), transfer=False)


@pytest.mark.parametrize("line", ["#CONDOR request_disk", "#CONDOR queue 3", "#CONDOR = 3", "#CONDOR if false"])
def test_what_says_nothing_is_no_directive(line):
    refused(ChoiceError, "is no directive: it does not say name = value, as in '#CONDOR request_disk = 1GB'", line)


def test_no_script_has_a_nul_in_it():
    refused(ChoiceError, "NUL", "echo \0")


def test_files_are_carried_only_where_files_are_carried():
    line = "#CONDOR transfer_input_files = /data/a"
    refused(ChoiceError, "with transfer=True only", line)
    refuse_mistakes(sheet(line), transfer=True)
    refuse_mistakes(sheet("#CONDOR transfer_input_files = /data/a, https://b/c"), transfer=True)
    refused(ChoiceError, "'a.csv' must be an absolute path, or a URL", f"{line}, a.csv", transfer=True)


@pytest.mark.parametrize("path", ["/a\nb", "/a\rb", "/a$$(x)", "/a\\/b", "/a\\"])
def test_a_folder_that_htcondor_cannot_have_is_told(path):
    with pytest.raises(ChoiceError, match="say another one by directory="):
        refuse_folder(path)


@pytest.mark.parametrize("path", ["", "/a b", "/$HOME $(x)", '/it\'s "a"', "/a\\b", "/ü\t"])
def test_any_other_folder_will_do(path):
    refuse_folder(path)


def test_a_word_that_nobody_has_use_for_is_told_as_it_was_given():
    names = names_in(sheet("#CONDOR requirments = Memory > 5", request_dsik="1GB"))
    said = "WARNING: the line '{}' was unused by condor_submit. Is it a typo?\n"
    with pytest.raises(ChoiceError, match=r"^setup='#CONDOR requirments.*'requirments'; did you mean 'requirements'"):
        refuse_unused(said.format("requirments = Memory > 5"), names)
    with pytest.raises(ChoiceError, match=r"^request_dsik=\.\.\.: .* did you mean 'request_disk'"):
        refuse_unused(said.format("request_dsik = 1GB"), names)
    with pytest.raises(ChoiceError, match=r"an attribute of your own is written \+zzz"):
        refuse_unused(said.format("zzz = 1"), names_in(sheet("#CONDOR zzz = 1")))
    refuse_unused(said.format("ours = 1") + "something else", names)
