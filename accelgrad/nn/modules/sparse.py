"""Embedding and EmbeddingBag: tables of vectors, looked up by number."""

from __future__ import annotations

from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn import init
from accelgrad.nn.modules.module import Module
from accelgrad.nn.modules.settings import changed
from accelgrad.nn.parameter import Parameter, empty

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    """A table (num_embeddings, embedding_dim) of vectors, and the row that stands for padding."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        weight: Tensor | None,
        freeze: bool,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(
                    f"padding_idx must be within num_embeddings: {padding_idx}, {num_embeddings}"
                )
            padding_idx %= num_embeddings
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx
        if weight is None:
            shape = (num_embeddings, embedding_dim)
            self.weight = Parameter(empty(shape, device=device, dtype=dtype), requires_grad=not freeze)
            self.reset_parameters()
        else:
            if tuple(weight.shape) != (num_embeddings, embedding_dim):
                raise ValueError(
                    "Shape of weight does not match num_embeddings and embedding_dim:"
                    f" {tuple(weight.shape)} against {(num_embeddings, embedding_dim)}"
                )
            self.weight = Parameter(weight, requires_grad=not freeze)

    def reset_parameters(self) -> None:
        """Draw new first values: standard normal, the padding row zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.array[self.padding_idx] = 0


class Embedding(_Table):
    """``y = weight[input]``: every number becomes the vector in that row of the table.

    weight (num_embeddings, embedding_dim), drawn from a standard normal distribution.  The row
    ``padding_idx`` is zero at first and gets no gradient; rows that are longer than ``max_norm`` (by the norm
    ``norm_type``) are shortened in place when they are looked up; ``scale_grad_by_freq`` divides each row's
    gradient by how often it was looked up; ``sparse`` is accepted and gives a dense gradient.

    Integers (...) give (..., embedding_dim).  IndexError for a number outside of the table, ValueError for
    such a padding_idx.

    >>> import accelgrad
    >>> layer = Embedding(10, 3)
    >>> layer
    Embedding(10, 3)
    >>> layer(accelgrad.tensor([[1, 2], [4, 9]])).shape
    accelgrad.Size([2, 2, 3])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx, _weight, _freeze, device, dtype)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """An Embedding with the given table (rows, columns), which is not learned unless ``freeze=False``."""
        if embeddings.ndim != 2:
            raise ValueError("Embeddings parameter is expected to be 2-dimensional")
        rows, columns = embeddings.array.shape
        return cls(
            rows,
            columns,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight=embeddings,
            _freeze=freeze,
        )

    def _expects(self, input: Tensor) -> str:
        if input.array.size and input.dtype.category == 1:
            low, high = int(input.array.min()), int(input.array.max())
            if low < 0 or high >= self.num_embeddings:
                return f"the numbers must lie in 0 to {self.num_embeddings - 1}, got {low} to {high}."
        return ""

    def extra_repr(self) -> str:
        settings = changed(
            self, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False
        )
        return f"{self.num_embeddings}, {self.embedding_dim}{settings}"


class EmbeddingBag(_Table):
    """The mean, sum or maximum of the vectors of each bag of numbers, by ``mode``: "mean", "sum", "max".

    A bag is a row of a matrix (bags, k), or the part of a vector (total,) that begins at its entry of
    ``offsets`` (bags,); with ``include_last_offset`` the last entry says where the last bag ends.  The
    result is (bags, embedding_dim); an empty bag gives zeros.  ``per_sample_weights``, of the input's shape,
    multiply the vectors of sums.  Table, other settings and errors as for :class:`Embedding`; the row
    ``padding_idx`` counts for nothing.

    >>> import accelgrad
    >>> layer = EmbeddingBag(10, 3, mode="sum")
    >>> layer(accelgrad.tensor([1, 2, 4, 5]), offsets=accelgrad.tensor([0, 3])).shape
    accelgrad.Size([2, 3])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx, _weight, False, device, dtype)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self.mode, self.include_last_offset = mode, include_last_offset

    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        settings = changed(self, max_norm=None, norm_type=2.0, scale_grad_by_freq=False)
        padding = changed(self, padding_idx=None)
        return f"{self.num_embeddings}, {self.embedding_dim}{settings}, mode={self.mode!r}{padding}"
