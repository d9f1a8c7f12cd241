"""Table of contents of the CUDA kernels: name -> (file, least size in the mode ``auto``); imports nothing.

``None``: the array module's own call is one launch of a tuned library, and ``auto`` leaves the work to it
until ``benchmarks/gpu.py`` has measured ours to be faster on a card.  The others stand for plain formulas
of 5 to 20 launches each.
"""

CONTENTS: dict[str, tuple[str, int | None]] = {
    "argmax": ("reduce", None),
    "argmin": ("reduce", None),
    "batch_norm": ("norm", 0),
    "batch_norm_backward": ("norm", 0),
    "col2im": ("window", 0),
    "digamma": ("elementwise", 0),
    "embedding_backward": ("embedding", 0),
    "erf": ("elementwise", 0),
    "erfc": ("elementwise", 0),
    "erfinv": ("elementwise", 0),
    "gelu": ("elementwise", 0),
    "gelu_backward": ("elementwise", 0),
    "im2col": ("window", 0),
    "keep_mask": ("dropout", 0),
    "layer_norm": ("norm", 0),
    "layer_norm_backward": ("norm", 0),
    "lgamma": ("elementwise", 0),
    "log_softmax": ("softmax", 0),
    "log_softmax_backward": ("softmax", 0),
    "logsumexp": ("softmax", 0),
    "matmul": ("matmul", None),
    "max": ("reduce", None),
    "max_pool2d": ("window", 0),
    "max_pool2d_backward": ("window", 0),
    "mean": ("reduce", None),
    "min": ("reduce", None),
    "prod": ("reduce", None),
    "softmax": ("softmax", 0),
    "softmax_backward": ("softmax", 0),
    "softmax_cross_entropy": ("softmax", 0),
    "softmax_cross_entropy_backward": ("softmax", 0),
    "sum": ("reduce", None),
    "total_norm": ("optimizer", 0),
    "update_all": ("optimizer", 0),
    "var": ("reduce", None),
    "vector_norm": ("reduce", 0),
}
