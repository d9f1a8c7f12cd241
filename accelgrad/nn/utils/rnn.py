"""Sequences of different lengths: padded into one tensor, or packed without the padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.shapes.join import cat, stack

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip


class _Packed(NamedTuple):
    """The fields of a PackedSequence."""

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Sequences of different lengths without padding, joined time step by time step.

    ``data`` (sum of the lengths, ...) holds the first elements of all sequences, then the second ones of
    those still running, and so on; ``batch_sizes`` (longest,) says how many run at each step;
    ``sorted_indices`` (n,) in which order they were put, the longest first, and ``unsorted_indices`` the way
    back.  It is made by :func:`pack_sequence` and :func:`pack_padded_sequence`, and taken by the recurrent
    layers.  ValueError without batch_sizes, or with batch_sizes on a card.

    >>> import accelgrad
    >>> packed = pack_sequence([accelgrad.tensor([1, 2, 3]), accelgrad.tensor([10, 20])])
    >>> packed.data, packed.batch_sizes
    (tensor([ 1, 10,  2, 20,  3]), tensor([2, 2, 1]))
    """

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            raise ValueError("a PackedSequence needs batch_sizes: use pack_sequence or pack_padded_sequence")
        if batch_sizes.device.type != "cpu":
            raise ValueError("batch_sizes should always be on CPU: they say how the loop over time goes")
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The sequences on another device or in another type; arguments as for ``Tensor.to``."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        moved = [None if one is None else one.to(data.device) for one in self[2:]]
        return type(self)(data, self.batch_sizes, *moved)

    def cpu(self) -> PackedSequence:
        """The sequences in host memory."""
        return self.to("cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The sequences on a card."""
        return self.to(*(args or ("cuda",)), **kwargs)

    def float(self) -> PackedSequence:
        """The sequences in float32."""
        return self.to(np.float32)

    def double(self) -> PackedSequence:
        """The sequences in float64."""
        return self.to(np.float64)

    @property
    def is_cuda(self) -> bool:
        """Whether the data lives on a card."""
        return self.data.is_cuda


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes another; None for None.

    >>> import accelgrad
    >>> invert_permutation(accelgrad.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    if permutation is None:
        return None
    return wrap(permutation.xp.argsort(permutation.array), permutation.xp)


def _order(lengths: np.ndarray, enforce_sorted: bool, xp: Any) -> tuple[np.ndarray, Tensor | None]:
    """The lengths, the longest first, and the order that makes them so; RuntimeError for lengths below 1.

    With ``enforce_sorted`` they must be sorted already, and the order is None.
    """
    if lengths.size == 0 or lengths.min() <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if enforce_sorted:
        if (np.diff(lengths) > 0).any():
            raise RuntimeError(
                "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True."
                " You can pass `enforce_sorted=False` to sort them."
            )
        return lengths, None
    order = np.argsort(-lengths, kind="stable")
    return lengths[order], wrap(xp.from_host(order), xp)


def _host(lengths: Any) -> np.ndarray:
    """Lengths as a vector in host memory; RuntimeError where they are on a card."""
    if isinstance(lengths, Tensor):
        if lengths.is_cuda:
            raise RuntimeError(
                "'lengths' argument should be a 1D CPU int64 tensor, but got one on a card: lengths.cpu()"
            )
        lengths = lengths.array
    return np.asarray(lengths, dtype=np.int64).reshape(-1)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """A padded batch (t, n, ...), or (n, t, ...) with ``batch_first``, without its padding.

    ``lengths`` (n,) on the CPU, in decreasing order unless ``enforce_sorted=False``.  RuntimeError for
    lengths that are not sorted, are less than 1 or more than t, or are not n.

    >>> import accelgrad
    >>> batch = accelgrad.tensor([[1, 2, 3], [10, 20, 0]])
    >>> pack_padded_sequence(batch, [3, 2], batch_first=True).data
    tensor([ 1, 10,  2, 20,  3])
    """
    sizes, order = _order(_host(lengths), enforce_sorted, input.xp)
    x: Any = input.transpose(0, 1) if batch_first else input
    if sizes.size != x.array.shape[1]:
        raise RuntimeError(
            "Expected `len(lengths)` to be equal to batch_size,"
            f" but got {sizes.size} (batch_size={x.array.shape[1]})"
        )
    if sizes[0] > x.array.shape[0]:
        raise RuntimeError(
            f"Expected all lengths to be at most {x.array.shape[0]}, the padded length, but got {sizes[0]}"
        )
    if order is not None:
        x = x.index_select(1, order)
    running = _running(sizes)
    # The element of sequence j at time t stands at t * n + j of the flattened batch.
    places = np.concatenate([t * sizes.size + np.arange(count) for t, count in enumerate(running)])
    flat = x.reshape(x.array.shape[0] * sizes.size, *x.array.shape[2:])  # (t * n, ...)
    data = flat.index_select(0, wrap(x.xp.from_host(places), x.xp))
    return PackedSequence(data, wrap(running), order, None)


def _running(sizes: np.ndarray) -> np.ndarray:
    """The number of sequences that still run at each time, from their lengths."""
    return np.array([int((sizes > t).sum()) for t in range(int(sizes[0]))], dtype=np.int64)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """A packed batch with padding again, and the lengths: the inverse of :func:`pack_padded_sequence`.

    The batch is (longest, n, ...), or (n, longest, ...) with ``batch_first``, filled up with
    ``padding_value``; ``total_length`` makes it longer.  ValueError where that is less than the longest.

    >>> import accelgrad
    >>> pad_packed_sequence(pack_sequence([accelgrad.tensor([1, 2, 3]), accelgrad.tensor([10])]), True)
    (tensor([[ 1,  2,  3],
            [10,  0,  0]]), tensor([3, 1]))
    """
    data, batch_sizes, _, unsorted = sequence
    running = batch_sizes.array
    length, n = len(running), int(running[0])
    if total_length is not None:
        if total_length < length:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input,"
                f" but got total_length={total_length} and max sequence length being {length}"
            )
        length = total_length
    # Each place of the batch takes its row of the data; the padding takes one more row, past the end.
    places = np.concatenate([t * n + np.arange(count) for t, count in enumerate(running)])
    back = np.full(length * n, data.array.shape[0], dtype=np.int64)
    back[places] = np.arange(len(places))
    xp = data.xp
    border = xp.full((1, *data.array.shape[1:]), padding_value, dtype=data.array.dtype)
    rows = cat([data, wrap(border, xp)]).index_select(0, wrap(xp.from_host(back), xp))
    padded = rows.reshape(length, n, *data.array.shape[1:])  # (t, n, ...)
    lengths = np.array([int((running > j).sum()) for j in range(n)], dtype=np.int64)
    if unsorted is not None:
        padded = padded.index_select(1, unsorted)
        lengths = lengths[unsorted.xp.to_host(unsorted.array)]
    return padded.transpose(0, 1) if batch_first else padded, wrap(lengths)


def pad_sequence(
    sequences: Tensor | Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (t_j, ...) as one tensor, filled up with ``padding_value``.

    The result is (longest, n, ...), or (n, longest, ...) with ``batch_first``; ``padding_side`` is "right" or
    "left".  RuntimeError for no sequences, for sequences that differ in more than their length, and for
    another side.

    >>> from accelgrad import Tensor
    >>> pad_sequence([Tensor([1.0, 2.0]), Tensor([3.0])], batch_first=True)
    tensor([[1., 2.],
            [3., 0.]])
    """
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    longest = max(one.array.shape[0] for one in sequences)
    padded = []
    for place, one in enumerate(sequences):
        if one.array.shape[1:] != sequences[0].array.shape[1:]:
            raise RuntimeError(
                "The size of the sequences must match except in their first dimension,"
                f" but sequence {place} has shape {tuple(one.shape)}"
                f" and sequence 0 {tuple(sequences[0].shape)}"
            )
        missing = longest - one.array.shape[0]
        if missing:
            xp = one.xp
            border = wrap(xp.full((missing, *one.array.shape[1:]), padding_value, dtype=one.array.dtype), xp)
            one = cat([one, border] if padding_side == "right" else [border, one])
        padded.append(one)
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """A padded batch as a list of sequences of their own lengths: the inverse of :func:`pad_sequence`.

    >>> import accelgrad
    >>> unpad_sequence(accelgrad.tensor([[1, 2], [3, 0]]), [2, 1], batch_first=True)
    [tensor([1, 2]), tensor([3])]
    """
    batch: Any = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [one[: int(length)] for one, length in zip(batch.unbind(0), _host(lengths), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """A list of sequences (t_j, ...), packed; arguments and errors as for :func:`pack_padded_sequence`.

    >>> import accelgrad
    >>> pack_sequence([accelgrad.tensor([1, 2, 3]), accelgrad.tensor([10, 20])]).batch_sizes
    tensor([2, 2, 1])
    """
    lengths = [one.array.shape[0] for one in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """A packed batch as a list of sequences: the inverse of :func:`pack_sequence`.

    >>> import accelgrad
    >>> unpack_sequence(pack_sequence([accelgrad.tensor([1, 2, 3]), accelgrad.tensor([10, 20])]))
    [tensor([1, 2, 3]), tensor([10, 20])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
