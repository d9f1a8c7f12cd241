"""``python -m accelgrad``: the commands of :mod:`accelgrad.cli`."""

import sys

from accelgrad.cli import main

if __name__ == "__main__":
    sys.exit(main())
