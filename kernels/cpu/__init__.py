"""Table of contents of the CPU kernels: name -> (file, least size in the mode ``auto``); imports nothing.

The least sizes were measured against NumPy with benchmarks/kernels.py: below, NumPy or the plain formula is
as fast, or the time that could be won is not worth the import of Numba.  None: ``auto`` never takes the
kernel.  For max and min NumPy is faster.  For matmul it depends on what NumPy's BLAS makes of the processor,
see ``matmul.outruns_blas``: on an AMD Zen 5 our product is 1.4 to 2 times as fast as OpenBLAS 0.3.31, which
takes that processor for one without AVX-512.  ``auto`` then takes ours for all products of some size: the
threads of the two pools would get in each other's way if both were at work.
"""

CONTENTS: dict[str, tuple[str, int | None]] = {
    "argmax": ("argument", 1 << 15),
    "argmin": ("argument", 1 << 15),
    "batch_norm": ("norm", 1 << 12),
    "batch_norm_backward": ("norm", 1 << 12),
    "col2im": ("window", 1 << 12),
    "convolution": ("conv", 1 << 12),
    "convolution_input": ("conv", 1 << 12),
    "convolution_weight": ("conv", 1 << 12),
    "embedding_backward": ("embedding", 1 << 10),
    "gelu": ("activation", 1 << 8),
    "gelu_backward": ("activation", 1 << 8),
    "gru_steps": ("recurrent", 1 << 12),
    "gru_steps_backward": ("recurrent", 1 << 12),
    "im2col": ("window", 1 << 12),
    "layer_norm": ("norm", 1 << 10),
    "layer_norm_backward": ("norm", 1 << 10),
    "linear": ("matmul", 1 << 12),
    "log_softmax": ("softmax", 1 << 10),
    "log_softmax_backward": ("softmax", 1 << 10),
    "logsumexp": ("reduce", 1 << 15),
    "lstm_steps": ("recurrent", 1 << 12),
    "lstm_steps_backward": ("recurrent", 1 << 12),
    "matmul": ("matmul", 1 << 12),
    "max": ("reduce", None),
    "max_pool2d": ("window", 1 << 12),
    "max_pool2d_backward": ("window", 1 << 10),
    "mean": ("reduce", 1 << 19),
    "min": ("reduce", None),
    "prod": ("reduce", 1 << 15),
    "rounded": ("rounded", 1 << 14),
    "softmax": ("softmax", 1 << 10),
    "softmax_backward": ("softmax", 1 << 10),
    "softmax_cross_entropy": ("softmax", 1 << 8),
    # Its first argument is the gradient of the losses, one for each row.
    "softmax_cross_entropy_backward": ("softmax", 1 << 3),
    "sum": ("reduce", 1 << 19),
    "total_norm": ("optimizer", 1 << 10),
    "update_all": ("optimizer", 0),
    "var": ("reduce", 1 << 18),
    "vector_norm": ("reduce", 1 << 16),
}
