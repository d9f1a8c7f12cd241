"""Training steps against PyTorch: ``python benchmarks/training.py [--quick] [--start] [--json FILE]``.

The same as ``python -m accelgrad bench``; the models are in ``accelgrad/cli/bench.py``.
"""

import sys

from accelgrad.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
