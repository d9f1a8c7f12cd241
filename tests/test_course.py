"""The code of a PyTorch course, unchanged but for its first line: ``import accelgrad as torch``."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad as torch
from accelgrad import nn
from accelgrad.nn import functional as F
from accelgrad.nn.utils.rnn import pad_sequence
from accelgrad.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    pad_collate,
)


def test_tensors_are_made_from_lists_and_arrays():
    data = [[3, 5], [10, 5]]
    x_data = torch.tensor(data)
    array = np.array(data)
    assert torch.from_numpy(array).tolist() == data
    assert torch.Tensor(data).dtype is torch.float32
    assert torch.FloatTensor(data).shape == torch.Size([2, 2])
    assert x_data.ndim == 2 and x_data.dtype is torch.int64
    assert x_data[1:].tolist() == [[10, 5]] and x_data[:, 1].tolist() == [5, 5]
    assert x_data.flatten().tolist() == [3, 5, 10, 5]
    assert torch.ones_like(x_data).tolist() == [[1, 1], [1, 1]]
    assert x_data.numpy().tolist() == data


def test_view_shares_memory_and_reshape_may_copy():
    a = torch.zeros(3, 2)
    b = a.view(2, 3)
    a.fill_(1)
    assert b.tolist() == [[1, 1, 1], [1, 1, 1]]
    a = torch.zeros(3, 2)
    b = a.t().reshape(6)
    a.fill_(1)
    assert b.tolist() == [0] * 6
    with pytest.raises(RuntimeError, match="view size is not compatible with input tensor's size and stride"):
        a.t().view(6)


def test_squeeze_and_unsqueeze():
    tensor_ex = torch.rand(size=(2, 1, 2))
    assert tensor_ex.squeeze().shape == (2, 2)
    tensor_ex = torch.rand(size=(2, 2))
    assert tensor_ex.unsqueeze(0).shape == (1, 2, 2)
    assert tensor_ex.unsqueeze(1).shape == (2, 1, 2)
    assert tensor_ex.unsqueeze(2).shape == (2, 2, 1)


def test_mm_dot_and_matmul():
    n1 = np.arange(10).reshape(2, 5)
    t1 = torch.FloatTensor(n1).to(torch.get_default_device())
    t2 = torch.arange(10, dtype=torch.float32).view(5, 2)
    assert t1.mm(t2).tolist() == t1.matmul(t2).tolist() == (t1 @ t2).tolist()
    with pytest.raises(RuntimeError, match="1D tensors expected"):
        t1.dot(t2)
    assert torch.rand(10).dot(torch.ones(10)).ndim == 0
    a, b = torch.rand(5, 2, 3), torch.rand(3)
    with pytest.raises(RuntimeError):
        a.mm(b)
    assert a.matmul(b).shape == (5, 2)


def test_broadcasting():
    assert (torch.ones(2, 5) * torch.arange(5)).tolist() == [[0, 1, 2, 3, 4]] * 2
    with pytest.raises(
        RuntimeError, match=r"The size of tensor a \(3\) must match the size of tensor b \(4\)"
    ):
        torch.ones(2, 3) + torch.ones(2, 4)


def test_the_diagonals_of_a_three_dimensional_tensor_by_gather():
    a = torch.arange(3 * 4 * 4).view(3, 4, 4)
    index = torch.arange(4).expand(3, 4).unsqueeze(2)
    diagonals = torch.gather(a, 2, index).squeeze(2)
    assert torch.equal(diagonals, torch.diagonal(a, dim1=1, dim2=2))
    b = torch.Tensor([[1, 2], [3, 4]])
    assert torch.gather(b, 0, torch.tensor([[0, 1]])).tolist() == [[1, 4]]


def test_functionals_and_one_hot():
    tensor = torch.FloatTensor([0.5, 0.7, 0.1])
    assert float(F.softmax(tensor, dim=0).sum()) == pytest.approx(1)
    y = torch.randint(5, (10, 5))
    assert F.one_hot(y.argmax(dim=1), num_classes=5).shape == (10, 5)


def test_autograd_with_an_external_gradient():
    a = torch.tensor([2.0, 3.0], requires_grad=True)
    b = torch.tensor([6.0, 4.0], requires_grad=True)
    q = 3 * a**3 - b**2
    external_grad = torch.tensor([1.0, 1.0])
    q.backward(gradient=external_grad)
    assert a.grad.tolist() == [36.0, 81.0] and b.grad.tolist() == [-12.0, -8.0]


class MyLinear(nn.Module):
    def __init__(self, in_features, out_features, bias=True):
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weights = nn.Parameter(torch.randn(in_features, out_features))
        self.bias = nn.Parameter(torch.randn(out_features))

    def forward(self, x: torch.Tensor):
        return x @ self.weights + self.bias


def test_a_linear_layer_of_ones_own():
    x = torch.randn(5, 7)
    layer = MyLinear(7, 12)
    assert layer(x).shape == (5, 12)
    assert [name for name, _ in layer.named_parameters()] == ["weights", "bias"]
    assert repr(layer.bias).startswith("Parameter containing:\ntensor([")


class MyLiner(nn.Module):
    """The same with plain tensors: they are no parameters."""

    def __init__(self):
        super().__init__()
        self.weights = torch.randn(7, 12)


def test_a_plain_tensor_is_no_parameter():
    assert list(MyLiner().parameters()) == []
    with pytest.raises(ValueError, match="optimizer got an empty parameter list"):
        torch.optim.SGD(MyLiner().parameters(), lr=0.1)


def test_the_four_steps():
    torch.manual_seed(0)
    x_train = torch.arange(11, dtype=torch.float32).reshape(-1, 1)
    y_train = 2 * x_train + 1
    model = nn.Linear(1, 1)
    criterion = torch.nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        outputs = model(x_train)
        loss = criterion(outputs, y_train)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    with torch.no_grad():
        assert model(torch.tensor([[20.0]])).item() == pytest.approx(41, abs=1.0)


class LR(nn.Module):
    """Logistic regression with its backward and its step by hand."""

    def __init__(self, dim, lr=0.1):
        super().__init__()
        self.w = torch.zeros(dim, 1, dtype=torch.float)
        self.b = torch.scalar_tensor(0)
        self.grads = {"dw": torch.zeros(dim, 1, dtype=torch.float), "db": torch.scalar_tensor(0)}
        self.lr = lr

    def forward(self, x):
        z = torch.mm(self.w.T, x) + self.b
        return self.sigmoid(z)

    def sigmoid(self, z):
        return 1 / (1 + torch.exp(-z))

    def backward(self, x, yhat, y):
        self.grads["dw"] = (1 / x.shape[1]) * torch.mm(x, (yhat - y).T)
        self.grads["db"] = (1 / x.shape[1]) * torch.sum(yhat - y)

    def optimize(self):
        self.w = self.w - self.lr * self.grads["dw"]
        self.b = self.b - self.lr * self.grads["db"]

    def loss(self, yhat, y):
        m = y.size(1)
        return -(1 / m) * torch.sum(y * torch.log(yhat) + (1 - y) * torch.log(1 - yhat))


def test_logistic_regression_by_hand_agrees_with_autograd():
    torch.manual_seed(0)
    x = torch.randn(2, 200)
    y = (x[0:1] + 2 * x[1:2] > 0.3).float()
    model = LR(2, lr=0.5)
    w, b = torch.zeros(2, 1, requires_grad=True), torch.zeros(1, requires_grad=True)
    for _ in range(50):
        yhat = model.forward(x)
        model.backward(x, yhat, y)
        loss = F.binary_cross_entropy_with_logits(w.T @ x + b, y)
        dw, db = torch.autograd.grad(loss, [w, b])
        np.testing.assert_allclose(model.grads["dw"].numpy(), dw.numpy(), atol=1e-5)
        np.testing.assert_allclose(model.grads["db"].numpy(), db.numpy()[0], atol=1e-5)
        model.optimize()
        with torch.no_grad():
            w -= 0.5 * dw
            b -= 0.5 * db
    assert ((model.forward(x) > 0.5).float() == y).float().mean().item() > 0.9


def test_hooks_of_modules_see_and_change():
    seen = []

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = nn.Parameter(torch.Tensor([5]))

        def forward(self, x1, x2):
            return x1 * self.W + x2 * self.W

    model = Model()
    model.register_forward_pre_hook(lambda module, inputs: tuple(2 * one for one in inputs))
    model.register_forward_hook(lambda module, inputs, output: output + 5)
    model.register_full_backward_hook(
        lambda module, grad_input, grad_output: seen.append((grad_input, grad_output))
    )
    x1 = torch.tensor([1.0], requires_grad=True)
    x2 = torch.tensor([2.0], requires_grad=True)
    output = model(x1, x2)
    assert output.item() == 2 * 5 + 4 * 5 + 5
    output.backward(torch.tensor([1.0]))
    assert [g.item() for g in seen[0][0]] == [5.0, 5.0] and seen[0][1][0].item() == 1.0
    handle = model.W.register_hook(lambda grad: grad * 0)
    model.W.grad = None
    model(x1, x2).backward()
    assert model.W.grad.item() == 0.0
    handle.remove()


class CustomDataset(Dataset):
    def __init__(self, text, labels):
        self.labels = labels
        self.data = text

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, idx):
        return {"Text": self.data[idx], "Class": self.labels[idx]}


TEXT = ["Happy", "Amazing", "Sad", "Unhappy", "Glum"]
LABELS = ["Positive", "Positive", "Negative", "Negative", "Negative"]


def test_a_dataset_of_text_and_class():
    dataset = CustomDataset(TEXT, LABELS)
    loader = DataLoader(dataset, batch_size=2, shuffle=True)
    batch = next(iter(loader))
    assert set(batch) == {"Text", "Class"} and len(batch["Text"]) == 2
    assert next(iter(DataLoader(dataset, batch_size=2)))["Text"] == ["Happy", "Amazing"]


class Squares(Dataset):
    def __init__(self, n=20):
        self.X = torch.arange(float(n)).view(-1, 1)
        self.y = self.X**2

    def __len__(self):
        return len(self.X)

    def __getitem__(self, idx):
        return self.X[idx], self.y[idx]


def name_the_worker(worker_id: int) -> None:
    import random

    random.seed(worker_id)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_with_every_argument(num_workers):
    more = {"prefetch_factor": 2, "persistent_workers": True, "timeout": 60} if num_workers else {}
    loader = DataLoader(
        Squares(),
        batch_size=6,
        shuffle=True,
        sampler=None,
        batch_sampler=None,
        num_workers=num_workers,
        collate_fn=None,
        pin_memory=False,
        drop_last=True,
        worker_init_fn=name_the_worker,
        generator=torch.Generator().manual_seed(0),
        **more,
    )
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    for x, y in batches:
        assert x.shape == y.shape == (6, 1) and torch.equal(x**2, y)
    if num_workers:
        loader.close()


def test_samplers():
    dataset = Squares(5)
    assert [int(x) for x, _ in DataLoader(dataset, sampler=SequentialSampler(dataset))] == [0, 1, 2, 3, 4]
    assert sorted(int(x) for x, _ in DataLoader(dataset, sampler=RandomSampler(dataset))) == [0, 1, 2, 3, 4]
    by_two = BatchSampler(SequentialSampler(dataset), batch_size=2, drop_last=False)
    assert [x.flatten().tolist() for x, _ in DataLoader(dataset, batch_sampler=by_two)] == [
        [0, 1],
        [2, 3],
        [4],
    ]


class VarLength(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, idx):
        return torch.arange(1, idx + 2), torch.tensor(idx)


def make_same_length_batch(samples):
    sequences, labels = zip(*samples, strict=True)
    return pad_sequence(list(sequences), batch_first=True), torch.stack(list(labels))


def test_collate_with_padding():
    with pytest.raises(RuntimeError, match="pad_collate"):
        next(iter(DataLoader(VarLength(), batch_size=3)))
    x, y = next(iter(DataLoader(VarLength(), batch_size=3, collate_fn=make_same_length_batch)))
    assert x.tolist() == [[1, 0, 0], [1, 2, 0], [1, 2, 3]] and y.tolist() == [0, 1, 2]
    padded = next(iter(DataLoader(VarLength(), batch_size=3, collate_fn=pad_collate)))
    assert padded[0].values.tolist() == x.tolist() and padded[0].lengths.tolist() == [1, 2, 3]


def test_a_tensor_dataset():
    x, y = torch.arange(10.0).view(5, 2), torch.arange(5)
    for one, label in DataLoader(TensorDataset(x, y), batch_size=2):
        assert torch.equal(one, x[label])


def test_repeated_blocks_share_a_definition():
    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
            )  # fmt: skip

        def forward(self, x):
            return F.relu(x + self.conv(x))

    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), *[Block(8) for _ in range(3)], nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    out = net(torch.randn(2, 1, 8, 8))
    out.sum().backward()
    assert out.shape == (2, 8)
    assert all(p.grad is not None for p in net.parameters())
    assert len(net.state_dict()) == 2 + 3 * (2 + 2 * 5)
