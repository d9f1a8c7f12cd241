"""MultiheadAttention: every position looks at others and takes a weighted mean of what it finds."""

from __future__ import annotations

import math
from typing import Any

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.nn import functional as F
from accelgrad.nn import init
from accelgrad.nn.modules.linear import Linear
from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import Parameter, empty
from accelgrad.ops.shapes.join import cat

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """``softmax(q kᵀ / sqrt(d)) v`` in several heads of width d.  Vaswani et al. 2017, section 3.2.

    q, k and v are projections of query, key and value, cut into ``num_heads`` heads of width d = embed_dim /
    num_heads; the heads' results are joined and projected once more by ``out_proj``.  ``in_proj_weight``
    (3 embed_dim, embed_dim) holds the three projections; where ``kdim`` or ``vdim`` differ from embed_dim
    they are three matrices.  ``dropout`` zeroes attention weights in training; ``add_bias_kv`` and
    ``add_zero_attn`` give every query one more position to look at, a learned one or zeros.

    Shapes: query (l, n, embed_dim), key (s, n, kdim), value (s, n, vdim), or the batch n first with
    ``batch_first``, or without n; the result has the query's shape.  All are floating point and of the
    weights' type.  ValueError unless embed_dim and num_heads are positive, AssertionError unless num_heads
    divides embed_dim and for inputs of wrong sizes, as in PyTorch.

    >>> import accelgrad
    >>> attention = MultiheadAttention(8, 2, batch_first=True)
    >>> x = accelgrad.randn(3, 5, 8)  # (n, l, embed_dim)
    >>> output, weights = attention(x, x, x)
    >>> output.shape, weights.shape
    (accelgrad.Size([3, 5, 8]), accelgrad.Size([3, 5, 5]))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0,"
                f" got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        if embed_dim % num_heads:
            raise AssertionError("embed_dim must be divisible by num_heads")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn

        def parameter(*shape: int) -> Parameter:
            return Parameter(empty(shape, device=device, dtype=dtype))

        same = self._qkv_same_embed_dim
        self.register_parameter("in_proj_weight", parameter(3 * embed_dim, embed_dim) if same else None)
        self.register_parameter("q_proj_weight", None if same else parameter(embed_dim, embed_dim))
        self.register_parameter("k_proj_weight", None if same else parameter(embed_dim, self.kdim))
        self.register_parameter("v_proj_weight", None if same else parameter(embed_dim, self.vdim))
        self.register_parameter("in_proj_bias", parameter(3 * embed_dim) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self.register_parameter("bias_k", parameter(1, 1, embed_dim) if add_bias_kv else None)
        self.register_parameter("bias_v", parameter(1, 1, embed_dim) if add_bias_kv else None)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw new first values for the projections, and set their shifts to zero."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for weight in (self.bias_k, self.bias_v):
            if weight is not None:
                init.xavier_normal_(weight)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The attended values, and the attention weights (n, l, s), or None without ``need_weights``.

        ``key_padding_mask`` (n, s) and ``attn_mask`` (l, s) or (n num_heads, l, s): True marks what must not
        be looked at; floating point masks are added to the scores.  The weights are averaged over the heads,
        or (n, num_heads, l, s) with ``average_attn_weights=False``.  RuntimeError for ``is_causal`` without a
        mask; it is a hint only.
        """
        self._check(query, key, value, attn_mask, is_causal)
        batched = query.ndim == 3
        # The projections, the masks as numbers to add, and the additional position to look at.
        q, k, v = self._projected(*self._batch_in_front(query, key, value, batched))  # (n, l or s, embed_dim)
        n, length, _ = q.array.shape
        mask = None if attn_mask is None else _mask(attn_mask, q)
        padding = None if key_padding_mask is None else _mask(key_padding_mask, q)
        if padding is not None and not batched:
            padding = padding.unsqueeze(0)  # (1, s)
        if self.bias_k is not None:
            k = cat([k, self.bias_k.expand(n, 1, self.embed_dim)], 1)  # (n, s + 1, embed_dim)
            v = cat([v, self.bias_v.expand(n, 1, self.embed_dim)], 1)  # (n, s + 1, embed_dim)
            mask, padding = _one_more(mask), _one_more(padding)
        if self.add_zero_attn:
            k, v = _one_more(k, -2), _one_more(v, -2)
            mask, padding = _one_more(mask), _one_more(padding)
        # Scores of every query with every key, in each head.
        q, k, v = (self._split(part) for part in (q, k, v))  # (n, heads, l or s, width)
        scores = (q / math.sqrt(self.head_dim)) @ k.transpose(-1, -2)  # (n, heads, l, s)
        if mask is not None:
            if mask.ndim == 3:
                mask = mask.reshape(n, self.num_heads, *mask.array.shape[1:])  # (n, heads, l, s)
            scores = scores + mask
        if padding is not None:
            scores = scores + padding.reshape(n, 1, 1, -1)
        # Their shares of the values, the heads joined again.
        weights = F.softmax(scores, -1)
        if self.dropout:
            weights = F.dropout(weights, self.dropout, self.training)
        mixed = weights @ v  # (n, heads, l, width)
        output = self.out_proj(mixed.transpose(1, 2).reshape(n, length, self.embed_dim))  # (n, l, embed_dim)
        if not batched:
            output = output.squeeze(0)  # (l, embed_dim)
        elif not self.batch_first:
            output = output.transpose(0, 1)  # (l, n, embed_dim)
        if not need_weights:
            return output, None
        shown: Any = weights.mean(1) if average_attn_weights else weights  # (n, l, s) or (n, heads, l, s)
        return output, shown if batched else shown.squeeze(0)

    def _check(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool) -> None:
        """Refuse inputs that do not belong together."""
        if is_causal and mask is None:
            raise RuntimeError(
                "Need attn_mask if specifying the is_causal hint:"
                " nn.Transformer.generate_square_subsequent_mask"
            )
        if query.ndim not in (2, 3) or key.ndim != query.ndim or value.ndim != query.ndim:
            raise AssertionError(
                f"query, key and value must all be 2D (unbatched) or 3D (batched), got {query.ndim}D,"
                f" {key.ndim}D and {value.ndim}D"
            )
        if query.array.shape[-1] != self.embed_dim:
            raise AssertionError(
                f"was expecting embedding dimension of {self.embed_dim}, but got {query.array.shape[-1]}"
            )

    def _batch_in_front(self, query: Tensor, key: Tensor, value: Tensor, batched: bool) -> list[Any]:
        """The three inputs as (n, l or s, ...); one tensor that is given twice stays one."""
        done: dict[int, Any] = {}
        for one in (query, key, value):
            if id(one) not in done:
                done[id(one)] = (
                    (one if self.batch_first else one.transpose(0, 1)) if batched else one.unsqueeze(0)
                )
        return [done[id(one)] for one in (query, key, value)]

    def _projected(self, query: Any, key: Any, value: Any) -> list[Any]:
        """The three inputs times their weights, in one product where they are the same tensor."""
        size, bias = self.embed_dim, self.in_proj_bias
        if self._qkv_same_embed_dim and query is key and key is value:
            return list(F.linear(query, self.in_proj_weight, bias).chunk(3, -1))
        weights = (
            self.in_proj_weight.chunk(3)
            if self._qkv_same_embed_dim
            else (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        )
        biases = (None,) * 3 if bias is None else bias.split(size)
        return [
            F.linear(x, weight, one)
            for x, weight, one in zip((query, key, value), weights, biases, strict=True)
        ]

    def _split(self, x: Any) -> Any:
        """The heads apart: (n, length, embed_dim) to (n, heads, length, width)."""
        n, length, _ = x.array.shape
        return x.reshape(n, length, self.num_heads, self.head_dim).transpose(1, 2)


def _mask(mask: Tensor, like: Tensor) -> Tensor:
    """The mask as numbers to add to scores: for a boolean one 0 and, where it is True, -inf."""
    if mask.is_floating_point():
        return mask
    if mask.array.dtype.kind != "b":
        raise AssertionError(f"only bool and floating types of masks are supported, got {mask.dtype}")
    xp = mask.xp
    return wrap(xp.where(mask.array, -math.inf, 0.0).astype(like.array.dtype), xp)


def _one_more(x: Any, dim: int = -1) -> Any:
    """The tensor with one more entry, zero, at the end of ``dim``; None stays None."""
    if x is None:
        return None
    shape = list(x.array.shape)
    shape[dim] = 1
    return cat([x, wrap(x.xp.zeros(shape, dtype=x.array.dtype), x.xp)], dim)
