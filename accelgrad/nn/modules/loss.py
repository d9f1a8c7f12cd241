"""Losses as modules: each applies a function of :mod:`accelgrad.nn.functional`.

Every loss takes a ``reduction``: "mean" (by default), "sum", or "none" for one loss per element or sample.
PyTorch's older arguments ``size_average`` and ``reduce`` are understood, and decide where they are given.
Weights are buffers, so that they move with the module.  Inputs are floating point; integers are refused with
NotImplementedError, an unknown reduction with ValueError, both in forward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.distance import PairwiseDistance
from accelgrad.nn.modules.module import Module
from accelgrad.ops.losses.reduction import reduction_of

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CTCLoss", "CosineEmbeddingLoss", "CrossEntropyLoss", "GaussianNLLLoss",
    "HingeEmbeddingLoss", "HuberLoss", "KLDivLoss", "L1Loss", "MSELoss", "MarginRankingLoss",
    "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "NLLLoss", "PoissonNLLLoss",
    "SmoothL1Loss", "SoftMarginLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss",
]  # fmt: skip


class _Loss(Module):
    """A loss with a reduction."""

    reduction: str

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: str = "mean") -> None:
        super().__init__()
        older = size_average is not None or reduce is not None
        self.reduction = reduction_of(reduction, size_average, reduce) if older else reduction


class _WeightedLoss(_Loss):
    """A loss with a weight for each class or element."""

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


# --- of numbers


class L1Loss(_Loss):
    """``|input - target|``: the mean absolute error.

    Both floating point, of one shape (others broadcast, with a warning); a number, or that shape without
    reduction.  RuntimeError where the shapes do not broadcast.

    >>> import accelgrad
    >>> L1Loss()(accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([1.0, 4.0]))
    tensor(1.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class MSELoss(_Loss):
    """``(input - target)²``: the mean squared error.

    Both floating point, of one shape (others broadcast, with a warning); a number, or that shape without
    reduction.  RuntimeError where the shapes do not broadcast.

    >>> import accelgrad
    >>> MSELoss()(accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([1.0, 4.0]))
    tensor(2.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """``d² / (2 beta)`` where ``|d| < beta``, else ``|d| - beta / 2``, d = input - target.  Girshick 2015.

    Shapes and errors as for :class:`L1Loss`; RuntimeError also for a negative beta, in forward.

    >>> import accelgrad
    >>> SmoothL1Loss(reduction="none")(accelgrad.tensor([0.5, 3.0]), accelgrad.zeros(2))
    tensor([0.1250, 2.5000])
    """

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean", beta: float = 1.0
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """``d² / 2`` where ``|d| < delta``, else ``delta (|d| - delta / 2)``, d = input - target.  Huber 1964.

    Shapes and errors as for :class:`L1Loss`; RuntimeError also unless delta is positive, in forward.

    >>> import accelgrad
    >>> HuberLoss(reduction="none", delta=2.0)(accelgrad.tensor([0.5, 3.0]), accelgrad.zeros(2))
    tensor([0.1250, 4.0000])
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


# --- of classes


class CrossEntropyLoss(_WeightedLoss):
    """``-log softmax(input)[target]``: how surprised the scores are by the right classes.

    input (n, c, ...) of floating point scores, target (n, ...) of classes, or probabilities of the input's
    shape; also (c,) and ().  ``weight`` (c,) weighs the classes, and the mean divides by the weights of the
    targets; targets equal to ``ignore_index`` count nothing; ``label_smoothing`` s takes (1 - s) target + s /
    c.  IndexError for a class that does not exist, ValueError and RuntimeError for wrong sizes and types.

    >>> import accelgrad
    >>> CrossEntropyLoss()(accelgrad.tensor([[0.0, 0.0]]), accelgrad.tensor([1]))
    tensor(0.6931)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_WeightedLoss):
    """``-input[target]`` of log-probabilities, the output of :class:`accelgrad.nn.LogSoftmax`.

    Shapes, settings and errors as for :class:`CrossEntropyLoss`, with classes as target.

    >>> import accelgrad
    >>> NLLLoss()(accelgrad.tensor([[-1.0, -2.0], [-3.0, -4.0]]), accelgrad.tensor([0, 1]))
    tensor(2.5000)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(
            input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class BCELoss(_WeightedLoss):
    """``-(target log(input) + (1 - target) log(1 - input))`` of probabilities; logarithms stop at -100.

    Both floating point, of one shape; ``weight`` broadcasts to it.  ValueError where the shapes differ,
    RuntimeError for an input outside of 0 ... 1.

    >>> import accelgrad
    >>> BCELoss(reduction="none")(accelgrad.tensor([0.5, 0.75]), accelgrad.tensor([1.0, 0.0]))
    tensor([0.6931, 1.3863])
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """:class:`BCELoss` of ``sigmoid(input)``, in one formula that neither overflows nor rounds to log(0).

    Both floating point, of one shape; ``weight`` and ``pos_weight``, which multiplies the positive part,
    broadcast to it.  ValueError where the shapes differ.

    >>> import accelgrad
    >>> BCEWithLogitsLoss(reduction="none")(accelgrad.tensor([0.0, 100.0]), accelgrad.tensor([1.0, 0.0]))
    tensor([  0.6931, 100.0000])
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, pos_weight=self.pos_weight, reduction=self.reduction
        )


class MultiLabelMarginLoss(_Loss):
    """``sum over targets t and other classes i of max(0, 1 - x[t] + x[i]) / c``.

    input (n, c), floating point, and target (n, c), which lists the classes of a sample up to its first -1;
    or (c,) and (c,).  RuntimeError for other sizes.

    >>> import accelgrad
    >>> MultiLabelMarginLoss()(accelgrad.tensor([[0.1, 0.2, 0.4, 0.8]]), accelgrad.tensor([[3, 0, -1, 1]]))
    tensor(0.8500)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """The mean over the classes of the binary cross-entropy of scores: each class is there or not.

    Both (n, c), floating point, the targets 0 or 1; ``weight`` (c,); (n,) without reduction.  RuntimeError
    where the shapes do not broadcast.

    >>> import accelgrad
    >>> MultiLabelSoftMarginLoss()(accelgrad.zeros(1, 3), accelgrad.tensor([[1.0, 0.0, 1.0]]))
    tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, weight=self.weight, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """``sum over the wrong classes j of max(0, margin - x[target] + x[j])^p / c``.  Crammer & Singer 2001.

    input (n, c), floating point, target (n,) of classes, ``weight`` (c,); or (c,) and ().  ValueError unless
    p is 1 or 2 and for a weight of other than one dimension.

    >>> import accelgrad
    >>> MultiMarginLoss()(accelgrad.tensor([[1.0, 0.5, 1.5, 1.0]]), accelgrad.tensor([2]))
    tensor(0.2500)
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError("only p == 1 and p == 2 supported")
        if weight is not None and weight.ndim != 1:
            raise ValueError(
                f"MultiMarginLoss: expected weight to be None or 1D tensor, got {weight.ndim}D instead"
            )
        self.p, self.margin = p, margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(
            input, target, p=self.p, margin=self.margin, weight=self.weight, reduction=self.reduction
        )


class CTCLoss(_Loss):
    """-log of the probability that the frames, repeats merged and blanks removed, read as the target.

    Graves et al. 2006.  log_probs (t, n, c) of log-probabilities, or (t, c); targets (n, s), padded, or all
    in one line; the lengths of both (n,).  "mean" first divides each loss by its target's length.
    ``zero_infinity`` makes the losses of targets that do not fit into their frames 0 instead of inf.
    ValueError and RuntimeError for sizes that do not fit.

    >>> import accelgrad
    >>> uniform = accelgrad.full((2, 1, 2), 0.5).log()
    >>> CTCLoss()(uniform, accelgrad.tensor([[1]]), (2,), (1,)).exp()  # 3 of the 4 readings of two frames
    tensor(1.3333)
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )


# --- of distributions


class KLDivLoss(_Loss):
    """``target (log(target) - input)``, where ``input`` holds log-probabilities.  Kullback & Leibler 1951.

    Both floating point, of one shape; with ``log_target`` the target holds logarithms too.  "batchmean"
    divides the sum by the batch and is the divergence; "mean" divides by the number of elements, with a
    warning.

    >>> import accelgrad
    >>> target = accelgrad.tensor([[0.5, 0.5]])
    >>> KLDivLoss(reduction="batchmean")(accelgrad.tensor([[0.25, 0.75]]).log(), target)
    tensor(0.1438)
    """

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean", log_target: bool = False
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(_Loss):
    """``exp(input) - target input``: the negative log-likelihood of counts, whose log-rate is ``input``.

    With ``log_input=False`` the input is the rate: ``input - target log(input + eps)``.  ``full`` adds
    Stirling's approximation of log(target!) where target > 1.  Both floating point, of one shape.

    >>> import accelgrad
    >>> PoissonNLLLoss(reduction="none")(accelgrad.zeros(2), accelgrad.tensor([0.0, 3.0]))
    tensor([1., 1.])
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: Any = None,
        eps: float = 1e-8,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return F.poisson_nll_loss(
            log_input,
            target,
            log_input=self.log_input,
            full=self.full,
            eps=self.eps,
            reduction=self.reduction,
        )


class GaussianNLLLoss(_Loss):
    """``(log(var) + (input - target)² / var) / 2``: normal numbers with variance var.  Nix & Weigend 1994.

    input and target floating point, of one shape; ``var`` too, or with a last dimension of 1 or none, or a
    number; it is kept above ``eps``.  ``full`` adds log(2 pi) / 2.  ValueError for a variance of a wrong size
    or below 0.

    >>> import accelgrad
    >>> zeros, ones = accelgrad.zeros(2), accelgrad.ones(2)
    >>> GaussianNLLLoss(reduction="none")(accelgrad.tensor([0.0, 2.0]), zeros, ones)
    tensor([0., 2.])
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


# --- of pairs and triplets; targets are 1 and -1


class SoftMarginLoss(_Loss):
    """``log(1 + exp(-target input))``.

    Both floating point, of one shape.  RuntimeError where the shapes do not broadcast.

    >>> import accelgrad
    >>> SoftMarginLoss()(accelgrad.zeros(2), accelgrad.tensor([1.0, -1.0]))
    tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class HingeEmbeddingLoss(_Loss):
    """``input`` where target is 1, ``max(0, margin - input)`` where it is -1; input holds distances.

    Both floating point, of one shape.  RuntimeError where the shapes do not broadcast.

    >>> import accelgrad
    >>> HingeEmbeddingLoss(reduction="none")(accelgrad.tensor([0.5, 0.25]), accelgrad.tensor([1, -1]))
    tensor([0.5000, 0.7500])
    """

    def __init__(
        self, margin: float = 1.0, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class MarginRankingLoss(_Loss):
    """``max(0, margin - target (input1 - input2))``: target 1 wants input1 ranked higher, -1 input2.

    All floating point, of one shape.  RuntimeError where the shapes do not fit.

    >>> import accelgrad
    >>> MarginRankingLoss()(accelgrad.tensor([3.0]), accelgrad.tensor([1.0]), accelgrad.tensor([-1.0]))
    tensor(2.)
    """

    def __init__(
        self, margin: float = 0.0, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(_Loss):
    """``1 - cos`` of the angle between rows where target is 1, ``max(0, cos - margin)`` where it is -1.

    Inputs (n, d), floating point, and target (n,), or (d,) and ().  RuntimeError for other sizes.

    >>> import accelgrad
    >>> x = accelgrad.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> CosineEmbeddingLoss(reduction="none")(x, x, accelgrad.tensor([1.0, -1.0]))
    tensor([0., 1.])
    """

    def __init__(
        self, margin: float = 0.0, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class TripletMarginLoss(_Loss):
    """``max(0, margin + |anchor - positive| - |anchor - negative|)`` with p-norms.  Balntas et al. 2016.

    ``swap`` takes |positive - negative| if it is smaller.  All (n, d) or (d,), floating point.  ValueError
    unless margin is positive.

    >>> import accelgrad
    >>> anchor, positive, negative = accelgrad.tensor([[[0.0]], [[1.0]], [[3.0]]])
    >>> TripletMarginLoss(margin=4.0)(anchor, positive, negative)
    tensor(2.)
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: expected margin to be greater than 0, got {margin} instead")
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(_Loss):
    """:class:`TripletMarginLoss` with a distance of one's own, a function of two tensors (Euclidean if None).

    All of one shape, floating point.  ValueError unless margin is positive.

    >>> import accelgrad
    >>> def city_block(x, y):
    ...     return (x - y).abs().sum(-1)
    >>> anchor, positive, negative = accelgrad.tensor([[[0.0]], [[1.0]], [[3.0]]])
    >>> TripletMarginWithDistanceLoss(distance_function=city_block, margin=4.0)(anchor, positive, negative)
    tensor(2.)
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: expected margin to be greater than 0, got {margin} instead"
            )
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin, self.swap = margin, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
