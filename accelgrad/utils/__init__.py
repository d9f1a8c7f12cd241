"""Helpers around training; today: :mod:`accelgrad.utils.data`, which feeds it."""
