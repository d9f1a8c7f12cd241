"""The operations, in families; importing this package registers them all."""

import importlib

FAMILIES = (
    "convert", "create", "arithmetic", "power", "elementwise", "trigonometry", "rounding", "bitwise",
    "pairs", "special", "tails", "bessel", "compare", "reduce", "extrema", "scan", "calculus",
    "statistics", "product", "contraction", "einsum", "linalg", "decomposition", "lu", "info",
    "reflections", "matrix_function", "norms", "legacy", "shape", "reshaping", "expand", "index",
    "join", "gather", "fill", "diagonal", "arrange", "pad", "combine", "scatter", "scatter_reduce",
    "pick", "count", "sorting", "activation", "hard_activation", "linear", "softmax", "loss", "ctc",
    "pair_loss", "divergence", "distance", "margin_loss", "conv", "conv_transpose", "fold", "pool",
    "avg_pool", "volume_pool", "fractional", "resample", "grid", "norm", "embedding", "dropout",
    "attention", "recurrent", "sequence", "tapers", "sundry", "sampling", "redraw", "typed", "reading",
)  # fmt: skip

for _family in FAMILIES:
    importlib.import_module(f"accelgrad.ops.{_family}")
