"""Adafactor: Adam's scaling from one number for each row and each column of a matrix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.arrays import dtypes
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.optim.optimizer import Group, Optimizer, State, number, zeros_like

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """Adafactor: Adam's scaling from two vectors for a matrix, where Adam keeps two matrices.

    Step t on a parameter x with gradient g::

        b = t^beta2_decay                                         (the weight of this step in the averages)
        alpha = max(eps2, RMS(x)) min(lr, 1 / sqrt(t))
        x = x - lr weight_decay x
        R = (1 - b) R + b mean of g² over the columns,  C = (1 - b) C + b mean of g² over the rows
        V = R C / max(mean of R, eps1)                            (of vectors: V = (1 - b) V + b g²)
        u = g / max(sqrt(V), eps1)
        x = x - alpha u / max(1, RMS(u) / d)

    Shazeer & Stern 2018, Algorithms 4 to 6, in PyTorch's form: ``lr`` bounds the relative step, and ``eps`` =
    (eps1, eps2), where eps1 is by default the spacing of the type's numbers at 1, is applied to the estimate
    and not to the averages.  Tensors of more dimensions are stacks of matrices.  ValueError for a setting
    outside its range.

    >>> from accelgrad import Tensor, nn
    >>> x = nn.Parameter(Tensor([[2.0, 2.0]]))
    >>> optimizer = Adafactor([x], lr=0.1)
    >>> x.grad = Tensor([[3.0, -3.0]])
    >>> optimizer.step()                       # in proportion to the parameter, whatever the gradient
    >>> x.detach()
    tensor([[1.8000, 2.2000]])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for name, value in (
            ("Learning rate", number(lr)),
            ("epsilon1", 0.0 if eps[0] is None else eps[0]),
            ("epsilon2", eps[1]),
            ("weight_decay", weight_decay),
        ):
            if not value >= 0:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if not beta2_decay <= 0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if not d >= 1:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        defaults = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def start(self, parameter: Tensor, group: Group) -> State:
        """R and C begin at zero for matrices, V for vectors and single numbers."""
        shape, xp, dtype = parameter.array.shape, parameter.xp, parameter.array.dtype
        if len(shape) < 2:
            return {"step": 0.0, "variance": zeros_like(parameter)}
        with xp.scope():
            rows = wrap(xp.zeros((*shape[:-1], 1), dtype=dtype), xp)
            columns = wrap(xp.zeros((*shape[:-2], 1, shape[-1]), dtype=dtype), xp)
        return {"step": 0.0, "row_var": rows, "col_var": columns}

    def update_parameter(self, xp: Any, x: Any, grad: Any, state: State, group: Group) -> None:
        """Change x in place; scales stay arrays on their device, so that the host never waits for them."""
        lr, (eps1, eps2) = number(group["lr"]), group["eps"]
        if eps1 is None:
            eps1 = dtypes.finfo(dtypes.of(x.dtype)).eps
        g = -grad if group["maximize"] else grad
        state["step"] += 1
        t = state["step"]
        b = t ** group["beta2_decay"]
        alpha = xp.maximum(rms(xp, x), eps2) * min(lr, t**-0.5)
        if group["weight_decay"]:
            x *= 1 - lr * group["weight_decay"]
        squares = g * g
        if x.ndim > 1:
            R, C = state["row_var"].array, state["col_var"].array
            R += b * (xp.mean(squares, axis=-1, keepdims=True) - R)
            C += b * (xp.mean(squares, axis=-2, keepdims=True) - C)
            V = R * C / xp.maximum(xp.mean(R, axis=-2, keepdims=True), eps1)
        else:
            V = state["variance"].array
            V += b * (squares - V)
        u = g / xp.maximum(xp.sqrt(V), eps1)
        x -= alpha / xp.maximum(rms(xp, u) / group["d"], 1.0) * u


def rms(xp: Any, x: Any) -> Any:
    """The root of the mean square, as an array of shape ()."""
    return xp.sqrt(xp.mean(x * x))
