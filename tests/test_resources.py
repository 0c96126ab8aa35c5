import pickle
from datetime import timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.errors import ArgumentError, ChoiceError
from weft.resources import Resources, Retries, Retry

KB, MB, GB, TB = 2**10, 2**20, 2**30, 2**40


def read(**words):
    return Resources.read("@task", **words)


# What is understood


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("8GB", 8 * GB), ("8G", 8 * GB), ("8g", 8 * GB), ("8 GiB", 8 * GB), (" 8gb ", 8 * GB)),
        *(("500 MiB", 500 * MB), ("1.5GB", 3 * GB // 2), ("64k", 64 * KB), ("2T", 2 * TB), ("1P", 1024 * TB)),
        *(("1000", 1000), ("12 B", 12), (1, 1), (8e9, 8 * 10**9), (np.int64(5), 5), ("0.5K", 512)),
    ],
)
def test_memory_is_read_in_steps_of_1024(text, size):
    memory = read(memory=text).memory
    assert memory == size
    assert type(memory) is int


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400), ("2d", 172800), ("1d12h", 129600)),
        *(("1.5h", 5400), ("1 hour 30 minutes", 5400), ("10 min", 600), ("3 secs", 3), ("1H 1S", 3601)),
        *(("10:00", 600), ("90:00", 5400), ("1:00:00", 3600), ("100:00:00", 360000), ("1-12:00:00", 129600)),
        *(("1-12", 129600), ("1-12:30", 131400), ("0-0:0:1", 1), ("60", 60), ("0.5", 0.5)),
        *((60, 60), (0.5, 0.5), (timedelta(hours=1), 3600), (np.float32(0.5), 0.5), (Fraction(1, 2), 0.5)),
    ],
)
def test_times_are_read_as_people_and_slurm_write_them(text, seconds):
    assert read(time=text).time == seconds
    assert type(read(time=text).time) in (int, float)


@given(st.integers(1, 2**50), st.sampled_from(["", "B", "k", "KB", "MiB", "m", "G", "TB"]), st.sampled_from(["", " "]))
def test_any_amount_of_memory_is_read_exactly(number, unit, space):
    steps = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4}[unit[:1].lower()]
    if number * 1024**steps < 2**63:
        assert read(memory=f"{number}{space}{unit}").memory == number * 1024**steps


@given(st.integers(1, 10**8))
def test_any_time_is_read_the_same_in_all_its_forms(seconds):
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    forms = [
        *(seconds, str(seconds), f"{seconds}s", f"{minutes}:{s:02}", f"{hours}:{m:02}:{s:02}", timedelta(0, seconds)),
        *(f"{days}-{h:02}:{m:02}:{s:02}", f"{days}d{h}h{m}m{s}s", f"{days} days {h} hours {m} minutes {s} seconds"),
    ]
    assert {read(time=form).time for form in forms} == {seconds}


@given(st.text())
def test_any_other_text_is_refused_by_a_choice_error(text):
    for word in ("cpus", "gpus", "memory", "time", "retries"):
        try:
            assert read(**{word: text}) != Resources()
        except ChoiceError as error:
            assert str(error).startswith(f"@task({word}=...) must be ")  # noqa: PT017 - it need not raise


def test_numbers_may_be_texts_and_whole_floats():
    assert read(cpus="4", gpus=" 0 ", retries="2") == Resources(cpus=4, gpus=0, retries=Retries(2))
    assert read(cpus=4.0).cpus == 4
    assert type(read(cpus=np.int32(4)).cpus) is int


def test_words_of_batch_systems_are_understood():
    assert read(ram="1GB", timelimit="1h") == Resources(memory=GB, time=3600)


def test_none_means_not_given():
    assert read(cpus=None, memory=None, ram="1K", retries=None) == Resources(memory=KB)


# What is refused


@pytest.mark.parametrize(
    "words",
    [
        *({"cpus": 0}, {"cpus": 1.5}, {"cpus": "four"}, {"cpus": "-1"}, {"cpus": ""}, {"gpus": -1}, {"retries": -1}),
        *({"memory": 0}, {"memory": "much"}, {"memory": "4 bananas"}, {"memory": 1.5}, {"memory": "0.5"}),
        *({"memory": "1e9"}, {"memory": "-1GB"}, {"memory": "99999999P"}, {"memory": float("nan")}),
        *({"time": 0}, {"time": -1}, {"time": "soon"}, {"time": ""}, {"time": float("inf")}, {"time": "0s"}),
        *({"time": "1:75"}, {"time": "1-25:00"}, {"time": "1:75:00"}, {"time": "1h1h"}, {"time": "2h45"}),
        *({"time": "30m1h"}, {"time": timedelta(0)}, {"time": "1:2:3:4"}, {"time": "UNLIMITED"}),
        *({"retries": "many"}, {"retries": {"oom": 1}}, {"retries": {"died": "often"}}),
    ],
    ids=repr,
)
def test_a_value_that_cannot_be_is_a_value_error(words):
    (word,) = words
    with pytest.raises(ChoiceError, match=rf"^@task\({word}=\.\.\.\) must be .*, got "):
        read(**words)


@pytest.mark.parametrize(
    "words",
    [
        *({"cpus": True}, {"cpus": [1]}, {"gpus": {}}, {"memory": False}, {"memory": b"8GB"}, {"time": []}),
        *({"time": True}, {"retries": Retry(2)}, {"retries": [1]}, {"retries": {"died": None}}),
    ],
    ids=repr,
)
def test_a_value_of_the_wrong_kind_is_a_type_error(words):
    (word,) = words
    with pytest.raises(ArgumentError, match=rf"^@task\({word}=\.\.\.\) must be .*, got "):
        read(**words)


def test_a_refusal_says_what_to_write_instead():
    with pytest.raises(ChoiceError, match=r'text such as "8GB" or "500 MiB" .*, got \'4 bananas\'$'):
        read(memory="4 bananas")
    with pytest.raises(ChoiceError, match=r"by user, died, infrastructure, memory or timeout, got {'oom': 1}$"):
        read(retries={"oom": 1})


@pytest.mark.parametrize(
    ("word", "meant"),
    [("cpu", "cpus"), ("memroy", "memory"), ("time_limit", "time"), ("nmae", "name"), ("Ram", "memory")],
)
def test_an_unknown_word_is_a_type_error_that_knows_what_was_meant(word, meant):
    options = "options: cpus, gpus, memory, name, retries, time"
    with pytest.raises(ArgumentError, match=rf"^using has no option '{word}'; did you mean '{meant}'\? {options}$"):
        Resources.read("using", "name", **{word: 1})


def test_a_word_that_is_like_no_other_is_a_type_error_that_lists_what_there_is():
    with pytest.raises(ArgumentError, match=r"^using has no option 'qq'; options: cpus, gpus, memory, retries, time$"):
        Resources.read("using", qq=1)


def test_two_words_for_one_thing_are_refused():
    with pytest.raises(ArgumentError, match="got both 'ram' and 'memory', which mean the same"):
        read(ram=1, memory=2)


# Resources as values


def test_what_was_read_can_be_read_again():
    needs = read(cpus=2, memory="8GB", time="1h", retries={"died": 2})
    assert read(**needs.words()) == needs
    assert Resources().words() == {}


def test_where_both_ask_the_later_word_wins():
    assert read(cpus=2, memory=1).merged(read(cpus=4, time=3)) == Resources(cpus=4, memory=1, time=3)
    assert read(gpus=1).merged(read(gpus=0)).gpus == 0


def test_equal_needs_are_equal_hash_alike_and_pickle():
    needs = read(cpus=2, retries={"memory": Retry(2, memory=1.5), "died": 1})
    same = read(retries={"died": "1", "memory": Retry(2, memory=1.5)}, cpus="2")
    assert {needs: 1}[same] == 1
    assert pickle.loads(pickle.dumps(needs)) == needs


# Retries


def test_a_number_counts_tries_after_any_failure():
    retries = read(retries=2).retries
    assert retries.allows("user", {})
    assert retries.allows("died", {"user": 1})
    assert retries.allows("user", {"user": 1, "died": 1}) is None
    assert read(retries=0).retries.allows("user", {}) is None


def test_a_dict_counts_tries_by_cause():
    retries = read(retries={"died": 1, "memory": Retry(2, memory=1.5)}).retries
    assert retries.allows("died", {"memory": 2}) == Retry(1)
    assert retries.allows("died", {"died": 1}) is None
    assert retries.allows("memory", {"memory": 1}) == Retry(2, memory=1.5)
    assert retries.allows("memory", {"memory": 2}) is None
    assert retries.allows("user", {}) is None


def test_the_next_try_asks_for_more():
    needs = read(cpus=2, memory=5, time=10)
    assert needs.grown(Retry(2, memory=1.5)) == Resources(cpus=2, memory=8, time=10)
    assert needs.grown(Retry(2, time=2)) == Resources(cpus=2, memory=5, time=20)
    assert Resources().grown(Retry(1, memory=2, time=2)) == Resources()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        *((lambda: Retry(-1), ChoiceError), (lambda: Retry("many"), ChoiceError), (lambda: Retry(None), ArgumentError)),
        *((lambda: Retry(1, memory=0), ChoiceError), (lambda: Retry(1, time=float("inf")), ChoiceError)),
        *((lambda: Retry(1, memory="2"), ArgumentError), (lambda: Retry(1, time=True), ArgumentError)),
    ],
)
def test_a_retry_that_cannot_be_is_refused_where_it_is_made(make, error):
    with pytest.raises(error, match=r"^Retry\((times|memory|time)=\.\.\.\) must be "):
        make()
