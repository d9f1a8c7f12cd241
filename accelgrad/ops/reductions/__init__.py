"""Operations along dimensions: sums, extrema, statistics, scans, sorting, softmax."""

from accelgrad.ops.reductions import calculus as calculus
from accelgrad.ops.reductions import count as count
from accelgrad.ops.reductions import extrema as extrema
from accelgrad.ops.reductions import reduce as reduce
from accelgrad.ops.reductions import scan as scan
from accelgrad.ops.reductions import softmax as softmax
from accelgrad.ops.reductions import sorting as sorting
from accelgrad.ops.reductions import statistics as statistics
