"""ChannelShuffle: the channels of several groups in turns."""

from __future__ import annotations

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.module import Module

__all__ = ["ChannelShuffle"]


class ChannelShuffle(Module):
    """The channels of ``groups`` groups taken in turns.  Zhang et al. 2018."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        """(n, c, ...); the result has the same shape."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        """The number of groups."""
        return f"groups={self.groups}"
