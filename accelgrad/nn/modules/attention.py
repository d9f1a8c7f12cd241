"""MultiheadAttention."""

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
    """softmax(q kᵀ / sqrt(width of a head)) v in several heads.  Vaswani et al. 2017, section 3.2.

    ``in_proj_weight`` (3 embed_dim, embed_dim) holds the projections of query, key and value (three matrices
    where ``kdim`` or ``vdim`` differ).  In boolean masks True means: not to be looked at; float masks are
    added.
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
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and"
                f" num_heads={num_heads} instead"
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
        """(l, n, embed_dim), (s, n, kdim), (s, n, vdim) to (l, n, embed_dim) and the weights (n, l, s), or
        None.

        With ``batch_first`` (n, l, ...); without a batch (l, ...).  Masks: ``key_padding_mask`` (n, s),
        ``attn_mask`` (l, s) or (n * num_heads, l, s).
        """
        if is_causal and attn_mask is None:
            raise RuntimeError(
                "Need attn_mask if specifying the is_causal hint:"
                " nn.Transformer.generate_square_subsequent_mask"
            )
        if query.ndim not in (2, 3) or key.ndim != query.ndim or value.ndim != query.ndim:
            raise AssertionError(
                "query, key and value must all be 2D (unbatched) or 3D (batched), got"
                f" {query.ndim}D, {key.ndim}D and {value.ndim}D"
            )
        if query.array.shape[-1] != self.embed_dim:
            raise AssertionError(
                f"was expecting embedding dimension of {self.embed_dim}, but got {query.array.shape[-1]}"
            )
        batched: Any = query.ndim == 3
        one, two, three = self._batch_in_front(query, key, value, batched)  # (n, l or s, ...)
        q, k, v = self._projected(one, two, three)
        n, length, _ = q.array.shape
        mask = _mask(attn_mask, q) if attn_mask is not None else None
        padding = _mask(key_padding_mask, q) if key_padding_mask is not None else None
        if padding is not None and not batched:
            padding = padding.unsqueeze(0)
        if self.bias_k is not None:
            k = cat([k, self.bias_k.expand(n, 1, self.embed_dim)], 1)
            v = cat([v, self.bias_v.expand(n, 1, self.embed_dim)], 1)
            mask, padding = _one_more(mask), _one_more(padding)
        if self.add_zero_attn:
            k, v = _one_more(k, -2), _one_more(v, -2)
            mask, padding = _one_more(mask), _one_more(padding)
        heads = self.num_heads
        q, k, v = (self._split(part) for part in (q, k, v))  # (n, heads, length, width)
        scores = (q / math.sqrt(self.head_dim)) @ k.transpose(-1, -2)  # (n, heads, l, s)
        if mask is not None:
            if mask.ndim == 3:
                mask = mask.reshape(n, heads, *mask.array.shape[1:])
            scores = scores + mask
        if padding is not None:
            scores = scores + padding.reshape(n, 1, 1, -1)
        weights = F.softmax(scores, -1)
        dropped = F.dropout(weights, self.dropout, self.training) if self.dropout else weights
        mixed = (dropped @ v).transpose(1, 2).reshape(n, length, self.embed_dim)
        output = self.out_proj(mixed)
        if not batched:
            output = output.squeeze(0)
        elif not self.batch_first:
            output = output.transpose(0, 1)
        if not need_weights:
            return output, None
        shown = dropped.mean(1) if average_attn_weights else dropped
        return output, shown if batched else shown.squeeze(0)

    def _batch_in_front(self, query: Tensor, key: Tensor, value: Tensor, batched: bool) -> list[Any]:
        """The three with the batch in front; one tensor given twice stays one."""
        done: dict[int, Any] = {}
        for one in (query, key, value):
            if id(one) not in done:
                done[id(one)] = (
                    (one if self.batch_first else one.transpose(0, 1)) if batched else one.unsqueeze(0)
                )
        return [done[id(one)] for one in (query, key, value)]

    def _projected(self, query: Any, key: Any, value: Any) -> list[Any]:
        """query, key and value times their weights; in one product where they are the same tensor."""
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
        n, length, _ = x.array.shape
        return x.reshape(n, length, self.num_heads, self.head_dim).transpose(1, 2)


def _mask(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as something to add: 0 and -inf for a boolean one."""
    if mask.is_floating_point():
        return mask
    if mask.array.dtype.kind != "b":
        raise AssertionError(f"only bool and floating types of masks are supported, got {mask.dtype}")
    xp = mask.xp
    return wrap(xp.where(mask.array, -math.inf, 0.0).astype(like.array.dtype), xp)


def _one_more(x: Any, dim: int = -1) -> Any:
    """With one more entry, zero, at the end of ``dim``."""
    if x is None:
        return None
    shape = list(x.array.shape)
    shape[dim] = 1
    return cat([x, wrap(x.xp.zeros(shape, dtype=x.array.dtype), x.xp)], dim)
