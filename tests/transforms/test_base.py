"""Transforms made of others, and the generator of their random numbers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import accelgrad
from accelgrad import transforms
from accelgrad.utils.data import DataLoader


def add(n):
    """A transform that adds ``n``."""
    return transforms.Lambda(lambda x: x + n)


def double(x):
    return 2 * x


def test_compose_applies_one_after_the_other():
    assert transforms.Compose([add(1), double])(3) == 8


def test_compose_of_nothing_changes_nothing():
    assert transforms.Compose([])(3) == 3


def test_compose_refuses_what_cannot_be_called():
    with pytest.raises(TypeError, match="every transform must be callable, got 5"):
        transforms.Compose([5])


def test_lambda_refuses_what_cannot_be_called():
    with pytest.raises(TypeError, match="Argument lambd should be callable, got 'int'"):
        transforms.Lambda(5)


def test_a_lambda_of_a_named_function_pickles():
    assert pickle.loads(pickle.dumps(transforms.Lambda(double)))(4) == 8


def test_random_apply_applies_all_or_none():
    outcomes = {transforms.RandomApply([add(1), add(10)])(0) for _ in range(100)}
    assert outcomes == {0, 11}


@pytest.mark.parametrize(("p", "expected"), [(0.0, 0), (1.0, 1)])
def test_random_apply_keeps_to_its_probability(p, expected):
    assert all(transforms.RandomApply([add(1)], p=p)(0) == expected for _ in range(50))


def test_random_choice_takes_one_by_its_weight():
    choice = transforms.RandomChoice([add(1), add(2), add(3)], p=[1, 0, 3])
    outcomes = [choice(0) for _ in range(2000)]
    assert set(outcomes) == {1, 3} and 0.7 < outcomes.count(3) / 2000 < 0.8


def test_random_order_applies_all():
    outcomes = {transforms.RandomOrder([add(1), double])(3) for _ in range(50)}
    assert outcomes == {7, 8}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: transforms.RandomApply([double], p=1.5), ValueError, "between 0 and 1, got p=1.5"),
        (lambda: transforms.RandomChoice([]), TypeError, "should be a sequence"),
        (lambda: transforms.RandomOrder(double), TypeError, "should be a sequence"),
        (lambda: transforms.RandomChoice([double], p=[1, 2]), ValueError, "weight"),
        (lambda: transforms.RandomChoice([double], p=[-1]), ValueError, "weight"),
    ],
)
def test_wrong_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_transform_without_forward_says_so():
    class Empty(transforms.Transform):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no forward"):
        Empty()(1)


def test_compose_prints_one_transform_a_line():
    joined = transforms.Compose(
        [transforms.RandomApply([transforms.Grayscale()], p=0.3), transforms.Normalize((0.5,), (0.5,))]
    )
    assert repr(joined) == (
        "Compose(\n"
        "    RandomApply(\n"
        "        p=0.3\n"
        "        Grayscale(num_output_channels=1)\n"
        "    )\n"
        "    Normalize(mean=(0.5,), std=(0.5,))\n"
        ")"
    )


AUGMENT = transforms.Compose(
    [
        transforms.RandomCrop(8, padding=2),
        transforms.RandomHorizontalFlip(),
        transforms.RandomRotation(20),
        transforms.ColorJitter(0.4, 0.4, 0.4, 0.1),
        transforms.RandomResizedCrop(6),
        transforms.GaussianBlur(3),
        transforms.ToTensor(),
        transforms.RandomErasing(value="random"),
        transforms.RandomOrder([transforms.RandomGrayscale(0.5), transforms.RandomVerticalFlip()]),
    ]
)


def augmented(n=5):
    img = np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8)
    return np.stack([AUGMENT(img).numpy() for _ in range(n)])


def test_the_seed_of_accelgrad_decides_every_draw():
    accelgrad.manual_seed(7)
    first = augmented()
    accelgrad.manual_seed(7)
    np.testing.assert_array_equal(augmented(), first)
    accelgrad.manual_seed(8)
    assert (augmented() != first).any()


def test_each_image_is_drawn_anew():
    images = augmented()
    assert all((images[i] != images[0]).any() for i in range(1, 5))


def test_numpys_global_generator_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    augmented(1)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_a_pickled_pipeline_draws_from_the_generator_of_its_process():
    copy = pickle.loads(pickle.dumps(AUGMENT))
    img = np.zeros((10, 10, 3), np.uint8)
    accelgrad.manual_seed(3)
    expected = AUGMENT(img).numpy()
    accelgrad.manual_seed(3)
    np.testing.assert_array_equal(copy(img).numpy(), expected)


class SameImage:
    """Sixteen times the same image, each augmented on its own."""

    def __len__(self):
        return 16

    def __getitem__(self, index):
        return AUGMENT(np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8))


def test_workers_draw_differently_and_the_seed_repeats_them_all():
    def epoch():
        accelgrad.manual_seed(11)
        return np.concatenate(
            [batch.numpy() for batch in DataLoader(SameImage(), batch_size=4, num_workers=2)]
        )

    first = epoch()
    assert len({image.tobytes() for image in first}) == 16
    np.testing.assert_array_equal(epoch(), first)
