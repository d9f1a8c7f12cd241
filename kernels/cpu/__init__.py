"""Table of contents of the CPU kernels: name -> (file, least size in the mode ``auto``); imports nothing."""

CONTENTS: dict[str, tuple[str, int | None]] = {
    "argmax": ("argument", 1 << 15),
    "argmin": ("argument", 1 << 15),
    "logsumexp": ("reduce", 1 << 15),
    "matmul": ("matmul", None),
    "max": ("reduce", 1 << 16),
    "mean": ("reduce", 1 << 16),
    "min": ("reduce", 1 << 16),
    "prod": ("reduce", 1 << 16),
    "sum": ("reduce", 1 << 16),
    "var": ("reduce", 1 << 15),
    "vector_norm": ("reduce", 1 << 15),
}
