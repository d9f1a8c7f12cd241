"""Operations on matrices: products, contractions, decompositions, norms."""

from accelgrad.ops.linalg import contraction as contraction
from accelgrad.ops.linalg import covariance as covariance
from accelgrad.ops.linalg import decomposition as decomposition
from accelgrad.ops.linalg import einsum as einsum
from accelgrad.ops.linalg import legacy as legacy
from accelgrad.ops.linalg import linalg as linalg
from accelgrad.ops.linalg import linalg_ex as linalg_ex
from accelgrad.ops.linalg import lu as lu
from accelgrad.ops.linalg import matrix_function as matrix_function
from accelgrad.ops.linalg import norms as norms
from accelgrad.ops.linalg import product as product
from accelgrad.ops.linalg import reflections as reflections
