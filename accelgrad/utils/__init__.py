"""Helpers around training: so far :mod:`accelgrad.utils.data`, which loads the data."""

from accelgrad.utils import data as data
