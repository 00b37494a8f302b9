"""arch.fields: a field that is not stated gets its value from the others."""

import copy
import pickle
from dataclasses import asdict, dataclass, replace

import pytest

from tritloom.arch.fields import UnlessStated, default, stated


@dataclass(frozen=True, kw_only=True)
class Box:
    width: int
    height: UnlessStated = UnlessStated()

    def __post_init__(self):
        default(self, "height", self.width)


def test_field_that_is_not_stated_gets_its_default():
    assert Box(width=3).height == 3
    assert Box(width=3, height=None) == Box(width=3)


def test_stated_field_keeps_its_value_even_where_that_is_zero():
    assert Box(width=3, height=0).height == 0


def test_field_that_nothing_defaults_is_told():
    class Raw:
        height = UnlessStated()

    raw = Raw()
    raw.height = None
    assert not stated(raw, "height")
    raw.height = 0
    assert stated(raw, "height")


def pickled(box):
    return pickle.loads(pickle.dumps(box))


@pytest.mark.parametrize("copied", [copy.copy, replace, pickled])
def test_instances_are_as_those_of_any_dataclass(copied):
    box = Box(width=3, height=4)
    assert copied(box) == box != Box(width=3)
    assert hash(copied(box)) == hash(box)
    assert asdict(box) == vars(box) == {"width": 3, "height": 4}
    assert repr(box).endswith("Box(width=3, height=4)")


def test_frozen_field_cannot_be_assigned():
    with pytest.raises(AttributeError, match="cannot assign to field 'height'"):
        Box(width=3).height = 4
