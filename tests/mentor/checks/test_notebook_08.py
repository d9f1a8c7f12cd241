"""The verifiers of notebook 08 accept what is right and refuse what is not."""

from __future__ import annotations

import accelgrad
from accelgrad.mentor.checks import check
from accelgrad.nn.utils.rnn import pad_sequence


def real_steps(lengths, longest):
    return accelgrad.arange(longest) < lengths.unsqueeze(1)


def test_right_masks():
    assert check("08.mask", real_steps)
    assert check(
        "08.mask",
        lambda lengths, longest: accelgrad.tensor(
            [[place < length for place in range(longest)] for length in lengths.tolist()]
        ),
    )


def test_wrong_masks_get_a_fitting_hint():
    at_most = check("08.mask", lambda lengths, longest: accelgrad.arange(longest) <= lengths.unsqueeze(1))
    assert not at_most and "values are wrong" in at_most.message
    inverted = check("08.mask", lambda lengths, longest: ~real_steps(lengths, longest))
    assert not inverted and "values are wrong" in inverted.message
    floats = check("08.mask", lambda lengths, longest: real_steps(lengths, longest).float())
    assert not floats and "dtype accelgrad.float32" in floats.message
    own_width = check("08.mask", lambda lengths, longest: real_steps(lengths, int(lengths.max())))
    assert not own_width and "shape" in own_width.message
    assert check("08.mask", ...).state == "open"


def by_filling(x, lengths):
    return x.masked_fill(~real_steps(lengths, x.shape[1]).unsqueeze(2), float("-inf")).amax(1)


def test_right_maxima():
    assert check("08.max", by_filling)
    assert check(
        "08.max",
        lambda x, lengths: accelgrad.stack(
            [row[:length].max(0).values for row, length in zip(x, lengths.tolist(), strict=True)]
        ),
    )


def test_wrong_maxima_get_a_fitting_hint():
    unmasked = check("08.max", lambda x, lengths: x.amax(1))
    assert not unmasked and "100" in unmasked.message
    zeros = check(
        "08.max",
        lambda x, lengths: (x * real_steps(lengths, x.shape[1]).unsqueeze(2)).amax(1),
    )
    assert not zeros and "negative values" in zeros.message
    detached = check("08.max", lambda x, lengths: by_filling(x.detach(), lengths))
    assert not detached and "gradient" in detached.message
    over_features = check("08.max", lambda x, lengths: x.amax(2))
    assert not over_features and "shape" in over_features.message


def left_pad(samples):
    longest = max(len(ids) for ids, _ in samples)
    rows = [[0] * (longest - len(ids)) + list(ids) for ids, _ in samples]
    lengths = accelgrad.tensor([len(ids) for ids, _ in samples])
    return accelgrad.tensor(rows), lengths, accelgrad.tensor([label for _, label in samples])


def test_right_collate_functions():
    assert check("08.left", left_pad)

    def by_pad_sequence(samples):
        tensors = [accelgrad.tensor(ids) for ids, _ in samples]
        _, lengths, labels = left_pad(samples)
        return pad_sequence(tensors, batch_first=True, padding_side="left"), lengths, labels

    assert check("08.left", by_pad_sequence)


def test_wrong_collate_functions_get_a_fitting_hint():
    def right_pad(samples):
        _, lengths, labels = left_pad(samples)
        return pad_sequence([accelgrad.tensor(ids) for ids, _ in samples], batch_first=True), lengths, labels

    def in_place(samples):
        longest = max(len(ids) for ids, _ in samples)
        answer = left_pad(samples)
        for ids, _ in samples:
            ids[:] = [0] * (longest - len(ids)) + ids
        return answer

    assert "padded right" in check("08.left", right_pad).message
    assert "were changed" in check("08.left", in_place).message
    assert "three things" in check("08.left", lambda samples: left_pad(samples)[0]).message
    floats = check("08.left", lambda samples: (left_pad(samples)[0].float(), *left_pad(samples)[1:]))
    assert not floats and "dtype" in floats.message
    boxes = check("08.left", lambda s: (left_pad(s)[0], accelgrad.full((len(s),), 3), left_pad(s)[2]))
    assert not boxes and "lengths" in boxes.message
