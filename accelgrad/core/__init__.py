"""The core: the graph and the walk back, the Tensor, and how two formulas become an operation."""

from accelgrad.core import backward as backward
from accelgrad.core import conversions as conversions
