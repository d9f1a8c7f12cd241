"""Modules that have another name than in version 0.1.0, so that pickles made then can still be read.

A pickle names the module of each class.  ``accelgrad.save`` writes no pickles; for those that a program made
itself, call :func:`register` first, once in a process:

>>> import accelgrad.core.moved
>>> accelgrad.core.moved.register()  # doctest: +SKIP
>>> model = pickle.load(open("model.pkl", "rb"))  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any

__all__ = ["MOVED", "find", "register"]

MOVED: dict[str, str] = {
    "utils.data.collate": "utils.data.collation utils.data.padding",
    "autograd.anomaly": "autograd.anomaly_mode",
    "backend": "arrays.backend",
    "checks": "mentor.checks",
    "checks.notebook_00": "mentor.checks.notebook_00",
    "checks.notebook_01": "mentor.checks.notebook_01",
    "checks.notebook_02": "mentor.checks.notebook_02",
    "checks.notebook_03": "mentor.checks.notebook_03",
    "checks.notebook_04": "mentor.checks.notebook_04",
    "checks.notebook_05": "mentor.checks.notebook_05",
    "checks.notebook_06": "mentor.checks.notebook_06",
    "checks.notebook_07": "mentor.checks.notebook_07",
    "checks.notebook_08": "mentor.checks.notebook_08",
    "checks.notebook_09": "mentor.checks.notebook_09",
    "checks.notebook_10": "mentor.checks.notebook_10",
    "checks.notebook_11": "mentor.checks.notebook_11",
    "coaching": "mentor.coaching",
    "conversions": "core.conversions arrays.data",
    "dlpack": "arrays.dlpack",
    "dtypes": "arrays.dtypes",
    "explanation": "mentor.explanation",
    "gpu": "arrays.gpu",
    "graph": "core.graph core.modes",
    "hazards": "mentor.hazards",
    "inplace": "core.inplace",
    "nn.module": "nn.modules.module",
    "nn.modules.lazy_norm": "nn.modules.batchnorm nn.modules.instancenorm",
    "nn.modules.norm": "nn.modules.batchnorm nn.modules.instancenorm nn.modules.normalization",
    "nn.modules.pool": "nn.modules.pooling",
    "nn.modules.shape": "nn.modules.flatten nn.modules.fold nn.modules.pixelshuffle"
    " nn.modules.channelshuffle nn.modules.upsampling",
    "nn.utils.clip": "nn.utils.clip_grad",
    "nn.utils.convert": "nn.utils.convert_parameters",
    "nn.utils.hooked_norm": "nn.utils.weight_norm nn.utils.spectral_norm nn.utils.recomputed",
    "ops.activation": "ops.pointwise.activation",
    "ops.arithmetic": "ops.pointwise.arithmetic",
    "ops.arrange": "ops.shapes.arrange",
    "ops.attention": "ops.layers.attention",
    "ops.autocast": "ops.registry.autocast",
    "ops.avg_pool": "ops.layers.avg_pool",
    "ops.bessel": "ops.pointwise.bessel",
    "ops.bitwise": "ops.pointwise.bitwise",
    "ops.calculus": "ops.reductions.calculus ops.linalg.covariance",
    "ops.checks": "ops.registry.checks",
    "ops.combine": "ops.shapes.combine",
    "ops.compare": "ops.pointwise.compare",
    "ops.contraction": "ops.linalg.contraction",
    "ops.conv": "ops.layers.conv",
    "ops.conv_transpose": "ops.layers.conv_transpose",
    "ops.convert": "ops.creation.convert",
    "ops.count": "ops.reductions.count",
    "ops.create": "ops.creation.create",
    "ops.ctc": "ops.losses.ctc",
    "ops.decomposition": "ops.linalg.decomposition",
    "ops.diagonal": "ops.shapes.diagonal",
    "ops.dims": "ops.registry.dims",
    "ops.distance": "ops.losses.distance",
    "ops.divergence": "ops.losses.divergence",
    "ops.dropout": "ops.layers.dropout ops.pointwise.scale",
    "ops.einsum": "ops.linalg.einsum",
    "ops.elementwise": "ops.pointwise.elementwise",
    "ops.embedding": "ops.layers.embedding",
    "ops.expand": "ops.shapes.expand",
    "ops.extrema": "ops.reductions.extrema",
    "ops.fill": "ops.shapes.fill",
    "ops.fold": "ops.layers.fold",
    "ops.fractional": "ops.layers.fractional",
    "ops.gather": "ops.shapes.gather",
    "ops.grid": "ops.layers.grid",
    "ops.hard_activation": "ops.pointwise.hard_activation",
    "ops.index": "ops.shapes.index",
    "ops.info": "ops.linalg.linalg_ex",
    "ops.join": "ops.shapes.join",
    "ops.legacy": "ops.linalg.legacy",
    "ops.linear": "ops.layers.linear",
    "ops.loss": "ops.losses.loss",
    "ops.lu": "ops.linalg.lu",
    "ops.margin_loss": "ops.losses.margin_loss",
    "ops.matrix_function": "ops.linalg.matrix_function",
    "ops.norm": "ops.layers.norm",
    "ops.norms": "ops.linalg.norms",
    "ops.operators": "ops.registry.operators",
    "ops.pad": "ops.shapes.pad",
    "ops.pair_loss": "ops.losses.pair_loss",
    "ops.pairs": "ops.pointwise.binary",
    "ops.pick": "ops.shapes.take",
    "ops.pool": "ops.layers.pool",
    "ops.power": "ops.pointwise.power",
    "ops.product": "ops.linalg.product",
    "ops.reading": "ops.registry.reading",
    "ops.recurrent": "ops.layers.recurrent",
    "ops.redraw": "ops.creation.redraw",
    "ops.reduce": "ops.reductions.reduce",
    "ops.reflections": "ops.linalg.reflections",
    "ops.resample": "ops.layers.resample",
    "ops.reshaping": "ops.shapes.reshaping",
    "ops.results": "ops.registry.return_types",
    "ops.rounding": "ops.pointwise.rounding",
    "ops.sampling": "ops.creation.sampling",
    "ops.scan": "ops.reductions.scan",
    "ops.scatter": "ops.shapes.scatter ops.shapes.gather",
    "ops.scatter_reduce": "ops.shapes.scatter_reduce",
    "ops.sequence": "ops.layers.sequence",
    "ops.shape": "ops.shapes.shape",
    "ops.softmax": "ops.reductions.softmax",
    "ops.sorting": "ops.reductions.sorting",
    "ops.special": "ops.pointwise.special",
    "ops.statistics": "ops.reductions.statistics",
    "ops.stubs": "cli.stubs",
    "ops.tails": "ops.pointwise.special",
    "ops.tapers": "ops.creation.signal_windows",
    "ops.trigonometry": "ops.pointwise.trigonometry",
    "ops.typed": "ops.creation.typed",
    "ops.volume_pool": "ops.layers.volume_pool",
    "optim.adaptive": "optim.adadelta optim.adagrad optim.adamax optim.nadam optim.radam optim.rmsprop",
    "optim.classic": "optim.asgd optim.rprop",
    "precision": "arrays.precision",
    "primitive": "core.primitive core.context core.views",
    "printing": "core.printing",
    "promotion": "core.promotion",
    "reduced": "core.reduced",
    "size": "core.size",
    "tensor": "core.tensor core.backward",
    "together": "core.foreach",
    "utils.data.loader": "utils.data.dataloader",
}
"""Old name -> new name, below accelgrad; several new names for a file that was split."""


LEFT = {
    "optim.adam": {"AdamW": "optim.adamw"},
    "utils.data.sampler": {"DistributedSampler": "utils.data.distributed"},
}
"""Names that have left a module which is still there: module -> name -> new module."""


def find(module: str, name: str) -> Any:
    """Return what ``name`` in the module that was called ``module`` is today; AttributeError if it is gone.

    >>> find("accelgrad.size", "Size")
    <class 'accelgrad.core.size.Size'>
    """
    for new in MOVED[module.removeprefix("accelgrad.")].split():
        found = importlib.import_module(f"accelgrad.{new}")
        if hasattr(found, name):
            return getattr(found, name)
    raise AttributeError(f"{module}.{name} has no successor in accelgrad")


def register() -> None:
    """Let ``import`` and ``pickle`` find the modules under their old names, from here on in this process."""
    if not any(isinstance(one, _OldNames) for one in sys.meta_path):
        sys.meta_path.append(_OldNames())
        for module, names in LEFT.items():
            for name, new in names.items():
                value = getattr(importlib.import_module(f"accelgrad.{new}"), name)
                setattr(importlib.import_module(f"accelgrad.{module}"), name, value)


class _OldNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes a module under an old name whose attributes are looked up in the new ones."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname.removeprefix("accelgrad.") not in MOVED or not fullname.startswith("accelgrad."):
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def exec_module(self, module: types.ModuleType) -> None:
        name = module.__name__

        def look_up(attribute: str) -> Any:
            if attribute.startswith("__"):
                raise AttributeError(attribute)
            return find(name, attribute)

        module.__getattr__ = look_up  # type: ignore[method-assign]
