"""Texts become what annotations ask for, and nothing else."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Literal, Optional

import pytest

from weft.errors import ArgumentError, ChoiceError
from weft.procs.casts import annotations_of, cast, text_of


class Env(Enum):
    DEV = "dev"
    PROD = "prod"


class Level(Enum):
    LOW = 1


def even(text):
    number = int(text)
    if number % 2:
        raise ValueError("it is odd")
    return number


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        ("-3", int, -3),
        ("2.5", float, 2.5),
        ("x", str, "x"),
        ("3", object, "3"),
        ("Yes", bool, True),
        ("1", bool, True),
        ("on", bool, True),
        ("off", bool, False),
        ("No", bool, False),
        ("0", bool, False),
        ("3", int | None, 3),
        ("", int | None, None),
        ("none", Optional[int], None),  # noqa: UP045
        ("none", str | None, "none"),
        ("x", int | str, "x"),
        ("3", int | str, 3),
        ("dev", Env, Env.DEV),
        ("PROD", Env, Env.PROD),
        ("1", Level, Level.LOW),
        ("LOW", Level, Level.LOW),
        ("a/b", Path, Path("a/b")),
        ("4", even, 4),
        ("fast", Literal["fast", "slow"], "fast"),
        ("2", Literal[1, 2], 2),
        ("3", Annotated[int, "count"], 3),
    ],
)
def test_a_text_is_cast(text, kind, value):
    found = cast(text, kind, "n")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("x", int, "n must be int, got 'x'"),
        ("maybe", bool, "'true', '1', 'yes', 'on', 'false'"),
        ("x", int | None, "n must be int"),
        ("x", int | float, "got 'x'"),
        ("test", Env, "'DEV', 'PROD', 'dev', 'prod'"),
        ("3", even, "it is odd"),
        ("x", Literal["fast"], "'fast'"),
    ],
)
def test_a_text_that_is_no_such_value_is_refused(text, kind, says):
    with pytest.raises(ChoiceError, match=says):
        cast(text, kind, "n")


def test_an_annotation_that_no_text_can_be_is_refused():
    with pytest.raises(ArgumentError, match=r"list\[int\], which cannot be made of a text"):
        cast("1", list[int], "n")


@pytest.mark.parametrize("value", [True, False, 3, 2.5, Env.DEV, Level.LOW, Path("a/b"), "x"])
def test_a_value_comes_back_from_its_text(value):
    assert cast(text_of(value), type(value), "n") == value


def test_annotations_that_are_texts_are_resolved():
    class Local(Enum):
        A = "a"

    def function(context, env: "Env", n: "int | None", local: "Local"):
        return Local

    assert annotations_of(function) == {"env": Env, "n": int | None, "local": Local}


def test_an_annotation_that_cannot_be_resolved_is_named():
    def function(n: "Nonsense"):  # noqa: F821
        pass

    with pytest.raises(ArgumentError, match="annotation of the parameter 'n' of function, 'Nonsense'"):
        annotations_of(function)
