"""Parametrizations of weights: weight_norm, spectral_norm, orthogonal."""

from __future__ import annotations

from typing import Any

from accelgrad import linalg
from accelgrad.core.modes import no_grad
from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from accelgrad.nn.modules.module import Module
from accelgrad.nn.utils.parametrize import register_parametrization
from accelgrad.ops.creation.create import eye
from accelgrad.ops.linalg.reflections import geqrf
from accelgrad.ops.pointwise.compare import allclose
from accelgrad.ops.shapes.fill import where
from accelgrad.ops.shapes.join import cat

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def norm_except_dim(v: Tensor, dim: int | None) -> Tensor:
    """The 2-norm over all dimensions but ``dim``, which stay with extent 1; over all for None and -1."""
    if dim is None or dim == -1:
        return v.norm()
    kept = dim % v.ndim
    if v.ndim == 1:
        return v.abs()
    return v.norm(dim=tuple(place for place in range(v.ndim) if place != kept), keepdim=True)


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """The weight as a matrix (extent of dim, all others), whose singular value spectral_norm divides by."""
    return weight.movedim(dim, 0).flatten(1)  # (extent of dim, all others)


def output_dim(module: Module) -> int:
    """The dimension of a layer's weight that belongs to the outputs."""
    return 1 if isinstance(module, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d) else 0


def tensor_of(module: Module, name: str) -> Tensor:
    """The parameter or buffer ``name``; ValueError where there is none."""
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


class _WeightNorm(Module):
    """``w = g v / |v|`` from the length g and the direction v."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except_dim(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight.clone()


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn length and direction of a weight apart: ``w = g v / |v|``.  Salimans & Kingma 2016.

    One norm for each index of ``dim``, or, for None, one for all.  g is
    ``module.parametrizations.weight.original0``, v is ``original1``.  State dicts of the older weight_norm
    can be loaded.  ValueError where there is no parameter ``name``.

    >>> from accelgrad import nn
    >>> layer = weight_norm(nn.Linear(3, 5))
    >>> layer.parametrizations.weight.original0.shape, layer.parametrizations.weight.original1.shape
    (accelgrad.Size([5, 1]), accelgrad.Size([5, 3]))
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(_: Any, state_dict: dict[str, Any], prefix: str, *__: Any) -> None:
        """Give the entries of the older weight_norm, ``weight_g`` and ``weight_v``, their new names."""
        old = (f"{prefix}{name}_g", f"{prefix}{name}_v")
        if all(key in state_dict for key in old):
            for place, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{place}"] = state_dict.pop(key)

    module.register_load_state_dict_pre_hook(rename)
    return module


class _SpectralNorm(Module):
    """``W / sigma``, where sigma = uᵀ W v is the largest singular value, found by the power method.

    The vectors u and v are buffers; in training mode every reading of the weight improves them a little.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{weight.ndim},"
                f" {weight.ndim - 1}] but got {dim})"
            )
        check_iterations(n_power_iterations)
        self.dim, self.eps = dim % weight.ndim, eps
        if weight.ndim == 1:
            return
        self.n_power_iterations = n_power_iterations
        with no_grad():
            matrix = as_matrix(weight.detach(), self.dim)
            for key, size in (("_u", matrix.shape[0]), ("_v", matrix.shape[1])):
                start = matrix.new_empty(size).normal_(0, 1)
                self.register_buffer(key, F.normalize(start, dim=0, eps=eps))
            self._improve(matrix, 15)

    def _improve(self, matrix: Tensor, times: int) -> None:
        """Take some steps of the power method."""
        with no_grad():
            for _ in range(times):
                self._u.copy_(F.normalize(matrix @ self._v, dim=0, eps=self.eps))
                self._v.copy_(F.normalize(self._u @ matrix, dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._improve(matrix.detach(), self.n_power_iterations)
        # Copies: a later reading improves u and v in place, and backward still needs those of this one.
        return weight / (self._u.clone() @ (matrix @ self._v.clone()))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def check_iterations(count: int) -> None:
    """ValueError for no iterations of the power method."""
    if count <= 0:
        raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={count}")


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value: the layer then lengthens no vector.  Miyato et al. 2018.

    Weights of more than two dimensions are read as the matrix (extent of dim, all others); ``dim`` is by
    default the dimension of the outputs, 0, or 1 for transposed convolutions.  In training mode each reading
    of the weight takes ``n_power_iterations`` steps of the power method, in evaluation none; ``eps`` keeps
    it from dividing by 0.  ValueError where there is no parameter ``name`` or there are no iterations.

    >>> import accelgrad
    >>> from accelgrad import nn
    >>> layer = spectral_norm(nn.Linear(4, 4))
    >>> for _ in range(200):
    ...     weight = layer.weight
    >>> bool((accelgrad.linalg.matrix_norm(weight, 2) - 1).abs() < 0.01)
    True
    """
    weight = tensor_of(module, name)
    chosen = output_dim(module) if dim is None else dim
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, chosen, eps))


MAPS = ("matrix_exp", "cayley", "householder")


class _Orthogonal(Module):
    """An orthogonal Q from any matrix X, by one of three maps.

    "matrix_exp" is exp(A) and "cayley" (1 - A / 2)⁻¹ (1 + A / 2), where A = L - Lᵀ with the lower triangle L
    of X; "householder" is a product of reflections, whose vectors are the columns of X below the diagonal.
    With a ``base`` B the result is B Q: learning then starts at X = 0 (up to signs), wherever B is.  Lezcano
    Casado 2019, "Trivializations for gradient-based optimization on manifolds".
    """

    base: Tensor | None

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True) -> None:
        super().__init__()
        self.extents, self.orthogonal_map = tuple(weight.shape), orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        # Computed for tall matrices (..., n, k) with n >= k.
        wide = X.array.shape[-2] < X.array.shape[-1]
        X = X.mT if wide else X
        n, k = X.array.shape[-2:]
        if self.orthogonal_map == "householder":
            A = X.tril(-1)
            tau = 2 / (1 + (A * A).sum(-2))
            signs = X.detach().diagonal(0, -2, -1).trunc().unsqueeze(-2)
            Q = linalg.householder_product(A, tau) * signs
        else:
            lower = X.tril()
            if n != k:
                nothing = X.detach().new_zeros((*X.array.shape[:-1], n - k))
                lower = cat([lower, nothing], -1)
            A = lower - lower.mT
            if self.orthogonal_map == "matrix_exp":
                Q = linalg.matrix_exp(A)
            else:
                one = eye(n, dtype=X.dtype, device=X.device)
                Q = linalg.solve(one - A / 2, one + A / 2)
            Q = Q[..., :k]
        if self.use_trivialization and self.base is not None:
            Q = self.base @ Q
        return Q.mT if wide else Q

    @no_grad()
    def right_inverse(self, Q: Tensor) -> Tensor:
        # Computed for tall matrices (..., n, k) with n >= k, as forward.
        if tuple(Q.shape) != self.extents:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.extents}."
                f" Got a tensor of shape {tuple(Q.shape)}."
            )
        wide = Q.array.shape[-2] < Q.array.shape[-1]
        tall = Q.mT if wide else Q
        n, k = tall.array.shape[-2:]
        # Without a base only reflections can be found again: by a QR decomposition.
        if not self.use_trivialization:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential"
                    " or the Cayley parametrizations when use_trivialization=False."
                )
            A, tau = geqrf(tall)
            signs = A.diagonal(0, -2, -1).sign()
            # Where LAPACK skipped a reflection, forward makes one of tau = 2: it changes the sign.
            signs = where(tau == 0, -signs, signs)
            A = A.clone()
            A.diagonal(0, -2, -1).copy_(signs)
            return A.mT if wide else A
        # The base is Q, completed to a square matrix and made orthogonal where it is not.
        if n != k:
            tall = cat([tall, tall.new_empty((*tall.array.shape[:-1], n - k)).normal_()], -1)
        one = eye(n, dtype=Q.dtype, device=Q.device)
        rounding = 10 * n * float(Q.xp.module.finfo(Q.array.dtype).eps)
        if n != k or not allclose(tall.mT @ tall, one.expand(tall.shape), atol=rounding):
            factors = linalg.qr(tall)
            signs = factors.R.diagonal(0, -2, -1).sign().unsqueeze(-2)
            tall = factors.Q * signs
        self.base = tall.clone()
        # Zeros with -1 on the diagonal: for all three maps Q is then the identity.
        start = Q.new_zeros(Q.shape)
        start.diagonal(0, -2, -1).fill_(-1.0)
        return start


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keep the columns of a weight (..., m, n) orthonormal while it learns, or its rows where m < n.

    ``orthogonal_map``: "matrix_exp" (by default for square matrices), "cayley" or "householder" (by default
    for others).  The first value is the weight, made orthogonal.  ``use_trivialization`` keeps a matrix to
    start from, without which only "householder" can be assigned to.  ValueError for vectors and other maps.

    >>> import accelgrad
    >>> from accelgrad import nn
    >>> layer = orthogonal(nn.Linear(3, 5))
    >>> accelgrad.allclose(layer.weight.T @ layer.weight, accelgrad.eye(3), atol=1e-5)
    True
    """
    weight = tensor_of(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in MAPS:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
