"""Operations that make tensors: from data, of constants, of random numbers, in another dtype."""

from accelgrad.ops.creation import convert as convert
from accelgrad.ops.creation import create as create
from accelgrad.ops.creation import redraw as redraw
from accelgrad.ops.creation import sampling as sampling
from accelgrad.ops.creation import signal_windows as signal_windows
from accelgrad.ops.creation import typed as typed
