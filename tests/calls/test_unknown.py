import copy
import math
import operator
import os

import pytest

from weft.calls.unknown import Unknown, is_unknown, why_unknown
from weft.errors import UnknownValueError

UNARY = [
    *(len, iter, next, reversed, bool, str, bytes, int, float, complex, abs, round, dir, hex, list, sum, sorted),
    *(operator.index, operator.neg, operator.pos, operator.invert, operator.not_, math.floor, math.ceil, math.trunc),
    *(os.fspath, copy.copy, copy.deepcopy, lambda x: f"{x}", lambda x: x.attribute, lambda x: x[0], lambda x: x()),
    *(lambda x: 1 in x, lambda x: operator.mod("%d", x), lambda x: isinstance(x, float), lambda x: x.__class__),
    *(lambda x: setattr(x, "a", 1), lambda x: delattr(x, "a"), lambda x: operator.setitem(x, 0, 1)),
]
BINARY = [
    *(operator.add, operator.sub, operator.mul, operator.matmul, operator.truediv, operator.floordiv, operator.mod),
    *(divmod, pow, operator.lshift, operator.rshift, operator.and_, operator.or_, operator.xor),
    *(operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge),
]


@pytest.fixture
def unknown():
    return Unknown("the value of 'n'", "n is not known yet")


@pytest.mark.parametrize("use", UNARY)
def test_any_use_raises(unknown, use):
    with pytest.raises(UnknownValueError, match="n is not known yet"):
        use(unknown)


@pytest.mark.parametrize("use", BINARY)
def test_any_operator_raises_on_either_side(unknown, use):
    with pytest.raises(UnknownValueError, match="n is not known yet"):
        use(unknown, 3)
    with pytest.raises(UnknownValueError, match="n is not known yet"):
        use(3, unknown)


def test_it_may_be_passed_on_held_and_shown(unknown):
    assert [unknown][0] is unknown
    assert len({unknown}) == 1
    assert repr(unknown) == "<the value of 'n', not known yet>"


def test_it_is_recognised_without_being_used(unknown):
    assert is_unknown(unknown)
    assert not is_unknown(3)
    assert why_unknown(unknown) == "n is not known yet"
