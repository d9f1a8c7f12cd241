"""Operations of neural layers: linear, convolution, pooling, normalisation, attention, recurrence."""

from accelgrad.ops.layers import attention as attention
from accelgrad.ops.layers import avg_pool as avg_pool
from accelgrad.ops.layers import conv as conv
from accelgrad.ops.layers import conv_transpose as conv_transpose
from accelgrad.ops.layers import dropout as dropout
from accelgrad.ops.layers import embedding as embedding
from accelgrad.ops.layers import fold as fold
from accelgrad.ops.layers import fractional as fractional
from accelgrad.ops.layers import grid as grid
from accelgrad.ops.layers import linear as linear
from accelgrad.ops.layers import norm as norm
from accelgrad.ops.layers import pool as pool
from accelgrad.ops.layers import recurrent as recurrent
from accelgrad.ops.layers import resample as resample
from accelgrad.ops.layers import sequence as sequence
from accelgrad.ops.layers import volume_pool as volume_pool
