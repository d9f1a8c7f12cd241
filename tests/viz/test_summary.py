"""Tables and trees of models, and how tensors, graphs and models show themselves in Jupyter."""

from __future__ import annotations

import pytest

import accelgrad
from accelgrad import nn, viz


def test_a_summary_counts_parameters_bytes_and_shapes():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 4 * 4, 10))
    table = viz.module_summary(model, accelgrad.zeros(2, 1, 6, 6))
    assert table.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert table.trainable == table.parameters
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    assert table.parameter_bytes == 4 * table.parameters + buffers
    assert [row.output for row in table.rows] == [
        "(2, 10)",
        "(2, 4, 4, 4)",
        "(2, 4, 4, 4)",
        "(2, 64)",
        "(2, 10)",
    ]
    assert table.output_bytes == 4 * (128 + 128 + 128 + 20)


def test_a_summary_leaves_modes_statistics_and_hooks_as_they_were():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    model[1].eval()
    viz.module_summary(model, accelgrad.rand(4, 3))
    assert model.training and model[0].training and not model[1].training
    assert int(model[0].num_batches_tracked) == 0
    assert not model[0]._forward_hooks


def test_modes_come_back_after_an_error_too():
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    with pytest.raises(RuntimeError):
        viz.module_summary(model, accelgrad.rand(4, 5))
    assert model[1].training and not model[0]._forward_hooks


def test_shared_parameters_count_once_and_frozen_ones_are_not_trained():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    table = viz.module_summary(model)
    assert (table.parameters, table.trainable, table.shared) == (15, 12, 1)
    assert "15 parameters (12 trained)" in repr(table) and "1 shared" in repr(table)


def test_a_summary_is_aligned_text_and_a_table_in_jupyter():
    table = viz.module_summary(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))
    lines = repr(table).split("\n")
    assert lines[0].split() == ["name", "layer", "output", "parameters", "bytes"]
    assert set(lines[1]) == {"-"}
    assert table._repr_html_().count("<tr>") == 4
    with pytest.raises(TypeError, match="expects a Module, got int"):
        viz.module_summary(3)


def test_tensors_show_a_shaded_table_with_what_they_are():
    x = accelgrad.tensor([[1.0, -2.0], [float("nan"), 0.0]], requires_grad=True)
    shown = x._repr_html_()
    assert f"shape (2, 2), float32, {x.device}, strides (2, 1), requires_grad" in shown
    assert shown.count("<td") == 4 and "rgba(217,130,43,0.55)" in shown and "nan" in shown
    assert "grad_fn MulBackward0" in (x * 2)._repr_html_()
    assert repr(x).startswith("tensor(")


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((30,), "18 more"),
        ((40, 2), "30 more rows"),
        ((2, 3, 4), "[0] of 2 matrices"),
        ((0, 3), "empty"),
        ((), "scalar"),
    ],
)
def test_large_empty_and_deep_tensors_stay_small(shape, said):
    shown = accelgrad.zeros(shape)._repr_html_()
    assert said in shown and len(shown) < 30_000


def test_a_node_draws_the_graph_behind_it():
    x = accelgrad.tensor(2.0, requires_grad=True)
    shown = (x.exp() * 3).grad_fn._repr_html_()
    assert "Mul" in shown and "Exp" in shown and "<svg" in shown


def test_a_module_draws_its_tree_with_the_share_of_each_layer():
    model = nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 2)))
    shown = model._repr_html_()
    assert shown.count("<details") == 2 and "Linear(4, 8)" in shown and "40" in shown
