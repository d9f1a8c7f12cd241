"""Table of contents of the CPU kernels: name -> (file, least size in the mode ``auto``); imports nothing."""

CONTENTS: dict[str, tuple[str, int | None]] = {
    "matmul": ("matmul", None),
}
