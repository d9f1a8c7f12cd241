"""cuBLAS is there: the stand-in multiplies by NumPy."""
