"""The operations, in wings; importing this package registers them all.

Each wing uses only what stands before it: creation, pointwise, shapes, reductions, linalg, layers, losses.
``registry`` holds the machinery: what an entry is, and what comes from it.
"""

from accelgrad.ops import registry as registry  # isort: skip
from accelgrad.ops import creation as creation  # isort: skip
from accelgrad.ops import pointwise as pointwise  # isort: skip
from accelgrad.ops import shapes as shapes  # isort: skip
from accelgrad.ops import reductions as reductions  # isort: skip
from accelgrad.ops import linalg as linalg  # isort: skip
from accelgrad.ops import layers as layers  # isort: skip
from accelgrad.ops import losses as losses  # isort: skip
from accelgrad.ops.registry import reading as reading  # isort: skip
