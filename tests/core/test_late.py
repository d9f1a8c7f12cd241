"""Methods that upper rooms hang on lower classes: imported at the first call, and listed at the top."""

from __future__ import annotations

import pprint
import subprocess
import sys

import pytest

import accelgrad
from accelgrad.core import late
from accelgrad.core.context import Context


@pytest.fixture
def point():
    """A class that is open to upper rooms, forgotten again at the end of the test."""

    class Point:
        pass

    yield late.open_to_upper_rooms(Point)
    path = f"{__name__}:{Point.__qualname__}"
    late._open.pop(path, None)
    late._hung.pop(path, None)


def test_a_method_is_imported_when_it_is_first_called(point):
    late.hang(f"{__name__}:{point.__qualname__}", shown="pprint:pformat")
    assert isinstance(vars(point)["shown"], late.Late)
    assert point().shown().startswith("<")
    assert vars(point)["shown"] is pprint.pformat


def test_what_was_hung_before_the_class_existed_is_found_by_it():
    path = f"{__name__}:test_what_was_hung_before_the_class_existed_is_found_by_it.<locals>.Later"
    late.hang(path, number="numbers:Number")

    @late.open_to_upper_rooms
    class Later:
        pass

    try:
        assert vars(Later)["number"].place == "numbers:Number"
    finally:
        late._open.pop(path)
        late._hung.pop(path)


def test_a_closed_class_gets_nothing():
    class Closed:
        pass

    late.hang(f"{__name__}:{Closed.__qualname__}", shown="pprint:pformat")
    late._hung.pop(f"{__name__}:{Closed.__qualname__}")
    assert not hasattr(Closed, "shown")


@pytest.mark.parametrize("path", sorted(late._hung))
def test_every_place_in_the_list_can_be_imported(path):
    for place in late._hung[path].values():
        assert callable(late.Late(place).load())


def test_tensors_nodes_and_modules_draw_themselves():
    x = accelgrad.ones(2, requires_grad=True)
    y = (x * 2).sum()
    assert "<" in x._repr_html_() and "<" in y.grad_fn._repr_html_()
    assert isinstance(y.grad_fn, Context)
    assert "<" in accelgrad.nn.Linear(2, 3)._repr_html_()
    assert y.explain() is not None


def test_the_import_of_the_package_loads_no_room_that_draws():
    code = "import sys, accelgrad; print([m for m in sys.modules if 'viz' in m or 'mentor' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
