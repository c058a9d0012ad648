"""What the closed form covers, and that it hands on the rest instead of clipping it wrongly."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.clipping.fused import UnsupportedModuleError, fused_sum
from fedloom.privacy.clipping.units import Part, trainable


def rows(units=6, width=4):
    rng = torch.Generator().manual_seed(1)
    return {"x": torch.randn(units, width, generator=rng, dtype=torch.float64)}


def stack(*layers):
    torch.manual_seed(2)
    return nn.Sequential(*layers).double()


def total(module, batch):
    return module(batch["x"]).square().flatten(1).sum(1)


def vector(sums):
    return torch.cat([value.reshape(-1) for value in sums.values()])


def fused(module, loss, batch):
    rows = next(iter(batch.values())).shape[0]
    return fused_sum(module, trainable(module), loss, Part(batch, rows), 0.5)


def assert_falls_back_and_agrees(module, loss, batch):
    with pytest.raises(UnsupportedModuleError):
        fused(module, loss, batch)
    assert_agrees(module, loss, batch)


def assert_agrees(module, loss, batch):
    both = [
        vector(clipped_gradient_sum(module, loss, batch, max_grad_norm=0.5, engine=engine))
        for engine in ("fused", "functional")
    ]
    torch.testing.assert_close(both[0], both[1], rtol=1e-10, atol=1e-12)
    assert both[0].any()


@pytest.mark.parametrize(
    "layers",
    [
        lambda: (nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 2, bias=False)),
        lambda: (nn.Linear(4, 3), nn.LayerNorm(3, bias=False), nn.Tanh()),
        lambda: (nn.Linear(4, 3), nn.LayerNorm(3, elementwise_affine=False)),
    ],
)
def test_closed_forms(layers):
    module = stack(*layers())
    fused(module, total, rows())
    assert_agrees(module, total, rows())


def test_a_layer_called_three_times_and_once_for_nothing():
    module = stack(nn.Linear(4, 4), nn.LayerNorm(4))

    def loss(module, batch):
        module(batch["x"] * 7.0)
        once = module(batch["x"])
        with torch.no_grad():
            module(once)
        return (module(module(once)) * module(-batch["x"]).detach()).square().sum(1)

    fused(module, loss, rows())
    assert_agrees(module, loss, rows())


def test_an_embedding_called_twice_on_equal_and_unequal_codes():
    module = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2)).double()
    batch = {"a": torch.tensor([0, 1, 2, 3]), "b": torch.tensor([0, 2, 2, 4])}

    def loss(module, batch):
        return (module(batch["a"]) * module(batch["b"]) + module(batch["a"])).square().sum(1)

    fused(module, loss, batch)
    assert_agrees(module, loss, batch)


@pytest.mark.parametrize("frozen", ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight"])
def test_partly_frozen_layers(frozen):
    module = stack(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 3))
    module.get_parameter(frozen).requires_grad_(False)

    def twice(module, batch):
        return (module(batch["x"]) + module(-0.5 * batch["x"])).square().sum(1)

    fused(module, twice, rows())
    assert_agrees(module, twice, rows())


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.scale = nn.Linear(4, 4), nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.a(x) * self.scale


@pytest.mark.parametrize(
    "make",
    [
        Tied,
        Scaled,
        lambda: nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3)),
        lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 3)),
        lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.LayerNorm((2, 2))),
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
    ],
)
def test_other_modules_fall_back(make):
    torch.manual_seed(2)
    assert_falls_back_and_agrees(make().double(), total, rows())


@pytest.mark.parametrize("option", [{"padding_idx": 0}, {"scale_grad_by_freq": True}])
def test_unusual_embeddings_are_not_covered(option):
    module = nn.Embedding(5, 3, **option).double()
    with pytest.raises(UnsupportedModuleError):
        fused(module, lambda m, b: m(b["a"]).square().sum(1), {"a": torch.tensor([0, 1])})


def weight_outside(module, batch):
    return F.linear(module(batch["x"]), module[0].weight[:3, :3]).square().sum(1)


def decay(module, batch):
    return total(module, batch) + module[0].weight.square().sum()


def penalty(module, batch):
    x = batch["x"].clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(module(x).tanh().sum(), x, create_graph=True)
    return slope.square().sum(1)


def weight_as_input(module, batch):
    return total(module, batch) * module[2](module[2].weight).sum()


@pytest.mark.parametrize("loss", [weight_outside, decay, penalty, weight_as_input])
def test_losses_that_use_a_weight_outside_its_layer_are_not_covered(loss):
    module = stack(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
    with pytest.raises(UnsupportedModuleError, match="outside its layer|one per unit"):
        fused(module, loss, rows())


def test_a_loss_with_weight_decay_is_clipped_as_a_whole():
    assert_falls_back_and_agrees(stack(nn.Linear(4, 3)), decay, rows())


def test_real_and_fake_in_one_call_fall_back():
    """Rows are then no units; the whole pair must still be clipped once."""
    module = stack(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))

    def loss(module, batch):
        units = batch["x"].shape[0]
        both = module(torch.cat([batch["x"], -batch["x"]])).squeeze(1)
        return both[:units].square() + both[units:]

    assert_falls_back_and_agrees(module, loss, rows())


def test_an_activation_changed_afterwards_is_not_trusted():
    module = stack(nn.Linear(4, 3))

    def loss(module, batch):
        x = batch["x"].clone()
        out = module(x)
        x.zero_()
        return out.square().sum(1)

    with pytest.raises(UnsupportedModuleError, match="not one per unit"):
        fused(module, loss, rows())


def test_random_numbers_inside_a_loss_are_refused_by_the_fallback():
    module = nn.Sequential(Scaled(), nn.Dropout(0.5)).double()
    with pytest.raises(RuntimeError, match="random"):
        clipped_gradient_sum(module, total, rows(), max_grad_norm=1.0, engine="functional")


def test_a_loss_that_forgets_the_module_gives_zeros():
    module = stack(nn.Linear(4, 3))
    sums = clipped_gradient_sum(module, lambda m, b: b["x"].sum(1), rows(), max_grad_norm=1.0)
    assert not vector(sums).any()
