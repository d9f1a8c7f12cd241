"""The registry of operations and what stands around it: one entry an operation, and what is made of it."""

from accelgrad.ops.registry.entry import OPS, Arg, Op, Sample, arg, op, sample

__all__ = ["OPS", "Arg", "Op", "Sample", "arg", "op", "sample"]
