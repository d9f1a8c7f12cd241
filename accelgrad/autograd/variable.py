"""Variable, the older name of Tensor, under PyTorch's path (``torch.autograd.variable``)."""

from accelgrad.core.tensor import Tensor as Variable

__all__ = ["Variable"]
