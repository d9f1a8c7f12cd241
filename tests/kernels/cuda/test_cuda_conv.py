"""The convolution and its adjoints on the card in the simulator against the plain formulas."""

from __future__ import annotations

import numpy as np
import pytest

from accelgrad.arrays import backend
from accelgrad.kernels import plain
from accelgrad.kernels.cuda import conv
from accelgrad.kernels.windows import Geometry

# x, weight, geometry
CASES = {
    "one pixel": ((1, 1, 1, 1), (1, 1, 1, 1), Geometry((1, 1), (0, 0), (1, 1))),
    "padded": ((2, 3, 5, 4), (4, 3, 3, 3), Geometry((1, 1), (1, 1), (1, 1))),
    "in steps": ((2, 2, 7, 6), (3, 2, 3, 2), Geometry((2, 3), (1, 0), (1, 1))),
    "with gaps": ((1, 2, 7, 7), (2, 2, 2, 3), Geometry((1, 2), (2, 1), (3, 2))),
    "one by one": ((3, 4, 3, 2), (5, 4, 1, 1), Geometry((1, 1), (0, 0), (1, 1))),
    "one by one in steps": ((2, 4, 5, 5), (2, 4, 1, 1), Geometry((2, 2), (0, 0), (1, 1))),
    "groups": ((2, 4, 5, 5), (6, 2, 3, 3), Geometry((1, 1), (1, 1), (1, 1), 2)),
    "each channel alone": ((2, 3, 4, 4), (3, 1, 3, 3), Geometry((2, 2), (1, 1), (1, 1), 3)),
    "a sequence": ((2, 3, 9), (4, 3, 4), Geometry((2,), (3,), (1,))),
    "a sequence with gaps": ((2, 2, 9), (2, 1, 3), Geometry((1,), (2,), (2,), 2)),
    "more than one block": ((1, 2, 48, 46), (2, 2, 3, 3), Geometry((1, 1), (1, 1), (1, 1))),
}


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


SEVERAL = [case for case, (shape, _, _) in CASES.items() if shape[0] > 1]


@pytest.mark.parametrize(
    ("case", "at_a_time"), [*((case, 1 << 26) for case in CASES), *((case, 40) for case in SEVERAL)]
)
def test_convolution_and_its_adjoints(case: str, at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x_shape, weight_shape, geometry = CASES[case]
    monkeypatch.setattr(conv, "COLUMNS", at_a_time)
    x, weight = numbers(*x_shape), numbers(*weight_shape, seed=1)
    bias = numbers(weight_shape[0], seed=2)
    for given in (bias, None):
        assert conv.forward_accepts(x, weight, given, geometry)
        y = conv.convolution(x, weight, given, geometry)
        np.testing.assert_allclose(y, plain.convolution(backend.CPU, x, weight, given, geometry), rtol=1e-12)
    grad, space = numbers(*y.shape, seed=3), x_shape[2:]
    assert conv.input_accepts(grad, weight, space, geometry)
    np.testing.assert_allclose(
        conv.convolution_input(grad, weight, space, geometry),
        plain.convolution_input(backend.CPU, grad, weight, space, geometry),
        rtol=1e-11,
        atol=1e-13,
    )
    kernel = weight_shape[2:]
    assert conv.weight_accepts(x, grad, kernel, geometry)
    np.testing.assert_allclose(
        conv.convolution_weight(x, grad, kernel, geometry),
        plain.convolution_weight(backend.CPU, x, grad, kernel, geometry),
        rtol=1e-11,
        atol=1e-13,
    )


def test_volumes_and_mixed_types_are_left_to_the_formula() -> None:
    geometry = Geometry((1, 1, 1), (0, 0, 0), (1, 1, 1))
    assert not conv.forward_accepts(numbers(1, 1, 3, 3, 3), numbers(1, 1, 2, 2, 2), None, geometry)
    flat = Geometry((1, 1), (0, 0), (1, 1))
    assert not conv.forward_accepts(numbers(1, 1, 3, 3), numbers(1, 1, 2, 2).astype("float32"), None, flat)
    turned = numbers(1, 3, 3, 1).transpose(0, 3, 1, 2)[:, :, ::-1]
    assert not conv.forward_accepts(turned, numbers(1, 1, 2, 2), None, flat)
