"""AdaptiveLogSoftmaxWithLoss: a softmax over many classes that spends little on rare ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.container import ModuleList, Sequential
from accelgrad.nn.modules.linear import Linear
from accelgrad.nn.modules.module import Module
from accelgrad.ops.registry.return_types import named
from accelgrad.ops.shapes.join import cat

__all__ = ["AdaptiveLogSoftmaxWithLoss"]

_OUTPUT = named("AdaptiveLogSoftmaxWithLoss", "output", "loss")


class AdaptiveLogSoftmaxWithLoss(Module):
    """The log-probabilities of the target classes, which are ordered from frequent to rare, and their loss.

    The first ``cutoffs[0]`` classes stand in the head, beside one entry for each cluster of rarer classes;
    cluster i is a softmax of its own over classes cutoffs[i] ... cutoffs[i + 1] - 1, through a projection to
    ``in_features / div_value^(i + 1)`` features.  log p(class) = log p(cluster) + log p(class | cluster).
    Grave et al. 2017, "Efficient softmax approximation for GPUs".

    The call takes floating point input (n, in_features) and target classes (n,), or (in_features,) and (),
    and returns the named pair of output (n,), or (), and loss, the mean of -output.  ValueError for cutoffs
    that do not rise from 1 to at most n_classes - 1; RuntimeError for classes that do not exist and sizes
    that do not fit.

    >>> import accelgrad
    >>> layer = AdaptiveLogSoftmaxWithLoss(16, 100, cutoffs=[10, 50])
    >>> output, loss = layer(accelgrad.randn(4, 16), accelgrad.tensor([0, 9, 20, 99]))
    >>> output.shape, layer.log_prob(accelgrad.randn(4, 16)).shape
    (accelgrad.Size([4]), accelgrad.Size([4, 100]))
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        rising = all(low < high for low, high in itertools.pairwise([0, *cutoffs, n_classes]))
        if not rising or any(int(one) != one for one in cutoffs):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order,"
                f" where each value is between 1 and n_classes-1, got {cutoffs} for {n_classes} classes"
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size = cutoffs[0]
        self.n_clusters = len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        made = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for place, (low, high) in enumerate(itertools.pairwise(self.cutoffs), start=1):
            width = int(in_features // div_value**place)
            self.tail.append(
                Sequential(
                    Linear(in_features, width, bias=False, **made),
                    Linear(width, high - low, bias=False, **made),
                )
            )

    def reset_parameters(self) -> None:
        """Draw new first values for the head and all clusters."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> Any:
        # What does not fit is refused.
        if target_.ndim > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if target_.ndim == 1 and input_.array.shape[0] != target_.array.shape[0]:
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if input_.ndim != target_.ndim + 1:
            raise RuntimeError(
                f"{target_.ndim}D target tensor expects {target_.ndim + 1}D input tensors,"
                f" but found inputs with size {input_.shape}"
            )
        single = target_.ndim == 0
        input = input_.unsqueeze(0) if single else input_
        target = target_.unsqueeze(0) if single else target_
        if bool(((target < 0) | (target >= self.n_classes)).any()):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}],"
                f" but values in range [{target.min().item()}, {target.max().item()}] were found."
                " "
            )
        # Each cluster adds log p(class | cluster) of its targets, and its entry of the head stands for them.
        entry = target.clone()
        within: Any = 0.0
        for place, (low, high) in enumerate(itertools.pairwise(self.cutoffs)):
            rows = ((target >= low) & (target < high)).nonzero().squeeze(1)
            if not rows.array.size:
                continue
            entry = entry.index_fill(0, rows, self.shortlist_size + place)
            scores = F.log_softmax(self.tail[place](input.index_select(0, rows)), dim=1)  # (rows, classes)
            chosen = scores.gather(1, (target.index_select(0, rows) - low).unsqueeze(1)).squeeze(1)
            within = within + input.new_zeros(target.array.shape[0]).index_add(0, rows, chosen)
        # log p(class) = log p(entry of the head) + log p(class | cluster)
        output = F.log_softmax(self.head(input), dim=1).gather(1, entry.unsqueeze(1)).squeeze(1) + within
        loss = (-output).mean()
        return _OUTPUT(output.squeeze(0) if single else output, loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: (n, in_features) gives (n, n_classes)."""
        head = F.log_softmax(self.head(input), dim=1)
        parts = [head[:, : self.shortlist_size]]
        for place, cluster in enumerate(self.tail):
            entry = self.shortlist_size + place
            parts.append(F.log_softmax(cluster(input), dim=1) + head[:, entry : entry + 1])
        return cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row (n,); clusters are asked only where the head points to one."""
        best = self.head(input).argmax(1)
        rare = (best >= self.shortlist_size).nonzero().squeeze(1)
        if rare.array.size:
            best = best.index_copy(0, rare, self.log_prob(input.index_select(0, rare)).argmax(1))
        return best
