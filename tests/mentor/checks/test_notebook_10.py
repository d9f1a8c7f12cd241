"""The verifiers of notebook 10 accept what is right and refuse what is not."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import numpy as np

from accelgrad.mentor.checks import check


def in_pieces(path, size, md5):
    if not os.path.exists(path) or os.path.getsize(path) != size:
        return False
    state = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as stream:
        while chunk := stream.read(4096):
            state.update(chunk)
    return state.hexdigest() == md5.lower()


def at_once(path, size, md5):
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return False
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return len(content) == size and found.casefold() == md5.casefold()


def test_right_verifications():
    assert check("10.verify", in_pieces)
    assert check("10.verify", at_once)


def test_wrong_verifications_get_a_fitting_hint():
    def digest_only(path, size, md5):
        return os.path.exists(path) and in_pieces(path, os.path.getsize(path), md5)

    def capitals_refused(path, size, md5):
        return in_pieces(path, size, md5) and md5 == md5.lower()

    def first_piece(path, size, md5):
        if not os.path.exists(path) or os.path.getsize(path) != size:
            return False
        with open(path, "rb") as stream:
            return hashlib.md5(stream.read(512), usedforsecurity=False).hexdigest() == md5.lower()

    assert "one byte too few" in check("10.verify", digest_only).message
    by_size = check(
        "10.verify", lambda path, size, md5: os.path.exists(path) and os.path.getsize(path) == size
    )
    assert not by_size and "last bit was changed" in by_size.message
    assert "capital letters" in check("10.verify", capitals_refused).message
    assert "a file that is right" in check("10.verify", first_piece).message
    fragile = check(
        "10.verify", lambda path, size, md5: os.path.getsize(path) == size and at_once(path, size, md5)
    )
    assert not fragile and "FileNotFoundError" in fragile.message
    assert check("10.verify", ...).state == "open"


def by_permutation(fonts, number, seed):
    kinds = np.random.default_rng(seed).permutation(sorted(set(fonts)))
    return np.isin(fonts, kinds[:number])


def test_right_splits():
    assert check("10.split", by_permutation)

    def by_sample(fonts, number, seed):
        chosen = set(random.Random(seed).sample(sorted(set(fonts)), number))
        return [font in chosen for font in fonts]

    assert check("10.split", by_sample)


def test_wrong_splits_get_a_fitting_hint():
    def single_samples(fonts, number, seed):
        return np.random.default_rng(seed).random(len(fonts)) < 0.3

    def no_seed(fonts, number, seed):
        return by_permutation(fonts, number, 0)

    def unseeded(fonts, number, seed):
        return by_permutation(fonts, number, None)

    def drawn_by_sample(fonts, number, seed):
        chosen = np.random.default_rng(seed).choice(fonts, number)  # the same font may be drawn twice
        return np.isin(fonts, chosen)

    def indices(fonts, number, seed):
        return np.flatnonzero(by_permutation(fonts, number, seed))

    assert "both sides" in check("10.split", single_samples).message
    assert "is the seed used" in check("10.split", no_seed).message
    assert "two calls" in check("10.split", unseeded).message
    assert "are held out where" in check("10.split", drawn_by_sample).message
    assert "one bool for each sample" in check("10.split", indices).message
