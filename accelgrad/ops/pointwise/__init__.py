"""Operations on each element by itself: arithmetic, powers, functions, comparisons, activations."""

from accelgrad.ops.pointwise import activation as activation
from accelgrad.ops.pointwise import arithmetic as arithmetic
from accelgrad.ops.pointwise import bessel as bessel
from accelgrad.ops.pointwise import binary as binary
from accelgrad.ops.pointwise import bitwise as bitwise
from accelgrad.ops.pointwise import compare as compare
from accelgrad.ops.pointwise import elementwise as elementwise
from accelgrad.ops.pointwise import gelu as gelu
from accelgrad.ops.pointwise import hard_activation as hard_activation
from accelgrad.ops.pointwise import hurwitz as hurwitz
from accelgrad.ops.pointwise import power as power
from accelgrad.ops.pointwise import real as real
from accelgrad.ops.pointwise import rounding as rounding
from accelgrad.ops.pointwise import scale as scale
from accelgrad.ops.pointwise import special as special
from accelgrad.ops.pointwise import trigonometry as trigonometry
