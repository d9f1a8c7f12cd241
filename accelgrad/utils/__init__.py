"""Helpers around training; today: :mod:`accelgrad.utils.data`, which feeds it."""

from accelgrad.utils import data as data
