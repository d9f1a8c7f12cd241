"""Neural networks: Module, Parameter, the layers and losses under PyTorch's names.

>>> from accelgrad import nn
>>> nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
Sequential(
  (0): Linear(in_features=4, out_features=8, bias=True)
  (1): ReLU()
  (2): Linear(in_features=8, out_features=2, bias=True)
)
"""

from accelgrad.nn import functional as functional
from accelgrad.nn import init as init
from accelgrad.nn import modules as modules
from accelgrad.nn import utils as utils
from accelgrad.nn.modules import *  # noqa: F403
from accelgrad.nn.modules.module import Module as Module
from accelgrad.nn.parameter import Buffer as Buffer
from accelgrad.nn.parameter import Parameter as Parameter
from accelgrad.nn.parameter import UninitializedBuffer as UninitializedBuffer
from accelgrad.nn.parameter import UninitializedParameter as UninitializedParameter
