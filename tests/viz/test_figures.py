"""Figures drawn with matplotlib: what they say is computed from what they are given."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import accelgrad
from accelgrad import nn, viz
from accelgrad.utils.data import DataLoader, TensorDataset


def test_importing_viz_does_not_import_matplotlib():
    code = "import sys, accelgrad; accelgrad.viz; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_figure_can_be_saved_without_a_window(tmp_path):
    figures = [
        viz.training_curves({"loss": [2.0, 1.0], "test_loss": [2.1, 1.4]}, "title"),
        viz.confusion_matrix([[3, 1], [0, 4]], ["a", "b"]),
        viz.image_grid(np.zeros((5, 1, 4, 4)), columns=3, title="zeros"),
        viz.attention_maps(np.full((5, 2, 2), 0.5), columns=2, title="heads"),
        viz.loss_surface(lambda a, b: a * a + b * b, {"path": [(1, 1), (0, 0)]}, points=6, logarithmic=True),
        viz.gradient_flow({"w": np.ones(3)}, "flow"),
        viz.padding_waste([[1, 2], [3, 3]], buckets=[[1], [2], [3, 3]]),
        viz.speed_ladder({"slow": 1.0, "fast": 1e-6}, "ladder", work=1e6),
        viz.roofline(1e11, 1e10, {"sum": (1e6, 4e6, 1e-3)}, "roof"),
    ]
    for number, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 2000


def test_curves_hold_percent_and_names():
    figure = viz.training_curves({"loss": [1.0], "accuracy": [0.25, 0.5], "test_accuracy": [0.3, 0.4]})
    lines = figure.axes[1].lines
    assert [list(line.get_ydata()) for line in lines] == [[25.0, 50.0], [30.0, 40.0]]
    assert [line.get_label() for line in lines] == ["training", "held out"]


def test_a_confusion_matrix_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"expects \(2, 2\) counts for 2 classes, got \(3, 3\)"):
        viz.confusion_matrix(np.zeros((3, 3)), ["a", "b"])


def test_attention_needs_tokens_for_every_row_and_column():
    with pytest.raises(ValueError, match="2 keys for weights of shape"):
        viz.attention_maps(np.zeros((3, 3)), keys=["a", "b"])
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        viz.attention_maps(np.zeros(3))


def test_the_loss_surface_calls_the_function_with_numbers_and_takes_tensors():
    seen = []

    def loss(a, b):
        seen.append((a, b))
        return accelgrad.tensor(a + b)

    figure = viz.loss_surface(loss, x=(0.0, 1.0), y=(2.0, 3.0), points=3, labels=("slope", "offset"))
    assert seen[0] == (0.0, 2.0) and seen[-1] == (1.0, 3.0) and len(seen) == 9
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("slope", "offset")


def test_gradient_flow_names_what_is_none_zero_or_not_finite():
    values = {
        "a": np.array([1.0, -3.0]),
        "b": None,
        "c": np.zeros(2),
        "d": np.array([np.nan]),
        "e": np.array([np.inf]),
    }
    axis = viz.gradient_flow(values).axes[0]
    assert [text.get_text() for text in axis.texts] == ["none", "zero", "nan", "inf"]
    assert [round(patch.get_height(), 6) for patch in axis.patches] == [2.0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == list("abcde")


def test_gradient_flow_takes_a_module_and_refuses_nothing_to_draw():
    model = nn.Linear(2, 1)
    model(accelgrad.ones(1, 2)).sum().backward()
    assert len(viz.gradient_flow(model).axes[0].patches) == 2
    with pytest.raises(ValueError, match="found no parameter"):
        viz.gradient_flow(nn.ReLU())
    with pytest.raises(TypeError, match="a Module or a mapping of gradients, got float"):
        viz.gradient_flow(1.0)


def test_padding_is_counted():
    figure = viz.padding_waste([[1, 4], [2, 2]], buckets=[[1], [4], [2, 2]])
    assert figure.axes[0].get_title() == "as given: 3 of 12 places are padding (25 %)"
    assert figure.axes[1].get_title() == "buckets: 0 of 9 places are padding (0 %)"
    with pytest.raises(ValueError, match="at least one batch"):
        viz.padding_waste([[]])


def test_the_timeline_has_a_row_per_worker_and_one_for_the_program():
    loader = DataLoader(TensorDataset(accelgrad.arange(12)), batch_size=2, num_workers=2)
    loader.record_timeline()
    list(loader)
    loader.close()
    axis = viz.loader_timeline(loader).axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["worker 0", "worker 1", "program"]
    assert axis.get_xlabel().startswith("time (ms)")


def test_without_workers_everything_is_the_programs():
    loader = DataLoader(TensorDataset(accelgrad.arange(6)), batch_size=2)
    with pytest.raises(ValueError, match=r"call loader\.record_timeline\(\) before iterating"):
        viz.loader_timeline(loader)
    loader.record_timeline()
    list(loader)
    axis = viz.loader_timeline(loader.timeline()).axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["program"]


def test_the_ladder_and_the_roof_refuse_times_that_are_not_positive():
    with pytest.raises(ValueError, match="positive times"):
        viz.speed_ladder({"a": 0.0})
    with pytest.raises(ValueError, match="a positive peak and bandwidth"):
        viz.roofline(0.0, 1.0, {})


def test_the_roof_says_how_near_a_kernel_comes():
    figure = viz.roofline(1e11, 1e10, {"copy": (1e6, 1e7, 2e-3)})
    (label,) = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert label == "copy: 0.5 GFLOP/s, 50 % of the roof"


def test_a_figure_shows_itself_where_pyplot_has_prepared_nothing():
    picture = viz.speed_ladder({"loops": 2.0, "NumPy": 0.01})._repr_png_()
    assert picture.startswith(b"\x89PNG") and len(picture) > 1000


def test_gradient_flow_names_every_set_where_the_first_one_is_empty():
    figure = viz.gradient_flow({}, before={"a": np.ones(3)}, after={"a": np.full(3, 0.5)})
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["before: mean |g|", "after: mean |g|"]
    assert len(figure.axes[0].texts) == 0
