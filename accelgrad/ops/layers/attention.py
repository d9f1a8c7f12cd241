"""Attention: scaled_dot_product_attention, and the whole multi-head step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.kernels.plain import later_keys
from accelgrad.ops.layers.dropout import dropout
from accelgrad.ops.layers.linear import linear
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import must_be_floating, one_type
from accelgrad.ops.shapes.join import cat
from accelgrad.ops.shapes.pad import pad

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


class Attention(Primitive):
    """y = softmax(scale q kᵀ + mask) v:  q (..., l, e), k (..., s, e), v (..., s, d), y (..., l, d).

    ``hidden`` is a raw array, True where a key must not be seen; ``causal`` hides the later ones; ``kept`` is
    a drawn dropout mask, already divided by 1 - p. Vaswani et al. 2017, equation 1.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Any,
        k: Any,
        v: Any,
        mask: Any,
        *,
        scale: float,
        hidden: Any = None,
        causal: bool = False,
        kept: Any = None,
    ) -> Any:
        xp = ctx.xp
        (weights,) = _weights(xp, q, k, mask, scale, hidden, causal)
        ctx.save_for_backward(q, k, v, mask)
        ctx.keep(weights)
        ctx.scale, ctx.seen, ctx.dropped = scale, (hidden, causal), kept
        return xp.matmul(weights if kept is None else weights * kept, v)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        q, k, v, mask = ctx.saved_tensors
        scale, seen, dropped = ctx.scale, ctx.seen, ctx.dropped
        (weights,) = ctx.kept(lambda xp, q, k, mask: _weights(xp, q, k, mask, scale, *seen), q, k, mask)
        need_q, need_k, need_v, need_mask = ctx.needs_input_grad
        used = weights if dropped is None else weights * dropped
        grad_v = xp.matmul(xp.swapaxes(used, -1, -2), grad) if need_v else None
        if not (need_q or need_k or need_mask):
            return None, None, grad_v, None
        grad_weights = xp.matmul(grad, xp.swapaxes(v, -1, -2))
        if dropped is not None:
            grad_weights = grad_weights * dropped
        grad_scores = xp.softmax_backward(grad_weights, weights, axis=-1)
        grad_q = xp.matmul(grad_scores, k) * scale if need_q else None
        grad_k = xp.matmul(xp.swapaxes(grad_scores, -1, -2), q) * scale if need_k else None
        return grad_q, grad_k, grad_v, grad_scores if need_mask else None


def _weights(xp: Any, q: Any, k: Any, mask: Any, scale: float, hidden: Any, causal: bool) -> tuple[Any]:
    """How much each query attends to each key: (..., l, s).

    A query that may see no key attends to nothing.
    """
    scores = xp.matmul(q * scale, xp.swapaxes(k, -1, -2))
    if mask is not None:
        scores = scores + mask
    if causal:
        return (xp.causal_softmax(scores),)
    return (xp.softmax(scores, axis=-1) if hidden is None else xp.masked_softmax(scores, hidden),)


def _sdpa(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    if enable_gqa:
        k, v = (np.repeat(one, q.shape[-3] // one.shape[-3], axis=-3) for one in (k, v))
    scores = q @ k.swapaxes(-1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = np.tril(np.ones(scores.shape[-2:], bool))
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -1e30) if attn_mask.dtype == bool else scores + attn_mask
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ v


@op(
    primitive=Attention,
    reference=_sdpa,
    samples=[
        sample(arg(2, 3, 4, 5), arg(2, 3, 6, 5), arg(2, 3, 6, 2)),
        sample(arg(2, 4, 5), arg(2, 4, 5), arg(2, 4, 5), is_causal=True),
        sample(arg(4, 5), arg(6, 5), arg(6, 3), arg(4, 6)),
        sample(arg(2, 2, 3, 4), arg(2, 2, 3, 4), arg(2, 2, 3, 4), arg(2, 1, 1, 3), scale=0.3),
        sample(
            arg(2, 3, 4),
            arg(2, 3, 4),
            arg(2, 3, 4),
            arg(values=[[True, False, True], [True, True, True], [False, True, False]], dtype="bool"),
        ),
        sample(arg(2, 4, 3, 4), arg(2, 2, 3, 4), arg(2, 2, 3, 4), enable_gqa=True),
    ],
    errors=[
        (sample(arg(4), arg(4), arg(4)), ValueError, "must be at least 2 dimensional"),
        (
            sample(arg(2, 4), arg(3, 4), arg(3, 4), arg(2, 3), is_causal=True),
            RuntimeError,
            "Explicit attn_mask should not be set when is_causal=True",
        ),
        (
            sample(arg(2, 4), arg(3, 5), arg(3, 4)),
            RuntimeError,
            "the last dimension of query and key must be equal",
        ),
    ],
    namespace="nn.functional",
    method=False,
    out=False,
)
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute ``softmax(query @ key.mT * scale + mask) @ value``.

    query (..., l, e), key (..., s, e), value (..., s, d); the result is (..., l, d).

    ``attn_mask`` broadcasts to (..., l, s): booleans say which keys may be seen, numbers are added to the
    scores. ``is_causal`` hides later keys.  ``scale`` is 1 / sqrt(e) if not given.  ``dropout_p`` drops
    attention weights; pass 0 in evaluation.  ``enable_gqa`` lets groups of query heads (dimension -3) share
    a key and value head.

    A query that may see no key gets zeros.  Vaswani et al. 2017, equation 1.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> q, k, v = accelgrad.zeros(1, 2), accelgrad.ones(2, 2), accelgrad.tensor([[1.0], [3.0]])
    >>> F.scaled_dot_product_attention(q, k, v)
    tensor([[2.]])
    """
    q, k, v = query.array, key.array, value.array
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise ValueError(
            "scaled_dot_product_attention: query, key and value must be at least 2 dimensional,"
            f" but got {tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}"
        )
    must_be_floating(q, "scaled_dot_product_attention")
    one_type("scaled_dot_product_attention", query=q, key=k, value=v)
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise RuntimeError(
            "scaled_dot_product_attention: the last dimension of query and key must be equal,"
            f" and key and value must have as many rows, but got {tuple(q.shape)},"
            f" {tuple(k.shape)} and {tuple(v.shape)}"
        )
    if is_causal and attn_mask is not None:
        raise RuntimeError(
            "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
        )
    if enable_gqa and q.shape[-3] != k.shape[-3]:
        key, value = _shared_heads(key, q.shape[-3]), _shared_heads(value, q.shape[-3])
    xp = query.xp
    boolean = attn_mask is not None and attn_mask.array.dtype.kind == "b"
    hidden = ~attn_mask.array if boolean else None  # type: ignore[union-attr]
    kept = None
    if dropout_p > 0.0:
        shape = (*np.broadcast_shapes(q.shape[:-2], key.array.shape[:-2]), q.shape[-2], k.shape[-2])
        kept = dropout(wrap(xp.ones(shape, dtype=q.dtype), xp), dropout_p).array
    added = None if attn_mask is None or boolean else attn_mask
    if scale is None:
        scale = 1 / math.sqrt(q.shape[-1]) if q.shape[-1] else 1.0
    seen = {"hidden": hidden, "causal": is_causal}
    return Attention.apply(query, key, value, added, scale=scale, kept=kept, **seen)


def _shared_heads(one: Tensor, heads: int) -> Tensor:
    """(..., g, s, e) with every head repeated, so that there are ``heads``."""
    have = one.array.shape[-3]
    if heads % have:
        raise RuntimeError(
            "Number of heads in key and value must divide the number of heads in query,"
            f" but got {have} and {heads}"
        )
    return one.repeat_interleave(heads // have, dim=-3)


@op(
    primitive=Attention,
    samples=[
        sample(
            arg(3, 2, 4),
            arg(5, 2, 4),
            arg(5, 2, 4),
            4,
            2,
            arg(12, 4),
            arg(12),
            None,
            None,
            False,
            0.0,
            arg(4, 4),
            arg(4),
        ),
        sample(
            arg(3, 2, 4),
            arg(3, 2, 4),
            arg(3, 2, 4),
            4,
            2,
            arg(12, 4),
            arg(12),
            arg(1, 1, 4),
            arg(1, 1, 4),
            True,
            0.0,
            arg(4, 4),
            arg(4),
            average_attn_weights=False,
        ),
        sample(
            arg(3, 2, 4),
            arg(3, 2, 4),
            arg(3, 2, 4),
            4,
            2,
            arg(12, 4),
            None,
            None,
            None,
            False,
            0.0,
            arg(4, 4),
            None,
            key_padding_mask=arg(values=[[False, False, True], [False, True, False]], dtype="bool"),
            attn_mask=arg(3, 3),
            need_weights=False,
        ),
        sample(
            arg(3, 4),
            arg(5, 6),
            arg(5, 2),
            4,
            2,
            None,
            arg(12),
            None,
            None,
            False,
            0.0,
            arg(4, 4),
            arg(4),
            use_separate_proj_weight=True,
            q_proj_weight=arg(4, 4),
            k_proj_weight=arg(4, 6),
            v_proj_weight=arg(4, 2),
        ),
    ],
    namespace="nn.functional",
    method=False,
    out=False,
)
def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Compute multi-head attention: project query, key and value, attend in each head, project the result.

    There are ``num_heads`` heads.

    query (l, n, e), key and value (s, n, e), or all without n; ``in_proj_weight`` (3 e, e) holds the three
    projections, or they come separately.  ``key_padding_mask`` (n, s) and ``attn_mask`` ((l, s) or (n
    num_heads, l, s)): booleans are True where a key must *not* be seen (unlike
    :func:`scaled_dot_product_attention`), numbers are added.  ``bias_k``, ``bias_v`` and ``add_zero_attn``
    append a learned and a zero key.  Gives the output (l, n, e) and, with ``need_weights``, the attention
    weights (n, l, s), averaged over the heads or (n, heads, l, s).

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> x, eye = accelgrad.ones(2, 1, 2), accelgrad.eye(2)
    >>> y, weights = F.multi_head_attention_forward(
    ...     x, x, x, 2, 1, accelgrad.cat([eye, eye, eye]), None, None, None, False, 0.0, eye, None)
    >>> weights
    tensor([[[0.5000, 0.5000],
             [0.5000, 0.5000]]])
    """
    if query.ndim not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query tensor"
        )
    batched = query.ndim == 3
    if not batched:
        query, key, value = (one.unsqueeze(1) for one in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, n, width = query.array.shape
    if width != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {width}")
    if width % num_heads:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {num_heads}")
    weights: Any
    if use_separate_proj_weight:
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
    else:
        weights = in_proj_weight.chunk(3)  # type: ignore[union-attr]
    biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    q, k, v = (
        linear(one, weight, bias)
        for one, weight, bias in zip((query, key, value), weights, biases, strict=True)
    )
    if bias_k is not None and bias_v is not None:
        k, v = _append(k, bias_k.expand(1, n, width)), _append(v, bias_v.expand(1, n, width))
    q, k, v = (_heads(one, num_heads) for one in (q, k, v))  # (n, heads, l or s, e / heads)
    if static_k is not None:
        k = static_k.reshape(n, num_heads, -1, width // num_heads)
    if static_v is not None:
        v = static_v.reshape(n, num_heads, -1, width // num_heads)
    if add_zero_attn:
        zeros = wrap(q.xp.zeros((n, num_heads, 1, width // num_heads), dtype=q.array.dtype), q.xp)
        k, v = _append(k, zeros, -2), _append(v, zeros, -2)
    source = k.array.shape[-2]
    mask = _merged(q, attn_mask, key_padding_mask, n, num_heads, length, source)
    if is_causal and attn_mask is None:
        hidden = later_keys(q.xp, length, source)
        mask = _as_scores(wrap(hidden, q.xp), q) + (0 if mask is None else mask)
    p = dropout_p if training else 0.0
    if need_weights:
        scores = (q * (1 / math.sqrt(width // num_heads))) @ k.transpose(-2, -1)
        attention = dropout((scores if mask is None else scores + mask.to(scores.dtype)).softmax(-1), p)
        mixed = attention @ v
    else:
        mixed = scaled_dot_product_attention(q, k, v, mask, p)
    joined = mixed.permute(2, 0, 1, 3).reshape(length, n, width)  # (l, n, heads, e / heads) side by side
    output = linear(joined, out_proj_weight, out_proj_bias)
    if not batched:
        output = output.squeeze(1)
    if not need_weights:
        return output, None
    if average_attn_weights:
        attention = attention.mean(1)
    return output, attention if batched else attention.squeeze(0)


def _append(one: Tensor, more: Tensor, dim: int = 0) -> Tensor:
    return cat([one, more], dim)


def _heads(one: Tensor, heads: int) -> Tensor:
    """(l, n, e) as (n, heads, l, e / heads)"""
    length, n, width = one.array.shape
    return one.reshape(length, n, heads, width // heads).permute(1, 2, 0, 3)


def _as_scores(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as numbers to be added to the scores: booleans are True where a key must not be seen."""
    if mask.array.dtype.kind != "b":
        return mask
    numbers = mask.xp.where(mask.array, -math.inf, 0.0).astype(like.array.dtype)
    return wrap(numbers, mask.xp)


def _merged(
    q: Tensor, attn_mask: Any, key_padding_mask: Any, n: int, heads: int, length: int, source: int
) -> Tensor | None:
    """Return the two masks as one, to be added to the scores (n, heads, l, s).

    Keys that were appended stay visible.
    """
    merged: Any = None
    if attn_mask is not None:
        mask = _as_scores(attn_mask, q)
        mask = pad(mask, (0, source - mask.array.shape[-1]))
        if mask.ndim == 3:
            mask = mask.reshape(n, heads, length, source)
        merged = mask
    if key_padding_mask is not None:
        mask = _as_scores(key_padding_mask, q)
        mask = pad(mask, (0, source - mask.array.shape[-1])).reshape(n, 1, 1, source)
        merged = mask if merged is None else merged + mask
    return merged
