"""The coach: one broken training script for each diagnosis, and correct ones that it leaves alone."""

from __future__ import annotations

import warnings

import pytest

import accelgrad
from accelgrad import nn, optim
from accelgrad.mentor.coaching import coach
from accelgrad.nn import functional as F
from accelgrad.utils.data import DataLoader, TensorDataset


class Problem:
    """Two classes of points, a small network with dropout, its optimizer and its loaders."""

    def __init__(self, lr=0.1, shuffle=True, extra=None):
        x = accelgrad.randn(48, 4)
        y = (x.sum(1) > 0).long()
        self.model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
        self.optimizer = optim.SGD(self.model.parameters(), lr=lr)
        self.train = DataLoader(TensorDataset(x[:32], y[:32]), batch_size=8, shuffle=shuffle)
        self.test = DataLoader(TensorDataset(x[32:], y[32:]), batch_size=4)

    def epoch(self):
        self.model.train()
        for x, y in self.train:
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(x), y)
            loss.backward()
            self.optimizer.step()

    def validate(self):
        self.model.eval()
        total = 0.0
        with accelgrad.no_grad():
            for x, y in self.test:
                total += F.cross_entropy(self.model(x), y).item()
        return total


def watch(script, *arguments):
    with coach(quiet=True) as watched:
        script(*arguments)
    return watched


def codes(script, *arguments):
    return watch(script, *arguments).codes


def test_a_correct_training_loop_with_validation_gets_no_advice():
    problem = Problem()

    def script():
        history = []
        for _ in range(3):
            problem.epoch()
            history.append(problem.validate())

    watched = watch(script)
    assert watched.findings == []
    assert "no mistakes found" in repr(watched) and "12 steps" in repr(watched)


def test_accumulating_gradients_over_batches_on_purpose_gets_no_advice():
    problem = Problem()

    def script():
        for _ in range(2):
            problem.optimizer.zero_grad()
            for x, y in problem.train:
                (F.cross_entropy(problem.model(x), y) / 4).backward()
            problem.optimizer.step()

    assert codes(script) == []


def test_zeroing_in_place_counts_as_zeroing():
    problem = Problem()

    def script():
        for x, y in problem.train:
            problem.optimizer.zero_grad(set_to_none=False)
            F.cross_entropy(problem.model(x), y).backward()
            problem.optimizer.step()

    assert codes(script) == []


def test_several_losses_and_a_frozen_layer_get_no_advice():
    problem = Problem()
    for parameter in problem.model[0].parameters():
        parameter.requires_grad_(False)
    problem.optimizer = optim.Adam([p for p in problem.model.parameters() if p.requires_grad], lr=0.01)

    def script():
        for x, y in problem.train:
            problem.optimizer.zero_grad()
            scores = problem.model(x)
            (F.cross_entropy(scores, y) + 0.1 * scores.pow(2).mean()).backward()
            problem.optimizer.step()

    assert codes(script) == []


def test_a_forgotten_zero_grad_is_named_with_its_line():
    problem = Problem()

    def script():
        for x, y in problem.train:
            F.cross_entropy(problem.model(x), y).backward()
            problem.optimizer.step()

    watched = watch(script)
    assert watched.codes == ["zero-grad"]
    assert "test_coaching.py" in watched.findings[0].line


def test_validation_in_training_mode_is_named():
    problem = Problem()

    def script():
        problem.epoch()
        with accelgrad.no_grad():
            for x, _ in problem.test:
                problem.model(x)

    assert codes(script) == ["no-eval"]


def test_validation_that_records_a_graph_is_named():
    problem = Problem()

    def script():
        problem.epoch()
        problem.model.eval()
        for x, y in problem.test:
            F.cross_entropy(problem.model(x), y).item()

    assert codes(script) == ["no-no-grad"]


def test_validation_with_neither_eval_nor_no_grad_is_named_for_both():
    problem = Problem()

    def script():
        problem.epoch()
        for x, y in problem.test:
            F.cross_entropy(problem.model(x), y).item()

    assert sorted(codes(script)) == ["no-eval", "no-no-grad"]


@pytest.mark.parametrize(
    "squash", [lambda s: s.softmax(1), lambda s: F.log_softmax(s, 1), lambda s: s.softmax(1).reshape(-1, 2)]
)
def test_a_softmax_before_cross_entropy_is_named(squash):
    problem = Problem()

    def script():
        for x, y in problem.train:
            problem.optimizer.zero_grad()
            F.cross_entropy(squash(problem.model(x)), y).backward()
            problem.optimizer.step()

    assert codes(script) == ["softmax-before-loss"]


def test_a_sigmoid_before_a_loss_of_logits_is_named():
    model = nn.Linear(4, 1)

    def script():
        loss = F.binary_cross_entropy_with_logits(model(accelgrad.rand(6, 4)).sigmoid(), accelgrad.ones(6, 1))
        loss.backward()

    assert codes(script) == ["softmax-before-loss"]


@pytest.mark.parametrize("formula", ["by hand", "mse_loss"])
def test_n_against_n_by_1_is_named(formula):
    model = nn.Linear(4, 1)

    def script():
        x, y = accelgrad.rand(6, 4), accelgrad.rand(6)
        if formula == "by hand":
            ((model(x) - y) ** 2).mean().backward()
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                F.mse_loss(model(x), y).backward()

    watched = watch(script)
    assert watched.codes == ["shapes"]
    assert "(6, 1) and (6,)" in watched.findings[0].sentence


def test_all_pairs_on_purpose_are_not_named():
    points = accelgrad.rand(6, requires_grad=True)
    assert codes(lambda: (points[:, None] - points).pow(2).sum().backward()) == []


@pytest.mark.parametrize("way", ["list", "sum"])
def test_keeping_the_graphs_of_losses_is_named(way):
    problem = Problem()

    def script():
        kept, total = [], accelgrad.tensor(0.0)
        for _ in range(2):
            for x, y in problem.train:
                problem.optimizer.zero_grad()
                loss = F.cross_entropy(problem.model(x), y)
                loss.backward()
                problem.optimizer.step()
                if way == "list":
                    kept.append(loss)
                else:
                    total = total + loss

    assert codes(script) == ["graph-kept"]


def test_parameters_outside_the_optimizer_are_named():
    problem = Problem()
    problem.optimizer = optim.SGD(problem.model[3].parameters(), lr=0.1)

    def script():
        for x, y in problem.train:
            problem.model.zero_grad()
            F.cross_entropy(problem.model(x), y).backward()
            problem.optimizer.step()

    watched = watch(script)
    assert watched.codes == ["not-in-optimizer"]
    assert "0.weight, 0.bias" in watched.findings[0].sentence


def test_parameters_that_are_never_used_are_named():
    class Forgetful(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.forgotten = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x):
            return self.used(x)

    problem = Problem()
    problem.model = Forgetful()
    problem.optimizer = optim.SGD(problem.model.parameters(), lr=0.1)
    watched = watch(problem.epoch)
    assert watched.codes == ["unused"]
    assert "forgotten.weight, forgotten.bias" in watched.findings[0].sentence


def test_training_data_in_one_order_is_named():
    assert codes(Problem(shuffle=False).epoch) == ["unshuffled"]


def test_a_learning_rate_that_diverges_is_named():
    w = accelgrad.tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=5.0)

    def script():
        for _ in range(8):
            optimizer.zero_grad()
            loss = (w * w).sum()
            loss.backward()
            optimizer.step()

    watched = watch(script)
    assert watched.codes == ["diverging"]
    assert "rose from" in watched.findings[0].sentence


def test_a_loss_that_becomes_nan_is_named_without_blaming_the_learning_rate():
    w = accelgrad.tensor([1.0], requires_grad=True)

    def script():
        for value in (3.0, 2.0, 1.0, -1.0, -1.0, -1.0):
            (w * value).log().sum().backward()
            w.grad = None

    assert codes(script) == ["nan-loss"]


def test_outside_the_block_everything_is_as_it_was():
    from accelgrad.core.tensor import Tensor
    from accelgrad.nn.hooks import everywhere
    from accelgrad.ops.losses.loss import CrossEntropy
    from accelgrad.ops.pointwise.arithmetic import Sub
    from accelgrad.optim import optimizer as module

    before = (Tensor.backward, Tensor.__sub__, DataLoader.__iter__, Sub.apply, CrossEntropy.apply)
    with pytest.raises(ZeroDivisionError), coach(quiet=True):
        assert Tensor.backward is not before[0]
        raise ZeroDivisionError
    now = (Tensor.backward, Tensor.__sub__, DataLoader.__iter__, Sub.apply, CrossEntropy.apply)
    assert now == before
    assert "apply" not in CrossEntropy.__dict__
    assert not everywhere and not module._pre_everywhere and not module._post_everywhere


def test_the_report_is_printed_unless_quiet(capsys):
    problem = Problem(shuffle=False)
    with accelgrad.coach() as watched:
        problem.epoch()
    assert "[unshuffled]" in capsys.readouterr().out
    assert "shuffle=True" in repr(watched) and "unshuffled" in watched._repr_html_()
    watch(problem.epoch)
    assert capsys.readouterr().out == ""


def test_a_second_model_that_is_only_evaluated_gets_no_advice():
    problem, teacher = Problem(), nn.Linear(4, 2)

    def script():
        problem.epoch()
        teacher.eval()
        with accelgrad.no_grad():
            teacher(accelgrad.rand(3, 4))

    assert codes(script) == []


def test_an_optimizer_of_another_model_is_named():
    problem = Problem()
    problem.optimizer = optim.SGD(nn.Linear(4, 2).parameters(), lr=0.1)

    def script():
        for x, y in problem.train:
            problem.model.zero_grad()
            F.cross_entropy(problem.model(x), y).backward()
            problem.optimizer.step()

    assert codes(script) == ["empty-step"]


def test_a_model_that_is_updated_by_hand_beside_another_gets_no_advice():
    problem, line = Problem(), nn.Linear(4, 1)

    def script():
        problem.epoch()
        line(accelgrad.rand(3, 4)).sum().backward()
        with accelgrad.no_grad():
            for parameter in line.parameters():
                parameter -= 0.1 * parameter.grad

    assert codes(script) == []
