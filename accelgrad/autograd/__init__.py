"""Derivatives: grad, backward, custom Functions, gradcheck, anomaly mode, jacobians."""

from accelgrad.autograd import functional as functional
from accelgrad.autograd import grad_mode as grad_mode
from accelgrad.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from accelgrad.autograd.function import Function, FunctionCtx, once_differentiable
from accelgrad.autograd.functional import backward, grad
from accelgrad.autograd.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled
from accelgrad.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from accelgrad.autograd.variable import Variable
from accelgrad.core.modes import is_grad_enabled

__all__ = [
    "Function", "FunctionCtx", "GradcheckError", "Variable", "backward", "detect_anomaly", "enable_grad",
    "functional", "grad", "grad_mode", "gradcheck", "gradgradcheck", "inference_mode", "is_grad_enabled",
    "no_grad", "once_differentiable", "set_detect_anomaly", "set_grad_enabled",
]  # fmt: skip
