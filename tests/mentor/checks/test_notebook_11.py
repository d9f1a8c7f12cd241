"""The verifiers of notebook 11 accept what is right and refuse what is not."""

from __future__ import annotations

import math

import numpy as np

from accelgrad.mentor.checks import check


def pairwise(x):
    if len(x) <= 8:
        total = np.float32(0)
        for value in x:
            total = np.float32(total + value)
        return total
    half = len(x) // 2
    return np.float32(pairwise(x[:half]) + pairwise(x[half:]))


def by_folding(x):
    x = x.copy()
    while len(x) > 1:
        if len(x) % 2:
            x = np.append(x, np.float32(0))
        x = x[::2] + x[1::2]
    return x[0]


def test_two_right_pairwise_sums():
    assert check("11.pairwise", pairwise)
    assert check("11.pairwise", by_folding)


def test_wrong_sums_get_a_fitting_hint():
    def left_to_right(x):
        total = np.float32(0)
        for value in x:
            total += value
        return total

    assert "left to right" in check("11.pairwise", left_to_right).message
    assert "float32" in check("11.pairwise", lambda x: math.fsum(x.tolist())).message
    assert "not their sum" in check("11.pairwise", lambda x: x[: len(x) // 2].sum()).message
    assert "is there a return" in check("11.pairwise", lambda x: None).message

    def in_place(x):
        x[0] = x.sum()
        return x[0]

    assert check("11.pairwise", in_place).state == "wrong"


def logsumexp(x):
    largest, total = -math.inf, 0.0
    for value in x:
        if value > largest:
            total = total * math.exp(largest - value) + 1.0
            largest = value
        else:
            total += math.exp(value - largest)
    return largest + math.log(total)


def by_pairs(x):
    result = -math.inf
    for value in x:
        large, small = max(result, value), min(result, value)
        result = large + math.log1p(math.exp(small - large))
    return result


def test_two_right_logsumexps():
    assert check("11.logsumexp", logsumexp)
    assert check("11.logsumexp", by_pairs)


def test_wrong_logsumexps_get_a_fitting_hint():
    overflow = check("11.logsumexp", lambda x: math.log(sum(math.exp(value) for value in x)))
    assert "OverflowError" in overflow.message

    def twice(x):
        largest = max(x)
        return largest + math.log(sum(math.exp(value - largest) for value in x))

    assert "more than one walk" in check("11.logsumexp", twice).message

    def without_mending(x):
        largest, total = -math.inf, 0.0
        for value in x:
            largest = max(largest, value)
            total += math.exp(value - largest)
        return largest + math.log(total)

    assert "that is not the value" in check("11.logsumexp", without_mending).message
    assert check("11.logsumexp", ...).state == "open"


def test_intensities():
    assert check("11.intensity", lambda n: n / 6)
    assert check("11.intensity", lambda n: (2 * n**3) / (3 * 4 * n**2))


def test_wrong_intensities_get_a_fitting_hint():
    assert "bytes" in check("11.intensity", lambda n: 2 * n / 3).message
    assert "float64" in check("11.intensity", lambda n: n / 12).message
    assert "additions" in check("11.intensity", lambda n: n**3 / (8 * n**2)).message
    assert "function" in check("11.intensity", 5.0).message
