"""L-BFGS: Newton's steps with a curvature remembered from the last steps, and a line search along them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from accelgrad.core.modes import enable_grad
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.optim.optimizer import Optimizer, State, check_positive, number

__all__ = ["LBFGS"]


class Point(NamedTuple):
    """One point ``x + step * direction`` of a line, with the loss and its slope there."""

    step: float
    loss: float
    slope: float  # the derivative of the loss by the step
    gradient: Any  # the flat gradient there


class LBFGS(Optimizer):
    """Limited-memory BFGS: few, expensive steps, for losses without noise (all data in every step).

    One step::

        s_k = x_(k+1) - x_k          y_k = grad_(k+1) - grad_k          (the last ``history_size`` of them)
        direction = -H grad          where H is the inverse curvature that maps every y_k to s_k
        x = x + t direction          t = lr, or what the line search finds

    Nocedal & Wright 2006, Algorithms 7.4 and 7.5; the search is their Algorithms 3.5 and 3.6.

    One call of ``step(closure)`` makes up to ``max_iter`` such steps with at most ``max_eval`` (by default
    5/4 ``max_iter``) evaluations; it ends early when no gradient exceeds ``tolerance_grad`` or when loss and
    parameters move by less than ``tolerance_change``.  ``closure`` zeroes the gradients, computes the loss,
    calls ``backward`` and returns the loss: it is called many times.  ``line_search_fn`` is None or
    "strong_wolfe".  ValueError for more than one parameter group, TypeError for a step without closure.

    >>> import accelgrad
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([-1.5, 2.0], dtype=accelgrad.float64))
    >>> optimizer = LBFGS([x], line_search_fn="strong_wolfe", max_iter=100)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2     # Rosenbrock's valley
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure).item()                       # the loss before the step
    12.5
    >>> x.detach().round(decimals=4)
    tensor([1., 1.], dtype=accelgrad.float64)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_positive(lr=lr)
        defaults = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
            "history_size": history_size, "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make up to ``max_iter`` steps; the loss from before the first is returned.

        TypeError without ``closure``, RuntimeError for an unknown ``line_search_fn``.
        """
        if closure is None:
            raise TypeError(
                "step() missing 1 required positional argument: 'closure';"
                " LBFGS computes the loss many times in one step:"
                " pass a function that zeroes the gradients, computes the loss,"
                " calls backward and returns the loss"
            )
        group = self.param_groups[0]
        lr, tolerance_change = float(number(group["lr"])), group["tolerance_change"]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        xp = self._params[0].xp
        # One state for all, kept at the first parameter: there it follows its type and device.
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        # The loss and the gradient at the start.
        with enable_grad():
            first = closure()
        loss, gradient, evaluations = float(first), self._gradient(), 1
        state["func_evals"] += 1
        if _largest(xp, gradient) <= group["tolerance_grad"]:
            return first

        for iteration in range(1, group["max_iter"] + 1):
            # The direction: downhill in the very first step, then by the curvature of the last steps.
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
                direction = -gradient
                t = min(1.0, 1.0 / float(xp.sum(xp.abs(gradient)))) * lr
            else:
                self._remember(gradient, state)
                direction = _direction(xp, gradient, state)
                t = lr
            state["prev_flat_grad"], state["prev_loss"] = wrap(gradient, xp), loss
            state["d"], state["t"] = wrap(direction, xp), t
            before, slope = loss, float(xp.dot(gradient, direction))
            if slope > -tolerance_change:
                break

            # The step along it, and the loss and the gradient where it ends.
            count = 0
            if group["line_search_fn"] is not None:
                best, count = strong_wolfe(
                    self._along(direction, closure), Point(0.0, loss, slope, gradient), t,
                    _largest(xp, direction), tolerance_change, group["max_eval"] - evaluations,
                )  # fmt: skip
                t, loss, gradient = best.step, best.loss, best.gradient
                state["t"] = t
                self._move(t, direction)
            else:
                self._move(t, direction)
                # After the last step nobody asks for the loss.
                if iteration != group["max_iter"]:
                    with enable_grad():
                        loss = float(closure())
                    gradient, count = self._gradient(), 1
            evaluations += count
            state["func_evals"] += count

            # Whether that was enough.
            if (
                evaluations >= group["max_eval"]
                or _largest(xp, gradient) <= group["tolerance_grad"]
                or _largest(xp, direction) * abs(t) <= tolerance_change
                or abs(loss - before) < tolerance_change
            ):
                break
        return first

    def _along(self, direction: Any, closure: Callable[[], Any]) -> Callable[[float], Point]:
        """The function of t that gives the point ``t * direction`` from here, and returns here."""
        xp = self._params[0].xp
        here = [xp.copy(one.array) for one in self._params]

        def at(t: float) -> Point:
            self._move(t, direction)
            with enable_grad():
                loss = float(closure())
            gradient = self._gradient()
            for one, array in zip(self._params, here, strict=True):
                one.array[...] = array
                one._version[0] += 1
            return Point(t, loss, float(xp.dot(gradient, direction)), gradient)

        return at

    def _gradient(self) -> Any:
        """The gradients of all parameters as one vector, with zeros for those that have none."""
        xp = self._params[0].xp
        return xp.concatenate(
            [
                xp.reshape(xp.zeros_like(one.array) if one._grad is None else one._grad.array, (-1,))  # (n,)
                for one in self._params
            ]
        )

    def _move(self, t: float, direction: Any) -> None:
        """Add ``t * direction`` to the parameters."""
        start = 0
        for one in self._params:
            end = start + one.array.size
            one.array += t * direction[start:end].reshape(one.array.shape)
            one._version[0] += 1
            start = end

    def _remember(self, gradient: Any, state: State) -> None:
        """Add the last step, and the change of the gradient along it, to the history."""
        xp = self._params[0].xp
        y = gradient - state["prev_flat_grad"].array
        s = state["d"].array * state["t"]
        product = float(xp.dot(y, s))
        # Without positive curvature along it, this step would spoil the direction.
        if product <= 1e-10:
            return
        steps, changes, ro = state["old_stps"], state["old_dirs"], state["ro"]
        if len(changes) == self.param_groups[0]["history_size"]:
            for history in (steps, changes, ro):
                history.pop(0)
        changes.append(wrap(y, xp))
        steps.append(wrap(s, xp))
        ro.append(1.0 / product)
        state["H_diag"] = product / float(xp.dot(y, y))

    def _restored(self, name: str, value: Any, parameter: Tensor) -> Any:
        if isinstance(value, list):
            return [self._restored(name, one, parameter) for one in value]
        if name in ("ro", "al", "H_diag", "t") and value is not None:
            return float(value)
        return super()._restored(name, value, parameter)


def _largest(xp: Any, x: Any) -> float:
    """The largest absolute value in x."""
    return float(xp.max(xp.abs(x)))


def _direction(xp: Any, gradient: Any, state: State) -> Any:
    """Compute -H grad by two loops over the history.  Nocedal & Wright 2006, Algorithm 7.4."""
    steps = [one.array for one in state["old_stps"]]
    changes = [one.array for one in state["old_dirs"]]
    q = -gradient
    alphas = []
    for s, y, ro in zip(reversed(steps), reversed(changes), reversed(state["ro"]), strict=True):
        alphas.append(float(xp.dot(s, q)) * ro)
        q = q - alphas[-1] * y
    r = q * state["H_diag"]
    for s, y, ro, alpha in zip(steps, changes, state["ro"], reversed(alphas), strict=True):
        r = r + (alpha - float(xp.dot(y, r)) * ro) * s
    return r


def _between(a: Point, b: Point, low: float | None = None, high: float | None = None) -> float:
    """The place where the cubic through the losses and slopes of two points is least, within [low, high].

    By default that is between the points.  Nocedal & Wright 2006, equation 3.59.
    """
    left, right = (a, b) if a.step <= b.step else (b, a)
    low = left.step if low is None else low
    high = right.step if high is None else high
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = math.sqrt(square)
    width = right.step - left.step
    top, bottom = right.slope + d2 - d1, right.slope - left.slope + 2 * d2
    # A straight line is least at one of its ends.
    if bottom == 0:
        return high if top < 0 else low
    return min(max(right.step - width * (top / bottom), low), high)


def strong_wolfe(
    at: Callable[[float], Point],
    start: Point,
    t: float,
    longest: float,
    tolerance_change: float,
    most: int,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[Point, int]:
    """Find a point that meets the strong Wolfe conditions, and count the evaluations.

    They are ``loss <= loss_0 + c1 t slope_0`` and ``|slope| <= c2 |slope_0|``.  After ``most`` further
    evaluations it is the best point seen.  ``t`` is the first step to try, ``longest`` the largest entry of
    the direction. Nocedal & Wright 2006, Algorithms 3.5 (find an interval) and 3.6 (shrink it).
    """

    def too_high(point: Point) -> bool:
        return point.loss > start.loss + c1 * point.step * start.slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    # Find an interval that holds such a point: step further and further.
    before, now, tries = start, at(t), 0
    while tries < most:
        if too_high(now) or (tries > 1 and now.loss >= before.loss):
            break
        if flat(now):
            return now, tries + 1
        if now.slope >= 0:
            break
        step = _between(before, now, now.step + 0.01 * (now.step - before.step), 10 * now.step)
        before, now, tries = now, at(step), tries + 1
    else:
        before = start

    # Shrink it.
    ends = [before, now]
    low = _lower(ends)
    stuck = False
    while tries < most:
        left, right = sorted(end.step for end in ends)
        if (right - left) * longest < tolerance_change:
            break
        step = _between(ends[0], ends[1])
        margin = 0.1 * (right - left)
        if min(right - step, step - left) >= margin:
            stuck = False
        elif stuck or step >= right or step <= left:
            # Near to an end for the second time: go inwards.
            step = right - margin if abs(step - right) < abs(step - left) else left + margin
            stuck = False
        else:
            stuck = True
        now, tries = at(step), tries + 1
        if too_high(now) or now.loss >= ends[low].loss:
            ends[1 - low] = now
            low = _lower(ends)
        elif flat(now):
            return now, tries + 1
        else:
            if now.slope * (ends[1 - low].step - ends[low].step) >= 0:
                ends[1 - low] = ends[low]
            ends[low] = now
    return ends[low], tries + 1


def _lower(ends: list[Point]) -> int:
    """The place, 0 or 1, of the end that has the lower loss."""
    return 0 if ends[0].loss <= ends[1].loss else 1
