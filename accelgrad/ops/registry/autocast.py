"""The operations for which autocast chooses the type: PyTorch's lists for the CPU and for cards.

Operations stand here under their paths below ``accelgrad`` (without ``nn.functional.``).  The lists of the
two kinds of device differ, as they do in PyTorch: a card computes in float32 what adds many numbers or has
results of many powers of ten, the CPU computes in float32 losses and operations for which it has no fast
code.  An operation in no list takes its inputs as they are.
Source: PyTorch documentation, "Automatic Mixed Precision", the section on autocast's operations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from accelgrad.core.modes import state

__all__ = ["FLOAT32", "LOWER", "WIDEST", "choosing", "name_of"]

PRODUCTS = frozenset((
    "addbmm", "addmm", "baddbmm", "bmm", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "gru", "gru_cell", "linalg.vecdot", "linear", "lstm",
    "lstm_cell", "matmul", "mm", "prelu", "recurrent_layer", "rmatmul", "rnn_relu", "rnn_relu_cell",
    "rnn_tanh", "rnn_tanh_cell", "scaled_dot_product_attention",
))  # fmt: skip
"""Products of matrices, and operations that consist of such products."""

LOWER: dict[str, frozenset[str]] = {
    "cpu": PRODUCTS,
    "cuda": PRODUCTS | {"addmv", "addr", "mv"},
}
"""Operations that run in the lower type, float16 or bfloat16: they save the most memory and time."""

LOSSES = frozenset((
    "binary_cross_entropy_with_logits", "cdist", "cosine_embedding_loss", "cross_entropy",
    "hinge_embedding_loss", "huber_loss", "kl_div", "l1_loss", "margin_ranking_loss", "mse_loss",
    "multi_margin_loss", "multilabel_margin_loss", "nll_loss", "poisson_nll_loss", "prod", "smooth_l1_loss",
    "soft_margin_loss", "triplet_margin_loss",
))  # fmt: skip
"""Losses, and two other operations that both kinds of device compute in float32."""

FLOAT32: dict[str, frozenset[str]] = {
    "cpu": LOSSES | frozenset((
        "adaptive_avg_pool3d", "adaptive_max_pool3d", "avg_pool3d", "binary_cross_entropy", "cholesky",
        "cholesky_inverse", "cholesky_solve", "ctc_loss", "det", "fractional_max_pool2d",
        "fractional_max_pool3d", "geqrf", "grid_sample", "inverse", "linalg.cholesky", "linalg.cholesky_ex",
        "linalg.cond", "linalg.det", "linalg.eigh", "linalg.eigvalsh", "linalg.householder_product",
        "linalg.inv", "linalg.inv_ex", "linalg.lstsq", "linalg.lu", "linalg.lu_factor",
        "linalg.lu_factor_ex", "linalg.lu_solve", "linalg.matrix_rank", "linalg.qr", "linalg.slogdet",
        "linalg.solve", "linalg.solve_ex", "linalg.svd", "linalg.svdvals", "linalg.tensorinv",
        "linalg.tensorsolve", "logdet", "lu", "lu_solve", "max_unpool1d", "max_unpool2d", "max_unpool3d",
        "nanquantile", "orgqr", "ormqr", "pad.border", "qr", "quantile", "slogdet", "svd", "trace",
    )),
    "cuda": LOSSES | frozenset((
        "acos", "asin", "cosh", "cosine_similarity", "cumprod", "cumsum", "dist", "erfinv", "exp", "expm1",
        "group_norm", "interpolate", "layer_norm", "linalg.matrix_norm", "linalg.norm",
        "linalg.vector_norm", "log", "log10", "log1p", "log2", "log_softmax", "logsumexp", "norm", "pdist",
        "pow", "reciprocal", "renorm", "rpow", "rsqrt", "rtruediv", "sinh", "softmax", "softmin",
        "softplus", "sum", "tan", "upsample", "upsample_bilinear", "upsample_nearest",
    )),
}  # fmt: skip
"""Operations that run in float32: their results span many powers of ten, or they add many numbers."""

WIDEST: dict[str, frozenset[str]] = {
    "cpu": frozenset(("index_copy",)),
    "cuda": frozenset((
        "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "grid_sample", "index_put",
        "linalg.cross", "scatter_add", "vdot",
    )),
}  # fmt: skip
"""Operations that take the widest type among their inputs; without autocast the types must be equal."""

REFUSED = {"cuda": frozenset(("binary_cross_entropy",))}
"""Operations that are an error under autocast: their gradients may overflow in float16."""

# The names in any list.
LISTED = frozenset().union(*LOWER.values(), *FLOAT32.values(), *WIDEST.values(), *REFUSED.values())


def name_of(path: str) -> str:
    """Return the name under which these lists have the operation of a path.

    >>> name_of("nn.functional.linear"), name_of("linalg.det")
    ('linear', 'linalg.det')
    """
    return path.removeprefix("nn.functional.")


def choosing(function: Callable[..., Any], path: str) -> Callable[..., Any]:
    """Return ``function`` with inputs that are cast when autocast is on; unchanged if no list names it.

    Autocast is off within the function, so that the steps of one operation do not choose again.
    """
    name = name_of(path)
    if name not in LISTED:
        return function

    @functools.wraps(function)
    def chosen(*args: Any, **kwargs: Any) -> Any:
        # The rule of the autocast block that this thread is in, if any.
        casting = state.casting
        if casting is None:
            return function(*args, **kwargs)
        given = casting(name, args, kwargs)
        if given is None:
            return function(*args, **kwargs)
        state.casting = None
        try:
            return function(*given[0], **given[1])
        finally:
            state.casting = casting

    return chosen
