"""The harness for CuPy on the host is no test, and needs Linux: pytest shall not import it."""

collect_ignore = ["cupy_on_host"]
