"""``accelgrad.special``: special functions under PyTorch's names, gathered from the registry."""

from __future__ import annotations

from accelgrad.ops.registry import OPS

__all__: list[str] = []

_ELSEWHERE = {
    "expit": "sigmoid", "psi": "digamma", "gammaln": "lgamma", "multigammaln": "mvlgamma",
    "digamma": "digamma", "erf": "erf", "erfc": "erfc", "erfinv": "erfinv", "exp2": "exp2", "expm1": "expm1",
    "i0": "i0", "log1p": "log1p", "logit": "logit", "logsumexp": "logsumexp", "polygamma": "polygamma",
    "round": "round", "sinc": "sinc", "xlogy": "xlogy",
    "softmax": "nn.functional.softmax", "log_softmax": "nn.functional.log_softmax",
}  # fmt: skip
"""Functions that also have a name outside of this namespace."""

for _entry in OPS.values():
    if _entry.namespace == "special":
        for _name in (_entry.name, *_entry.aliases):
            globals()[_name] = _entry.call
            __all__.append(_name)
for _name, _path in _ELSEWHERE.items():
    _found = OPS.get(_path) or OPS.get(_path.rpartition(".")[2])
    if _found is not None:
        globals()[_name] = _found.call
        __all__.append(_name)
