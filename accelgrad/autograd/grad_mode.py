"""The switches of recording under PyTorch's path (``torch.autograd.grad_mode``)."""

from accelgrad.core.modes import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = ["enable_grad", "inference_mode", "no_grad", "set_grad_enabled"]
