"""accelgrad: PyTorch's names and semantics on NumPy and CuPy arrays, readable from top to bottom."""

from accelgrad import kernels as kernels
