"""Operations that move elements and compute none: shapes, views, indexing, joining, gathering, scattering."""

from accelgrad.ops.shapes import arrange as arrange
from accelgrad.ops.shapes import combine as combine
from accelgrad.ops.shapes import diagonal as diagonal
from accelgrad.ops.shapes import expand as expand
from accelgrad.ops.shapes import fill as fill
from accelgrad.ops.shapes import gather as gather
from accelgrad.ops.shapes import index as index
from accelgrad.ops.shapes import join as join
from accelgrad.ops.shapes import nonzero as nonzero
from accelgrad.ops.shapes import pad as pad
from accelgrad.ops.shapes import reshaping as reshaping
from accelgrad.ops.shapes import scatter as scatter
from accelgrad.ops.shapes import scatter_reduce as scatter_reduce
from accelgrad.ops.shapes import shape as shape
from accelgrad.ops.shapes import take as take
