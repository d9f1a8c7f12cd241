"""ChannelShuffle: the channels of several groups in turns."""

from __future__ import annotations

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.module import Module

__all__ = ["ChannelShuffle"]


class ChannelShuffle(Module):
    """The channels of ``groups`` groups in turns: the first of each group, then the second ...

    Zhang et al. 2018.  (n, c, ...), of any type; the result has the same shape.  RuntimeError unless
    ``groups`` divides the channels.

    >>> import accelgrad
    >>> ChannelShuffle(2)(accelgrad.tensor([[[0], [1], [2], [3]]])).flatten()
    tensor([0, 2, 1, 3])
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
