"""Transformer: encoder and decoder layers, stacks of them, and the whole.  Vaswani et al. 2017."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from accelgrad.arrays import backend, dtypes
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.nn import functional as F
from accelgrad.nn import init
from accelgrad.nn.modules.attention import MultiheadAttention
from accelgrad.nn.modules.container import ModuleList
from accelgrad.nn.modules.dropout import Dropout
from accelgrad.nn.modules.linear import Linear
from accelgrad.nn.modules.module import Module
from accelgrad.nn.modules.normalization import LayerNorm

__all__ = [
    "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
    "TransformerEncoderLayer",
]  # fmt: skip

Activation = str | Callable[[Tensor], Tensor]
"""An activation function, or the name of one: "relu" or "gelu"."""


def _activation(activation: Activation) -> Callable[[Tensor], Tensor]:
    """The function itself; RuntimeError for a name that is not known."""
    if not isinstance(activation, str):
        return activation
    if activation not in ("relu", "gelu"):
        raise RuntimeError(f"activation should be relu/gelu, not {activation}")
    return F.relu if activation == "relu" else F.gelu


class _Layer(Module):
    """The base of encoder and decoder layers: attention to themselves, and two linear layers."""

    _parts = 2
    """Into how many parts, each with a residual connection and a norm, the layer is divided."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        place = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout=dropout, bias=bias, batch_first=batch_first, **place
        )
        self._more_attention(d_model, nhead, dropout, bias, batch_first, place)
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, **place)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, **place)
        self.norm_first = norm_first
        for number in range(1, self._parts + 1):
            setattr(self, f"norm{number}", LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **place))
        for number in range(1, self._parts + 1):
            setattr(self, f"dropout{number}", Dropout(dropout))
        self.activation = _activation(activation)

    def _more_attention(
        self, d_model: int, nhead: int, dropout: float, bias: bool, batch_first: bool, place: Any
    ) -> None:
        """Make the attention to something else, in the decoder."""

    def _attend(self, x: Tensor, mask: Any, padding: Any, causal: bool) -> Tensor:
        """Attention of x to itself, with its dropout."""
        attended, _ = self.self_attn(
            x, x, x, attn_mask=mask, key_padding_mask=padding, need_weights=False, is_causal=causal
        )
        return self.dropout1(attended)

    def _feed(self, x: Tensor) -> Tensor:
        """Two linear layers at every position by itself."""
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Attention to itself, then two linear layers, each with a residual connection and a layer norm.

    Vaswani et al. 2017, section 3.1.  ``x = norm1(x + attention(x))``, then
    ``norm2(x + linear2(activation(linear1(x))))``; ``norm_first`` normalises what goes into each part
    instead (Xiong et al. 2020).  ``dim_feedforward`` is the width between the two linear layers.

    src (s, n, d_model), or (n, s, d_model) with ``batch_first``, or (s, d_model), floating point; the result
    has the same shape.  Masks and errors as for :class:`accelgrad.nn.MultiheadAttention`; RuntimeError for an
    activation with an unknown name.

    >>> import accelgrad
    >>> layer = TransformerEncoderLayer(8, nhead=2, dim_feedforward=16, batch_first=True)
    >>> layer(accelgrad.randn(3, 5, 8)).shape
    accelgrad.Size([3, 5, 8])
    """

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        x = src
        if self.norm_first:
            x = x + self._attend(self.norm1(x), src_mask, src_key_padding_mask, is_causal)
            return x + self.dropout2(self._feed(self.norm2(x)))
        x = self.norm1(x + self._attend(x, src_mask, src_key_padding_mask, is_causal))
        return self.norm2(x + self.dropout2(self._feed(x)))


class TransformerDecoderLayer(_Layer):
    """Attention to itself, attention to ``memory`` (the encoder's output), then two linear layers.

    Vaswani et al. 2017, section 3.1.  Each of the three parts has a residual connection and a layer norm;
    settings as for :class:`TransformerEncoderLayer`.  tgt (t, n, d_model) and memory (s, n, d_model), or with
    the batch n first, or without n; the result has the shape of tgt.  Errors as for the encoder's layer.

    >>> import accelgrad
    >>> layer = TransformerDecoderLayer(8, nhead=2, dim_feedforward=16, batch_first=True)
    >>> layer(accelgrad.randn(3, 4, 8), accelgrad.randn(3, 5, 8)).shape
    accelgrad.Size([3, 4, 8])
    """

    _parts = 3

    def _more_attention(
        self, d_model: int, nhead: int, dropout: float, bias: bool, batch_first: bool, place: Any
    ) -> None:
        self.multihead_attn = MultiheadAttention(
            d_model, nhead, dropout=dropout, bias=bias, batch_first=batch_first, **place
        )

    def _look(self, x: Tensor, memory: Tensor, mask: Any, padding: Any, causal: bool) -> Tensor:
        """Attention of x to the memory, with its dropout."""
        attended, _ = self.multihead_attn(
            x, memory, memory, attn_mask=mask, key_padding_mask=padding, need_weights=False, is_causal=causal
        )
        return self.dropout2(attended)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        x = tgt
        there = (memory, memory_mask, memory_key_padding_mask, memory_is_causal)
        if self.norm_first:
            x = x + self._attend(self.norm1(x), tgt_mask, tgt_key_padding_mask, tgt_is_causal)
            x = x + self._look(self.norm2(x), *there)
            return x + self.dropout3(self._feed(self.norm3(x)))
        x = self.norm1(x + self._attend(x, tgt_mask, tgt_key_padding_mask, tgt_is_causal))
        x = self.norm2(x + self._look(x, *there))
        return self.norm3(x + self.dropout3(self._feed(x)))


class _Stack(Module):
    """Several copies of a layer, one after the other, and a last norm."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm


class TransformerEncoder(_Stack):
    """``num_layers`` encoder layers one after the other, copies of the given one, and a last norm.

    src (s, n, d_model), or as the layer takes it; the result has the same shape.  PyTorch's settings
    ``enable_nested_tensor`` and ``mask_check`` are accepted and change nothing.

    >>> import accelgrad
    >>> encoder = TransformerEncoder(TransformerEncoderLayer(8, 2, 16, batch_first=True), num_layers=2)
    >>> encoder(accelgrad.randn(3, 5, 8)).shape
    accelgrad.Size([3, 5, 8])
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(_Stack):
    """``num_layers`` decoder layers one after the other, copies of the given one, and a last norm.

    tgt (t, n, d_model) and memory (s, n, d_model), or as the layer takes them; the result has the shape of
    tgt.

    >>> import accelgrad
    >>> decoder = TransformerDecoder(TransformerDecoderLayer(8, 2, 16, batch_first=True), num_layers=2)
    >>> decoder(accelgrad.randn(3, 4, 8), accelgrad.randn(3, 5, 8)).shape
    accelgrad.Size([3, 4, 8])
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        for layer in self.layers:
            tgt = layer(
                tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
                bool(tgt_is_causal), memory_is_causal,
            )  # fmt: skip
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder that reads the source, and a decoder that looks at the result while it reads the target.

    Vaswani et al. 2017.  src (s, n, d_model) and tgt (t, n, d_model), or the batch n first with
    ``batch_first``, or without n; the result has the shape of tgt.  Embeddings, positions and the last linear
    layer are the caller's.  ``custom_encoder`` and ``custom_decoder`` take the place of those made from the
    other settings.  Matrices are drawn by ``xavier_uniform_``.  RuntimeError where the batches differ, or
    other than d_model features come.

    >>> import accelgrad
    >>> model = Transformer(8, nhead=2, num_encoder_layers=1, num_decoder_layers=1, dim_feedforward=16)
    >>> causal = model.generate_square_subsequent_mask(4)
    >>> model(accelgrad.randn(5, 3, 8), accelgrad.randn(4, 3, 8), tgt_mask=causal).shape
    accelgrad.Size([4, 3, 8])
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        settings: tuple[Any, ...] = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first,
            bias, device, dtype,
        )  # fmt: skip

        def norm() -> LayerNorm:
            return LayerNorm(d_model, eps=layer_norm_eps, bias=bias, device=device, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*settings), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*settings), num_decoder_layers, norm()
        )
        self._reset_parameters()
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first

    def _reset_parameters(self) -> None:
        """Draw new first values for all matrices."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        batch = 0 if self.batch_first else 1
        if src.ndim == 3 and tgt.ndim == 3 and src.array.shape[batch] != tgt.array.shape[batch]:
            raise RuntimeError("the batch number of src and tgt must be equal")
        if src.array.shape[-1] != self.d_model or tgt.array.shape[-1] != self.d_model:
            raise RuntimeError("the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        return self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal,
            memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The mask (sz, sz) by which no position looks at a later one: 0 up to the diagonal, -inf above.

        >>> Transformer.generate_square_subsequent_mask(2)
        tensor([[0., -inf],
                [0., 0.]])
        """
        xp = backend.namespace(device)
        kind = dtypes.get_default_dtype().numpy if dtype is None else dtypes.as_numpy(dtype)
        return wrap(xp.triu(xp.full((sz, sz), -math.inf, dtype=kind), 1), xp)
