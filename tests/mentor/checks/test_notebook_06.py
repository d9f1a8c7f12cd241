"""The verifiers of notebook 06 accept what is right and refuse what is not."""

from __future__ import annotations

import accelgrad
from accelgrad.mentor.checks import check


def reverse(x):
    y = x.view_as(x)
    if y.requires_grad:
        y.register_hook(lambda grad: -grad)
    return y


def test_two_right_reverses():
    assert check("06.reverse", reverse)
    assert check("06.reverse", lambda x: 2 * x.detach() - x)


def test_wrong_reverses_get_a_fitting_hint():
    def on_the_input(x):
        if x.requires_grad:
            x.register_hook(lambda grad: -grad)
        return x

    assert "also used without reverse" in check("06.reverse", on_the_input).message
    assert "the output" in check("06.reverse", lambda x: -x).message
    assert "the gradient of x" in check("06.reverse", lambda x: x * 1).message
    assert check("06.reverse", lambda x: x.detach()).state == "wrong"

    def careless(x):
        y = x * 1
        y.register_hook(lambda grad: -grad)
        return y

    assert "requires_grad" in check("06.reverse", careless).message


def shapes(model, x, keep=False, leaves=True, read=lambda inputs, output: output):
    found, handles = {}, []
    for name, module in model.named_modules():
        if not leaves or not list(module.children()):

            def hook(module, inputs, output, name=name):
                found[name] = tuple(read(inputs, output).shape)

            handles.append(module.register_forward_hook(hook))
    model(x)
    for handle in handles:
        if not keep:
            handle.remove()
    return found


def by_pre_and_post(model, x):
    names = {module: name for name, module in model.named_modules() if not list(module.children())}
    found = {}

    def hook(module, inputs, output):
        found[names[module]] = output.shape

    handles = [module.register_forward_hook(hook) for module in names]
    model(x)
    for handle in handles:
        handle.remove()
    return found


def test_two_right_shapes():
    assert check("06.shapes", shapes)
    assert check("06.shapes", by_pre_and_post)


def test_wrong_shapes_get_a_fitting_hint():
    assert "a hook is left" in check("06.shapes", lambda model, x: shapes(model, x, keep=True)).message
    assert "no leaf" in check("06.shapes", lambda model, x: shapes(model, x, leaves=False)).message
    of_inputs = check("06.shapes", lambda model, x: shapes(model, x, read=lambda inputs, output: inputs[0]))
    assert "whose is that" in of_inputs.message

    def in_order_of_names(model, x):
        return dict(sorted(shapes(model, x).items(), reverse=True))

    assert "in which order" in check("06.shapes", in_order_of_names).message
    assert "dictionary" in check("06.shapes", lambda model, x: list(shapes(model, x))).message


def clip(parameters, limit):
    return [
        p.register_hook(lambda grad: grad * (limit / grad.norm().clamp(min=1e-12)).clamp(max=1))
        for p in parameters
    ]


def clip_by_branching(parameters, limit):
    def shorten(grad):
        length = grad.norm().item()
        return grad * limit / length if length > limit else None

    return tuple(p.register_hook(shorten) for p in parameters)


def without_a_smallest_norm(parameters, limit):
    return [p.register_hook(lambda grad: grad * (limit / grad.norm()).clamp(max=1)) for p in parameters]


def test_right_clips():
    assert check("06.clip", clip)
    assert check("06.clip", clip_by_branching)
    assert check("06.clip", without_a_smallest_norm)


def test_wrong_clips_get_a_fitting_hint():
    def always(parameters, limit):
        return [p.register_hook(lambda grad: grad * limit / grad.norm().clamp(min=1e-12)) for p in parameters]

    assert "short enough" in check("06.clip", always).message

    def by_value(parameters, limit):
        return [p.register_hook(lambda grad: grad.clamp(-limit, limit)) for p in parameters]

    assert "ten times too long" in check("06.clip", by_value).message

    def without_handles(parameters, limit):
        clip(parameters, limit)
        return accelgrad.ones(3)

    assert "handles" in check("06.clip", without_handles).message
    assert "handles" in check("06.clip", lambda parameters, limit: clip(parameters[:1], limit)).message
