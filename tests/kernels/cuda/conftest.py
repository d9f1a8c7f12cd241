"""These tests run in a process with NUMBA_ENABLE_CUDASIM=1, which tests/kernels/test_cuda_simulator.py
starts.
"""

from __future__ import annotations

import os
import pathlib
import sys

if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import simulator  # noqa: F401
else:
    collect_ignore_glob = ["*.py"]
