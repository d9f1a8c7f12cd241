"""Memory shared by DLPack: NumPy's types, and bfloat16, which NumPy alone cannot pass on."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad
from accelgrad.arrays import dlpack
from accelgrad.arrays.backend import CPU

pytestmark = pytest.mark.host


class Offer:
    """An object that speaks DLPack by :func:`dlpack.give`; an ``old`` one knows no versions."""

    def __init__(self, array, old=False):
        self.array, self.old, self.asked = array, old, []

    def __dlpack__(self, **options):
        self.asked.append(options)
        if self.old and "max_version" in options:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        return dlpack.give(self.array, options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_dlpack_both_ways():
    x = accelgrad.tensor([1.0, 2.0])
    assert np.from_dlpack(x).tolist() == [1, 2]
    assert accelgrad.from_dlpack(np.array([3.0])).tolist() == [3]


@pytest.mark.parametrize("old", [False, True], ids=["versioned", "old"])
def test_bfloat16_goes_out_and_comes_back_on_the_same_memory(old):
    kind = accelgrad.bfloat16.numpy
    array = np.arange(6).astype(kind).reshape(2, 3).T
    back = dlpack.take(CPU, Offer(array, old))
    assert back.dtype == kind and back.shape == (3, 2) and back.strides == array.strides
    assert np.shares_memory(back, array) and back.tolist() == array.tolist()


def test_other_types_take_numpys_own_way():
    array = np.arange(3, dtype=np.int16)
    offer = Offer(array)
    assert np.shares_memory(dlpack.take(CPU, offer), array)
    assert len(offer.asked) == 1


def test_a_type_that_nobody_here_knows_is_numpys_error():
    torch = pytest.importorskip("torch")
    strange = torch.zeros(2, dtype=torch.float8_e5m2)
    with pytest.raises((BufferError, RuntimeError)):
        dlpack.take(CPU, strange)
