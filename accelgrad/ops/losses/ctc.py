"""Connectionist temporal classification: ctc_loss, by forward and backward sums over the alignments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.core.context import Reading
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.losses.reduction import reduction_of
from accelgrad.ops.registry import arg, op, sample

__all__ = ["ctc_loss"]


class Ctc(Primitive):
    """-log of the summed probability of all alignments of each target: log_probs (t, n, c) to losses (n,).

    Graves et al. 2006, equations 5 to 16, in logarithms.  The target with blanks around every label is
    called l', of 2 s + 1 symbols; alpha and beta are the sums over the alignments of its beginnings and its
    ends.
    """

    @staticmethod
    def forward(
        ctx: Any,
        log_probs: Any,
        *,
        labels: Any,
        lengths: Any,
        target_lengths: Any,
        skips: Any,
        zero_infinity: bool,
    ) -> Any:
        xp = ctx.xp
        emitted, alpha, total = _beginnings(xp, log_probs, labels, lengths, target_lengths, skips, -math.inf)
        ctx.save_for_backward(log_probs)
        ctx.keep(emitted, alpha, total)
        ctx.setup = (labels, lengths, target_lengths, skips)
        ctx.impossible = xp.isinf(total)
        ctx.zero_infinity = zero_infinity
        losses = -total
        return xp.where(ctx.impossible, 0, losses).astype(log_probs.dtype) if zero_infinity else losses

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        differentiable = isinstance(ctx, Reading)
        xp, raw = ctx.xp, ctx.context.xp if differentiable else ctx.xp
        # The logarithm of nothing.  The second derivative of logaddexp has no value at -inf; far below every
        # logarithm of a probability it is as good.
        nothing = FAR_BELOW if differentiable else -math.inf
        (log_probs,) = ctx.saved_tensors
        labels, lengths, target_lengths, skips = ctx.setup
        emitted, alpha, total = ctx.kept(
            lambda xp, log_probs: _beginnings(
                xp, log_probs, labels, lengths, target_lengths, skips, nothing
            ),
            log_probs,
        )  # fmt: skip
        t, n, c = log_probs.shape
        beta = _ends(xp, emitted, skips, lengths, target_lengths, nothing)
        inside = raw.expand_dims(raw.arange(t), 1) < lengths  # (t, n)
        valid = raw.arange(labels.shape[1]) <= 2 * raw.expand_dims(target_lengths, 1)
        joint = alpha + beta - emitted - xp.expand_dims(total, 1)  # log of the share of each (time, symbol)
        counted = raw.expand_dims(inside & ~ctx.impossible, 2) & valid
        if not differentiable:
            counted = counted & raw.isfinite(joint)
        share = xp.where(counted, xp.exp(xp.where(counted, joint, 0.0)), 0.0)
        rows = raw.reshape(raw.arange(t * n) * c, (t, n, 1))
        places = raw.reshape(rows + raw.expand_dims(labels, 0), (-1,))
        zeros = xp.zeros_like(xp.reshape(log_probs, (-1,)))
        result = -xp.reshape(xp.index_add(zeros, 0, places, xp.reshape(share, (-1,))), (t, n, c))
        impossible = raw.reshape(ctx.impossible, (1, n, 1))
        result = xp.where(impossible, 0.0 if ctx.zero_infinity else math.nan, result)
        return xp.reshape(grad, (1, n, 1)) * result


FAR_BELOW = -1e30


def _shifted(xp: Any, rows: Any, steps: int, nothing: float) -> Any:
    """The rows moved by one symbol to the right (``steps=1``) or to the left (-1)."""
    edge = xp.full_like(rows[:, :1], nothing)
    return xp.concatenate([edge, rows[:, :-1]] if steps > 0 else [rows[:, 1:], edge], axis=1)


def _beginnings(
    xp: Any, log_probs: Any, labels: Any, lengths: Any, target_lengths: Any, skips: Any, nothing: float
) -> tuple[Any, Any, Any]:
    """What each symbol of l' has as its log-probability at every time, (t, n, symbols).

    Alpha, the log of the summed probability of reaching it there; and the log of the probability of the
    whole target, (n,).
    """
    raw = getattr(log_probs, "xp", xp)
    t, n, _ = log_probs.shape
    places = raw.broadcast_to(labels, (t, *labels.shape))
    emitted = xp.take_along_axis(log_probs, places, axis=2)
    now = xp.where(raw.arange(labels.shape[1]) < 2, emitted[0], nothing)
    rows = [now]
    for time in range(1, t):
        one = _shifted(xp, now, 1, nothing)  # from the symbol before
        two = _shifted(xp, one, 1, nothing)  # over a blank
        now = xp.logaddexp(xp.logaddexp(now, one), xp.where(skips, two, nothing)) + emitted[time]
        rows.append(now)
    alpha = xp.stack(rows)
    last = 2 * target_lengths  # where the last blank of l' stands
    ends = alpha[lengths - 1, raw.arange(n)]  # (n, symbols)
    blank, label = (
        xp.take_along_axis(ends, raw.expand_dims(place, 1), axis=1)[:, 0]
        for place in (last, raw.maximum(last - 1, 0))
    )
    return emitted, alpha, xp.logaddexp(blank, xp.where(target_lengths > 0, label, nothing))


def _ends(xp: Any, emitted: Any, skips: Any, lengths: Any, target_lengths: Any, nothing: float) -> Any:
    """Return beta: at time t, the log of the summed probability of the ends of all alignments.

    They begin with every symbol in turn.
    """
    raw = getattr(emitted, "xp", xp)
    t, _, s = emitted.shape
    symbols = raw.arange(s)
    last = 2 * raw.expand_dims(target_lengths, 1)
    finish = (symbols == last) | ((symbols == last - 1) & (last > 0))  # (n, symbols)
    skip_on = raw.concatenate([skips[:, 2:], raw.zeros_like(skips[:, :2])], axis=1)[:, :s]
    now = xp.full_like(emitted[0], nothing)
    rows = []
    for time in range(t - 1, -1, -1):
        one = _shifted(xp, now, -1, nothing)
        two = _shifted(xp, one, -1, nothing)
        best = xp.logaddexp(xp.logaddexp(now, one), xp.where(skip_on, two, nothing))
        ending = raw.expand_dims(lengths - 1 == time, 1)
        start = raw.where(finish, 0.0, nothing).astype(
            emitted.dtype.numpy if xp is not raw else emitted.dtype
        )
        now = xp.where(ending, start, best) + emitted[time]
        rows.append(now)
    return xp.stack(rows[::-1])


def _as_lengths(given: Any, n: int, name: str) -> np.ndarray:
    raw = given.xp.to_host(given.array) if isinstance(given, Tensor) else np.asarray(given)
    raw = np.broadcast_to(raw.astype(np.int64), (n,)) if raw.size == 1 else raw.astype(np.int64).reshape(-1)
    if raw.shape != (n,):
        raise RuntimeError(f"{name} must be of size batch_size: expected {n} lengths, got {raw.size}")
    return raw


def _reference(
    log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False
):
    """Sums over all alignments, one by one."""
    import itertools

    single = log_probs.ndim == 2
    if single:
        log_probs = log_probs[:, None]
    _, n, c = log_probs.shape
    losses, sizes = [], np.broadcast_to(np.asarray(target_lengths), (n,))
    lengths = np.broadcast_to(np.asarray(input_lengths), (n,))
    start = 0
    for row in range(n):
        target = targets[row][: sizes[row]] if targets.ndim == 2 else targets[start : start + sizes[row]]
        start += sizes[row]
        total = -np.inf
        for path in itertools.product(range(c), repeat=int(lengths[row])):
            merged = [k for k, _ in itertools.groupby(path) if k != blank]
            if merged == list(target):
                total = np.logaddexp(total, sum(log_probs[i, row, k] for i, k in enumerate(path)))
        losses.append(0.0 if zero_infinity and np.isinf(total) else -total)
    losses = np.array(losses, log_probs.dtype)
    if reduction == "mean":
        return (losses / np.maximum(sizes, 1)).mean()
    return losses.sum() if reduction == "sum" else losses[0] if single else losses


@op(
    primitive=Ctc,
    reference=_reference,
    samples=[
        sample(arg(4, 2, 3), arg(values=[[1, 2], [2, 2]], dtype="int64"), (4, 4), (2, 2)),
        sample(arg(4, 2, 3), arg(values=[[1, 2], [2, 0]], dtype="int64"), (4, 3), (2, 1), reduction="none"),
        sample(arg(4, 2, 3), arg(values=[0, 1, 0], dtype="int64"), (4, 2), (2, 1), blank=2, reduction="sum"),
        sample(arg(2, 1, 3), arg(values=[[1, 1]], dtype="int64"), (2,), (2,), zero_infinity=True),
        sample(arg(3, 1, 3), arg(values=[[1, 1]], dtype="int64"), (3,), (0,), reduction="none"),
    ],
    errors=[
        (
            sample(arg(3, 1, 3), arg(values=[[1, 1]], dtype="int64"), (4,), (2,)),
            RuntimeError,
            "Expected input_lengths to have value at most 3",
        ),
        (
            sample(arg(3, 1, 3), arg(values=[[1]], dtype="int64"), (3,), (1,), blank=3),
            RuntimeError,
            "blank must be in label range",
        ),
        (
            sample(arg(3, 2, 3), arg(values=[[1]], dtype="int64"), (3,), (1, 1, 1)),
            RuntimeError,
            "target_lengths must be of size batch_size",
        ),
    ],
    namespace="nn.functional",
    method=False,
    out=False,
    torch="none",  # PyTorch adds exp(log_probs) to the gradient, which log_softmax takes away again
)
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability that frames, repeats merged and blanks removed, read as the target.

    log_probs (t, n, c) of log-probabilities (or (t, c)); targets (n, s), padded, or all of them in one
    line; the lengths (n,) as tensors or tuples.  "mean" first divides each loss by its target's length.
    ``zero_infinity`` makes the losses of targets that cannot fit into their frames 0 instead of inf.
    Graves et al. 2006.

    The gradient is the true one of the log-probabilities (PyTorch's differs by exp(log_probs), which makes
    no difference once it has gone through log_softmax), and it can be differentiated again.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> uniform = accelgrad.full((2, 1, 2), 0.5).log()
    >>> F.ctc_loss(uniform, accelgrad.tensor([[1]]), (2,), (1,)).exp()  # 3 of the 4 readings of two frames
    tensor(1.3333)
    """
    reduction = reduction_of(reduction)
    single = log_probs.ndim == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
        targets = targets.reshape(1, -1)
    t, n, c = log_probs.array.shape
    if not 0 <= blank < c:
        raise RuntimeError(f"blank must be in label range, 0 to {c - 1}, got {blank}")
    lengths = _as_lengths(input_lengths, n, "input_lengths")
    sizes = _as_lengths(target_lengths, n, "target_lengths")
    if n and lengths.max() > t:
        raise RuntimeError(f"Expected input_lengths to have value at most {t}, but got value {lengths.max()}")
    xp = log_probs.xp
    host = xp.to_host(targets.array)
    longest = int(sizes.max()) if n else 0
    labels = np.full((n, 2 * longest + 1), blank, dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    for row in range(n):
        one = host[row, : sizes[row]] if host.ndim == 2 else host[starts[row] : starts[row] + sizes[row]]
        if one.size != sizes[row]:
            raise RuntimeError(
                f"Expected tensor to have size at least {sizes[row]} at dimension 1,"
                f" but got size {one.size}: target {row} is shorter than its target_length"
            )
        if one.size and (one.min() < 0 or one.max() >= c):
            raise RuntimeError(f"ctc_loss: target {row} has labels outside 0 to {c - 1}: {one.tolist()}")
        labels[row, 1 : 2 * sizes[row] : 2] = one
    skips = np.zeros(labels.shape, dtype=bool)  # a blank may be skipped between two different labels
    skips[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
    losses = Ctc.apply(
        log_probs,
        labels=xp.from_host(labels),
        lengths=xp.from_host(lengths),
        target_lengths=xp.from_host(sizes),
        skips=xp.from_host(skips),
        zero_infinity=zero_infinity,
    )
    if reduction == "none":
        return losses.reshape(()) if single else losses
    if reduction == "sum":
        return losses.sum()
    weights = (1 / np.maximum(sizes, 1)).astype(log_probs.dtype.name)
    return (losses * xp.from_host(weights)).mean()
