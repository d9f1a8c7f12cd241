"""Every public module is exported, stands in PyTorch's file, and is built and called by a case of the table.

A new module needs a line in ``CASES`` (or, if it is not called itself, in ``NOT_CALLED``).  The line is its
test: the module must run, give gradients to its parameters, and, where PyTorch is installed, print, save and
compute as PyTorch's.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn


class Ints:
    """An input of whole numbers from ``low`` to below ``high``."""

    def __init__(self, high: int, *shape: int, low: int = 0) -> None:
        self.low, self.high, self.shape = low, high, shape

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(self.low, self.high, self.shape)


class Between:
    """An input of numbers between ``low`` and ``high``; a tuple in the table is one of normal numbers."""

    def __init__(self, low: float, high: float, *shape: int) -> None:
        self.low, self.high, self.shape = low, high, shape

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(self.low, self.high, self.shape)


class Signs:
    """An input of 1 and -1."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return rng.choice([-1.0, 1.0], self.shape)


LINE, IMAGE, VOLUME = (2, 4, 8), (2, 4, 6, 8), (2, 4, 4, 6, 8)  # (n, c, l), (n, c, h, w), (n, c, d, h, w)

# A module as both libraries build it, and its inputs: a shape of normal numbers, or one of the above.
CASES: list[tuple[str, list[Any]]] = [
    # activation
    *((f"{name}()", [(3, 4)]) for name in (
        "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
        "LogSigmoid", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus",
        "Softshrink", "Softsign", "Tanh", "Tanhshrink",
    )),
    ("Threshold(0.1, 2.0)", [(3, 4)]),
    ("LogSoftmax(1)", [(3, 4)]),
    ("Softmax(1)", [(3, 4)]),
    ("Softmin(1)", [(3, 4)]),
    ("Softmax2d()", [IMAGE]),
    ("MultiheadAttention(8, 2, batch_first=True)", [(2, 3, 8), (2, 5, 8), (2, 5, 8)]),
    # linear and sparse
    ("Identity()", [(3, 4)]),
    ("Linear(4, 5)", [(3, 4)]),
    ("LazyLinear(5)", [(3, 4)]),
    ("Bilinear(4, 3, 5)", [(2, 4), (2, 3)]),
    ("Embedding(10, 3, padding_idx=1)", [Ints(10, 2, 5)]),
    ("EmbeddingBag(10, 3)", [Ints(10, 2, 5)]),
    ("AdaptiveLogSoftmaxWithLoss(8, 20, [5, 12], div_value=2.0)", [(30, 8), Ints(20, 30)]),
    # conv
    ("Conv1d(4, 6, 3)", [LINE]),
    ("Conv2d(4, 6, 3, padding='same')", [IMAGE]),
    ("Conv3d(4, 6, 3, groups=2)", [VOLUME]),
    ("ConvTranspose1d(4, 6, 3)", [LINE]),
    ("ConvTranspose2d(4, 6, 3, stride=2, output_padding=1)", [IMAGE]),
    ("ConvTranspose3d(4, 6, 3, bias=False)", [VOLUME]),
    ("LazyConv1d(6, 3)", [LINE]),
    ("LazyConv2d(6, 3)", [IMAGE]),
    ("LazyConv3d(6, 3)", [VOLUME]),
    ("LazyConvTranspose1d(6, 3)", [LINE]),
    ("LazyConvTranspose2d(6, 3)", [IMAGE]),
    ("LazyConvTranspose3d(6, 3)", [VOLUME]),
    # norms
    ("BatchNorm1d(4)", [LINE]),
    ("BatchNorm2d(4)", [IMAGE]),
    ("BatchNorm3d(4)", [VOLUME]),
    ("LazyBatchNorm1d()", [LINE]),
    ("LazyBatchNorm2d()", [IMAGE]),
    ("LazyBatchNorm3d()", [VOLUME]),
    ("InstanceNorm1d(4)", [LINE]),
    ("InstanceNorm2d(4, affine=True)", [IMAGE]),
    ("InstanceNorm3d(4)", [VOLUME]),
    ("LazyInstanceNorm1d()", [LINE]),
    ("LazyInstanceNorm2d()", [IMAGE]),
    ("LazyInstanceNorm3d()", [VOLUME]),
    ("LayerNorm((6, 8))", [IMAGE]),
    ("GroupNorm(2, 4)", [IMAGE]),
    ("RMSNorm(8)", [IMAGE]),
    ("LocalResponseNorm(2)", [IMAGE]),
    # With more channels PyTorch's sum keeps squares that have left the window.
    ("CrossMapLRN2d(2)", [(2, 2, 6, 8)]),
    # dropout
    ("Dropout(0.2)", [(3, 4)]),
    ("Dropout1d()", [LINE]),
    ("Dropout2d()", [IMAGE]),
    ("Dropout3d()", [VOLUME]),
    ("AlphaDropout()", [(3, 4)]),
    ("FeatureAlphaDropout()", [LINE]),
    # padding
    *((f"{name}{dims}d(1)", [(LINE, IMAGE, VOLUME)[dims - 1]])
      for name in ("CircularPad", "ReflectionPad", "ReplicationPad", "ZeroPad") for dims in (1, 2, 3)),
    ("ConstantPad1d((1, 2), 3.5)", [LINE]),
    ("ConstantPad2d(1, 3.5)", [IMAGE]),
    ("ConstantPad3d(1, 3.5)", [VOLUME]),
    # pooling
    *((f"{name}{dims}d(2)", [(LINE, IMAGE, VOLUME)[dims - 1]])
      for name in ("AdaptiveAvgPool", "AdaptiveMaxPool", "AvgPool", "MaxPool") for dims in (1, 2, 3)),
    ("LPPool1d(2, 2)", [LINE]),
    ("LPPool2d(2, 2)", [IMAGE]),
    ("LPPool3d(2, 2)", [VOLUME]),
    ("MaxUnpool1d(2)", [(1, 1, 4), np.array([[[0, 3, 4, 6]]])]),
    ("MaxUnpool2d(2)", [(1, 1, 1, 2), np.array([[[[4, 2]]]])]),
    ("MaxUnpool3d(2)", [(1, 1, 1, 1, 2), np.array([[[[[9, 2]]]]])]),
    ("FractionalMaxPool2d(2, output_size=3, _random_samples=draws(2, 4, 2))", [IMAGE]),
    ("FractionalMaxPool3d(2, output_size=2, _random_samples=draws(2, 4, 3))", [VOLUME]),
    # shapes
    ("Flatten()", [IMAGE]),
    ("Unflatten(1, (2, 2))", [IMAGE]),
    ("Fold((4, 5), 2)", [(2, 12, 12)]),
    ("Unfold(2)", [IMAGE]),
    ("PixelShuffle(2)", [IMAGE]),
    ("PixelUnshuffle(2)", [IMAGE]),
    ("ChannelShuffle(2)", [IMAGE]),
    ("Upsample(scale_factor=2)", [IMAGE]),
    ("UpsamplingNearest2d(scale_factor=2)", [IMAGE]),
    ("UpsamplingBilinear2d(size=(9, 5))", [IMAGE]),
    # distance
    ("CosineSimilarity()", [(3, 4), (3, 4)]),
    ("PairwiseDistance()", [(3, 4), (3, 4)]),
    # loss
    *((f"{name}()", [(3, 4), (3, 4)]) for name in ("HuberLoss", "L1Loss", "MSELoss", "SmoothL1Loss")),
    ("BCELoss()", [Between(0.1, 0.9, 3, 4), Between(0, 1, 3, 4)]),
    ("BCEWithLogitsLoss()", [(3, 4), Between(0, 1, 3, 4)]),
    ("CrossEntropyLoss(label_smoothing=0.1)", [(3, 4), Ints(4, 3)]),
    ("NLLLoss()", [(3, 4), Ints(4, 3)]),
    ("MultiMarginLoss()", [(3, 4), Ints(4, 3)]),
    ("MultiLabelMarginLoss()", [(3, 4), np.array([[0, 2, -1, 1], [3, -1, 0, 0], [-1, 0, 0, 0]])]),
    ("MultiLabelSoftMarginLoss()", [(3, 4), Between(0, 1, 3, 4)]),
    ("CTCLoss()", [Between(-3, -1, 6, 2, 5), Ints(5, 2, 3, low=1), np.array([6, 5]), np.array([3, 2])]),
    ("KLDivLoss(reduction='batchmean')", [Between(-3, -1, 3, 4), Between(0.1, 1, 3, 4)]),
    ("PoissonNLLLoss()", [(3, 4), Ints(5, 3, 4)]),
    ("GaussianNLLLoss()", [(3, 4), (3, 4), Between(0.5, 2, 3, 4)]),
    ("SoftMarginLoss()", [(3, 4), Signs(3, 4)]),
    ("HingeEmbeddingLoss()", [Between(0, 2, 3, 4), Signs(3, 4)]),
    ("MarginRankingLoss()", [(3,), (3,), Signs(3)]),
    ("CosineEmbeddingLoss()", [(3, 4), (3, 4), Signs(3)]),
    ("TripletMarginLoss()", [(3, 4), (3, 4), (3, 4)]),
    ("TripletMarginWithDistanceLoss()", [(3, 4), (3, 4), (3, 4)]),
    # rnn
    ("RNNBase('GRU', 4, 5)", [(3, 2, 4)]),
    ("RNN(4, 5, 2)", [(3, 2, 4)]),
    ("LSTM(4, 5, bidirectional=True)", [(3, 2, 4)]),
    ("GRU(4, 5, batch_first=True)", [(3, 2, 4)]),
    ("RNNCell(4, 5)", [(2, 4)]),
    ("LSTMCell(4, 5)", [(2, 4)]),
    ("GRUCell(4, 5)", [(2, 4)]),
    # transformer
    ("TransformerEncoderLayer(8, 2, 16)", [(3, 2, 8)]),
    ("TransformerDecoderLayer(8, 2, 16)", [(3, 2, 8), (4, 2, 8)]),
    ("TransformerEncoder(TransformerEncoderLayer(8, 2, 16, norm_first=True), 2)", [(3, 2, 8)]),
    ("TransformerDecoder(TransformerDecoderLayer(8, 2, 16), 2)", [(3, 2, 8), (4, 2, 8)]),
    ("Transformer(8, 2, 1, 1, 16)", [(3, 2, 8), (4, 2, 8)]),
    # container
    ("Sequential(Linear(4, 5), ReLU())", [(3, 4)]),
]  # fmt: skip

# Modules that are built and changed, but not called.
NOT_CALLED = {
    "Module": "Module()",
    "ModuleDict": "ModuleDict({'a': Linear(2, 2)})",
    "ModuleList": "ModuleList([Linear(2, 2), ReLU()])",
    "ParameterDict": "ParameterDict({'a': Parameter(draws(2))})",
    "ParameterList": "ParameterList([Parameter(draws(2))])",
    "LazyModuleMixin": "modules.lazy.LazyModuleMixin()",
}
# Public modules that PyTorch does not have in ``nn`` itself, or that are made by a function.
ELSEWHERE = {
    "LazyModuleMixin": "accelgrad.nn.modules.lazy",
    "ParametrizationList": "accelgrad.nn.utils.parametrize",
}
MADE_BY_A_FUNCTION = {"ParametrizationList"}

FILES = [info.name for info in pkgutil.walk_packages(nn.__path__, "accelgrad.nn.")]


def name_of(text: str) -> str:
    return text.split("(", 1)[0]


@pytest.mark.parametrize("file", FILES)
def test_every_public_module_is_exported_and_has_a_case(file: str) -> None:
    module = importlib.import_module(file)
    covered = {name_of(text) for text, _ in CASES} | NOT_CALLED.keys() | MADE_BY_A_FUNCTION
    for name, value in vars(module).items():
        own = inspect.isclass(value) and issubclass(value, nn.Module) and value.__module__ == file
        if not own or name.startswith("_"):
            continue
        assert name in module.__all__, f"{file}: {name} is missing in __all__"
        place = importlib.import_module(ELSEWHERE.get(name, "accelgrad.nn"))
        assert getattr(place, name, None) is value, (
            f"{file}: {name} is not found as {place.__name__}.{name}; see nn/modules/__init__.py"
        )
        assert name in covered, f"{name} of {file} has no line in CASES of tests/nn/test_every_module.py"


# --- every module runs


def build(text: str, library: Any) -> Any:
    """A module of one of the two libraries, in float64."""

    def draws(*shape: int) -> Any:
        """Numbers in [0, 1) for what a module would draw itself."""
        return library.tensor(np.random.default_rng(1).random(shape))

    return eval(text, {**vars(library.nn), "draws": draws}).double()


def inputs(specs: list[Any], library: Any) -> list[Any]:
    rng = np.random.default_rng(0)
    drawn = [rng.standard_normal(one) if isinstance(one, tuple) else one for one in specs]
    return [library.tensor(one if isinstance(one, np.ndarray) else one.draw(rng)) for one in drawn]


def tensors(result: Any, kind: type) -> list[Any]:
    """The tensors in a result, in order."""
    if isinstance(result, kind):
        return [result]
    return [one for part in result for one in tensors(part, kind)] if isinstance(result, tuple) else []


@pytest.mark.parametrize(("text", "specs"), CASES, ids=[text for text, _ in CASES])
def test_a_module_runs_and_gives_gradients_to_its_parameters(text: str, specs: list[Any]) -> None:
    module = build(text, accelgrad)
    for mode in (False, True):
        results = tensors(module.train(mode)(*inputs(specs, accelgrad)), accelgrad.Tensor)
        assert results and all(np.isfinite(one.detach().numpy()).all() for one in results)
    parameters = dict(module.named_parameters())
    if parameters:
        sum((one * one).sum() for one in results if one.requires_grad).backward()
    assert [name for name, one in parameters.items() if one.grad is None] == []


@pytest.mark.parametrize("name", NOT_CALLED)
def test_a_module_that_holds_others_is_built_but_not_called(name: str) -> None:
    module = build(NOT_CALLED[name], accelgrad)
    assert repr(module).startswith(name)
    with pytest.raises(NotImplementedError):
        module(accelgrad.zeros(1))


# --- as PyTorch's


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize(("text", "specs"), CASES, ids=[text for text, _ in CASES])
def test_a_module_prints_saves_and_computes_as_pytorchs(text: str, specs: list[Any]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = build(text, accelgrad), build(text, torch)
    assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizableLinear", "Linear")
    ours, theirs = ours.eval(), theirs.eval()
    if "Lazy" in text:
        # Both get their shapes from a first input.
        ours(*inputs(specs, accelgrad)), theirs(*inputs(specs, torch))
        assert repr(ours) == repr(theirs)
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    if type(theirs) is torch.nn.RNNBase:
        return  # there it has no forward
    found = tensors(ours(*inputs(specs, accelgrad)), accelgrad.Tensor)
    expected = tensors(theirs(*inputs(specs, torch)), torch.Tensor)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-6, atol=1e-9)


def test_modules_and_helpers_stand_in_the_files_where_pytorch_has_them() -> None:
    torch = pytest.importorskip("torch")
    places = {"": (torch.nn, nn), "utils.": (torch.nn.utils, nn.utils)}
    missing = []
    for prefix, (theirs, ours) in places.items():
        for name, value in vars(theirs).items():
            file = getattr(value, "__module__", "")
            if name.startswith("_") or not callable(value) or not hasattr(ours, name):
                continue
            if not file.startswith("torch.nn."):
                continue
            place = importlib.import_module(file.replace("torch", "accelgrad", 1))
            if getattr(place, name, None) is not getattr(ours, name):
                missing.append(f"{prefix}{name}: {place.__name__}")
    assert missing == []
