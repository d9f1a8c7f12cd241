"""The earlier path of ``_BatchNorm``; it lives in :mod:`accelgrad.nn.modules.batchnorm`."""

from accelgrad.nn.modules.batchnorm import _BatchNorm as _BatchNorm
