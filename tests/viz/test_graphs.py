"""Computation graphs and reverse sweeps as pictures: what stands in them, and that nothing overlaps."""

from __future__ import annotations

import re
import xml.etree.ElementTree as tree

import pytest

import accelgrad
from accelgrad import nn, viz
from accelgrad.nn import functional as F
from accelgrad.viz.layout import arrange
from accelgrad.viz.record import read

SPACE = "{http://www.w3.org/2000/svg}"


def texts(picture):
    return [element.text for element in tree.fromstring(picture.text).iter(f"{SPACE}text")]


def boxes(picture):
    found = []
    for element in tree.fromstring(picture.text).iter(f"{SPACE}rect"):
        if "x" in element.attrib and float(element.get("height")) > 12:
            found.append(tuple(float(element.get(name)) for name in ("x", "y", "width", "height")))
    return found


def overlaps(one, other):
    return (
        one[0] < other[0] + other[2] - 0.2
        and other[0] < one[0] + one[2] - 0.2
        and one[1] < other[1] + other[3] - 0.2
        and other[1] < one[1] + one[3] - 0.2
    )


@pytest.fixture
def network_loss():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    return model, F.cross_entropy(model(accelgrad.rand(5, 8)), accelgrad.tensor([0, 1, 2, 1, 0]))


def test_scalars_are_drawn_with_names_values_and_gradients():
    a = accelgrad.tensor(2.0, requires_grad=True)
    b = accelgrad.tensor(-3.0, requires_grad=True)
    product = a * b
    shown = texts(viz.computation_graph(product + 10))
    for expected in ("a", "b", "Mul → product", "Add", "= 2", "= −3", "= 4", "grad −3", "grad 2", "grad 1"):
        assert expected in shown


def test_parameters_are_named_after_the_model(network_loss):
    model, loss = network_loss
    shown = texts(viz.computation_graph(loss, model))
    assert {"0.weight", "0.bias", "2.weight", "2.bias", "(16, 8)", "CrossEntropy → loss"} <= set(shown)


def test_given_names_go_before_those_of_the_caller():
    w = accelgrad.tensor(1.0, requires_grad=True)
    shown = texts(viz.computation_graph(w.exp(), names={"omega": w}))
    assert "omega" in shown and "w" not in shown


def test_drawing_leaves_the_graph_and_the_gradients_alone(network_loss):
    model, loss = network_loss
    viz.computation_graph(loss, model)
    viz.reverse_sweep(loss, model)
    assert model[0].weight.grad is None
    loss.backward()
    assert model[0].weight.grad is not None


def test_the_gradients_in_the_picture_are_those_of_backward(network_loss):
    model, loss = network_loss
    record = read(loss, model)
    record.probe()
    loss.backward()
    for leaf in record.leaves:
        assert bool((record.gradients[(leaf, 0)] == leaf.variable.grad.array).all())


def test_a_value_used_twice_gets_the_sum_of_its_gradients():
    x = accelgrad.tensor(3.0, requires_grad=True)
    assert "grad 7" in texts(viz.computation_graph(x * x + x))


@pytest.mark.parametrize("direction", ["auto", "right", "down"])
def test_no_box_covers_another_and_text_fits_its_box(network_loss, direction):
    model, loss = network_loss
    picture = viz.computation_graph(loss, model, direction=direction)
    found = boxes(picture)
    assert len(found) == 9  # 4 operations, 4 parameters, the data
    for place, one in enumerate(found):
        assert not any(overlaps(one, other) for other in found[place + 1 :])
    for element in tree.fromstring(picture.text).iter(f"{SPACE}text"):
        if element.get("text-anchor") != "middle":
            continue
        x, y, width = float(element.get("x")), float(element.get("y")), 0.605 * 11 * len(element.text)
        holders = [one for one in found if one[1] < y < one[1] + one[3] and one[0] < x < one[0] + one[2]]
        assert len(holders) == 1
        assert holders[0][0] <= x - width / 2 and x + width / 2 <= holders[0][0] + holders[0][2]


def test_a_deep_network_is_drawn_downwards_within_the_width_of_a_notebook():
    model = nn.Sequential(*[layer for _ in range(6) for layer in (nn.Linear(4, 4), nn.Tanh())])
    picture = viz.computation_graph(model(accelgrad.rand(2, 4)).sum(), model)
    assert picture.width < 1000 < picture.height


def test_of_a_long_graph_the_last_operations_are_drawn():
    x = accelgrad.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(300):
        y = y + 1
    shown = texts(viz.computation_graph(y, max_nodes=10))
    assert "... 290 earlier operations are not drawn" in shown
    assert sum("Add" in text for text in shown) == 10


def test_a_sweep_has_a_frame_for_every_step_and_reveals_gradients_one_by_one():
    a = accelgrad.tensor(2.0, requires_grad=True)
    b = accelgrad.tensor(5.0, requires_grad=True)
    sweep = viz.reverse_sweep((a * b).tanh())
    assert len(sweep) == 4
    assert sweep.captions[1].startswith("Tanh: y = tanh x")
    counts = [sum(text.startswith("grad ") for text in texts(frame)) - 1 for frame in sweep.frames]
    assert counts == [1, 2, 4, 4]
    assert {(frame.width, frame.height) for frame in sweep.frames} == {
        (sweep.frames[0].width, sweep.frames[0].height)
    }
    assert sweep._repr_html_().count("<svg") == 4


def test_pictures_are_saved_as_svg_and_html_only(tmp_path):
    picture = viz.computation_graph(accelgrad.tensor(1.0, requires_grad=True).exp())
    picture.save(tmp_path / "graph.svg")
    assert tree.parse(tmp_path / "graph.svg").getroot().tag == f"{SPACE}svg"
    picture.save(tmp_path / "graph.html")
    assert (tmp_path / "graph.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(ValueError, match=r"saved as \.svg or \.html, got 'graph\.png'"):
        picture.save(tmp_path / "graph.png")
    sweep = viz.reverse_sweep(accelgrad.tensor(1.0, requires_grad=True).exp())
    sweep.save(tmp_path / "sweep.html")
    assert "checked" in (tmp_path / "sweep.html").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"saved as \.html"):
        sweep.save(tmp_path / "sweep.svg")


def test_a_tensor_without_a_graph_is_refused_with_the_way_on():
    with pytest.raises(
        ValueError, match=r"does not require a gradient; accelgrad\.explain\(tensor\) says why"
    ):
        viz.computation_graph(accelgrad.ones(2))
    with pytest.raises(TypeError, match="a Tensor is expected, got int"):
        viz.computation_graph(3)
    with pytest.raises(ValueError, match="direction is 'auto', 'right' or 'down', got 'up'"):
        viz.computation_graph(accelgrad.ones(2, requires_grad=True).sum(), direction="up")


def test_markup_in_names_is_escaped():
    w = accelgrad.tensor(1.0, requires_grad=True)
    picture = viz.computation_graph(w.exp(), names={"<b>&": w})
    assert "<b>&" in texts(picture)


def test_layers_follow_the_longest_path_and_crossings_are_avoided():
    sizes = [(10.0, 10.0)] * 4
    layout = arrange(sizes, [(0, 3), (1, 2)])
    lines = [(layout.centers[a][1], layout.centers[b][1]) for a, b in ((0, 3), (1, 2))]
    assert (lines[0][0] - lines[1][0]) * (lines[0][1] - lines[1][1]) > 0
    layout = arrange([(10.0, 10.0)] * 3, [(0, 1), (1, 2), (0, 2)])
    assert [center[0] for center in layout.centers] == [5.0, 49.0, 93.0]
    assert layout.routes[2][1][1] != layout.centers[1][1]  # the long edge goes around the box between


def test_an_svg_names_no_external_resource(network_loss):
    text = viz.computation_graph(network_loss[1]).text
    assert not re.search(r"(href|src)=", text)
