"""The stand-in is a package that must never be collected: it would hide the real CuPy."""

collect_ignore = ["module", "snapshot.py"]
