"""Table of contents of the CUDA kernels: name -> (file, least size in the mode ``auto``); imports nothing.

``None``: the array module's own call is one launch of a tuned library, and ``auto`` leaves the work to it
until ``benchmarks/gpu.py`` has measured ours to be faster on a card.  The others stand for plain formulas
of 5 to 20 launches each.
"""

CONTENTS: dict[str, tuple[str, int | None]] = {
    "matmul": ("matmul", None),
}
