"""Patterns match, are filled, and are refused where they cannot be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.errors import ArgumentError, ChoiceError
from weft.procs.names import Pattern


def pattern(text, separator="::"):
    return Pattern(text, separator, "@Proto")


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("build::[env]", "build::prod", {"env": "prod"}),
        ("build::[env]", "build::a::b", {"env": "a::b"}),
        ("build::[env]", "build::", {"env": ""}),
        ("build::[env]", "rebuild::prod", None),
        ("build::[env]", "build", None),
        ("[a]::[b]", "x::y", {"a": "x", "b": "y"}),
        ("[a]::[b]", "::y", None),
        ("[a]::[b]", "x::y::z", {"a": "x", "b": "y::z"}),
        ("x-[a]::end", "x-1::end", {"a": "1"}),
        ("x-[a]::end", "x-1::2::end", None),
        ("x-[a]::end", "x-::end", None),
        ("plain", "plain", {}),
        ("plain", "plain2", None),
        ("a.b*::[x]", "a.b*::1", {"x": "1"}),
        ("a.b*::[x]", "aXb*::1", None),
        ("[line]", "two\nlines", {"line": "two\nlines"}),
        ("grüße/[n]", "grüße/ß 'x'", {"n": "ß 'x'"}),
    ],
)
def test_a_name_is_matched(text, name, found):
    assert pattern(text).match(name) == found


def test_another_separator_is_taken():
    assert pattern("a/[x]/[y]", "/").match("a/1/2/3") == {"x": "1", "y": "2/3"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a::[x]b", r"write 'a::\[x\]::b'"),
        ("[x][y]", "must begin with '::'"),
        ("[x]::[x]", r"\[x\] is twice"),
        ("a::[1x]", "name of a parameter"),
        ("a::[]", "name of a parameter"),
        ("a::[x y]", "name of a parameter"),
        ("", "must not be empty"),
    ],
)
def test_a_pattern_that_cannot_be_is_refused(text, says):
    with pytest.raises(ChoiceError, match=says):
        pattern(text)


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(ArgumentError, match="must be a text, got 3"):
        pattern(3)


def test_a_text_that_a_placeholder_cannot_stand_for_is_refused():
    with pytest.raises(ChoiceError, match="a='x::y' cannot stand in"):
        pattern("[a]::[b]").fill({"a": "x::y", "b": "z"})
    assert pattern("[a]::[b]").fill({"a": "z", "b": "x::y"}) == "z::x::y"


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@settings(max_examples=40)
@given(st.lists(TEXT, min_size=1, max_size=4), TEXT.filter(lambda text: "[" not in text and "]" not in text))
def test_what_is_filled_in_is_found_again(texts, separator):
    known = pattern(separator.join(["start", *(f"[p{n}]" for n in range(len(texts)))]), separator)
    values = {f"p{n}": text for n, text in enumerate(texts)}
    try:
        name = known.fill(values)
    except ChoiceError:
        assert any(separator in text + separator[:1] for text in texts) or len(separator) > 1 or not all(texts)
        return
    assert known.match(name) == values
