"""The registry of operations: one entry an operation, and what is made of it."""

from accelgrad.ops.registry.entry import OPS, Op, op, shown_in
from accelgrad.ops.registry.samples import Arg, Sample, arg, sample

__all__ = ["OPS", "Arg", "Op", "Sample", "arg", "op", "sample", "shown_in"]
