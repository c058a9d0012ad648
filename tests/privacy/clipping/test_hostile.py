"""The clip under weights and values chosen to break it; every old formula is shown to break."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fedloom.privacy.clipping.clipped_sum as api
from fedloom.privacy.clipping import ENGINES, clipped_gradient_sum, layers
from fedloom.privacy.clipping.layers import CLOSED_FORMS, LayerCall
from fedloom.privacy.clipping.single import Factors
from fedloom.privacy.clipping.units import Part, clip_factors

SLACK = 1.0 + 1e-3


def vector(sums):
    return torch.cat([value.double().reshape(-1) for value in sums.values()])


def influence(module, loss, batch, engine="fused", clip=1.0):
    sums = clipped_gradient_sum(
        module, loss, batch, max_grad_norm=clip, engine=engine, dtype=torch.float64
    )
    return float(vector(sums).norm()) / clip


def paired(module, batch):
    """Gradient 1000 * (real - fake): what record and fake share cancels."""
    return 1e3 * (module(batch["real"]) - module(batch["fake"])).squeeze(1)


def pair(common):
    real = torch.full((1, 8), common)
    fake = real.clone()
    real[0, 0], fake[0, 0] = 1.0, 0.0
    return {"real": real, "fake": fake}


def embedded(module, batch):
    """The same row of a table twice, with output gradients that share a huge part."""
    one = (module(batch["code"]) * batch["real"]).sum(1)
    return 1e3 * (one - (module(batch["code"]) * batch["fake"]).sum(1))


def worst_of_pairs(engine="fused"):
    torch.manual_seed(4)
    linear, table = nn.Linear(8, 1), nn.Embedding(2, 8)
    found = [0.0]
    for common in torch.logspace(0, 15, 61).tolist():
        found.append(influence(linear, paired, pair(common), engine))
        coded = {**pair(common), "code": torch.zeros(1, dtype=torch.int64)}
        found.append(influence(table, embedded, coded, engine))
    return max(found)


@pytest.mark.parametrize("engine", ENGINES)
def test_pairs_with_a_huge_common_part_are_clipped(engine):
    assert 0.9 < worst_of_pairs(engine) <= SLACK


def test_norms_without_a_margin_let_pairs_through(monkeypatch):
    monkeypatch.setattr(layers, "MARGIN", 0.0)
    assert worst_of_pairs() > 100.0


def nearly_cancelling_calls(trial):
    rng = torch.Generator().manual_seed(trial)
    a, b = torch.randn(1, 8, generator=rng), torch.randn(1, 5, generator=rng)
    other = a * (1 + 1e-6 * torch.randn(1, 8, generator=rng))
    return [LayerCall(a, b), LayerCall(other, -b * (1 + 1e-6 * torch.randn(1, 5, generator=rng)))]


@pytest.mark.parametrize("double, holds", [(True, True), (False, False)])
def test_sums_of_pairs_round_with_the_clipped_size_only_in_double(monkeypatch, double, holds):
    monkeypatch.setattr(layers, "MARGIN", 0.0)  # these cancel little enough to do without
    layer = nn.Linear(8, 5, bias=False)
    form, worst = CLOSED_FORMS[nn.Linear], 0.0
    for trial in range(200):
        calls = nearly_cancelling_calls(trial)
        measured = form.measured(layer, calls, None)
        factors, _ = clip_factors(measured.squared, 1e-6)
        if double:
            ((_, value),) = measured.sums(Factors(factors, factors, None, factors))
        else:
            value = sum((factors.float() * call.b).t() @ call.a for call in calls)
        worst = max(worst, float(value.double().norm()) / 1e-6)
    assert (worst <= SLACK) is holds


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("clip", [1e-6, 1.0, 1e6])
def test_enormous_gradients_stay_within_the_clip(engine, clip):
    module = nn.Linear(1, 1)
    for size in torch.logspace(20, 38.4, 47).tolist():
        batch = {"x": torch.tensor([[size]])}
        assert influence(module, lambda m, b: m(b["x"]).squeeze(1), batch, engine, clip) <= SLACK


def test_a_factor_below_the_normal_numbers_of_float32_is_zero():
    norm = torch.tensor(2.8e38, dtype=torch.float64)
    old = (1e-6 / norm).float()
    assert float(old * norm) / 1e-6 > 1.1  # rounded up to a multiple of 2^-149
    factors, kept = clip_factors(torch.stack([norm, norm * 1e-20]).square(), 1e-6)
    assert factors[0] == 0.0 and kept.tolist() == [False, True]


@pytest.mark.parametrize("clip", [0.0, -1.0, 9e-7, 1.1e6, 1e30, float("inf"), float("nan")])
def test_clips_out_of_range_are_refused(gan, clip):
    with pytest.raises(ValueError, match="max_grad_norm must lie in"):
        clipped_gradient_sum(gan.module, gan.loss, gan.batch(2), max_grad_norm=clip)


def test_sums_at_the_largest_clip_are_finite_in_float32():
    batch = {"x": torch.full((600, 4), 1e30)}
    sums = clipped_gradient_sum(
        nn.Linear(4, 1), lambda m, b: m(b["x"]).squeeze(1), batch, max_grad_norm=1e6
    )
    assert float(vector(sums).norm()) == pytest.approx(600e6, rel=1e-5)


class Amplifier(nn.Module):
    """Pre-activations that cancel exactly for one row alone; their rounding is blown up."""

    def __init__(self, trial: int) -> None:
        super().__init__()
        torch.manual_seed(trial)
        self.x = torch.randn(1, 17)
        self.read, self.norm, self.out = nn.Linear(17, 64), nn.LayerNorm(64), nn.Linear(64, 2)
        with torch.no_grad():
            self.read.weight.normal_().mul_(1e6)
            self.read.bias.copy_(-F.linear(self.x, self.read.weight)[0])
            self.norm.weight.mul_(1e6)
            self.out.weight.mul_(1e6)


def amplified(module, batch):
    hidden = torch.tanh(module.norm(module.read(batch["x"])))
    return module.out(hidden).square().sum(1)


def largest_step(engine, trials, sizes=(1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 255, 256, 257, 258)):
    """How far one more copy of a unit moves the sum, at most."""
    worst = 0.0
    for trial in range(trials):
        module = Amplifier(trial)
        for k in sizes:
            more, less = (
                vector(
                    clipped_gradient_sum(
                        module,
                        amplified,
                        {"x": module.x.expand(n, 17)},
                        max_grad_norm=1.0,
                        engine=engine,
                        dtype=torch.float64,
                    )
                )
                for n in (k, k - 1)
            )
            worst = max(worst, float((more - less).norm()))
    return worst


@pytest.mark.parametrize("engine", ENGINES)
def test_one_more_unit_does_not_change_what_others_contribute(engine):
    assert 0.9 < largest_step(engine, trials=3) <= SLACK


@pytest.mark.parametrize("engine", ["fused", "opacus"])
def test_batches_of_private_shape_let_others_change(engine, monkeypatch):
    module = Amplifier(0)
    alone, three = (F.linear(module.x.expand(n, 17), module.read.weight) for n in (1, 3))
    if bool((alone == three).all()):
        pytest.skip("kernels of this machine round alike whatever the number of rows")

    def whole(batch, *_, **__):
        rows = batch["x"].shape[0]
        return [Part(batch, rows)] if rows else []

    monkeypatch.setattr(api, "split_batch", whole)
    assert largest_step(engine, trials=3, sizes=(2, 3, 4, 5)) > SLACK


@pytest.mark.parametrize("rows", [64, 256, 512])
@pytest.mark.parametrize("width, hidden", [(17, 64), (64, 1), (129, 257), (200, 64)])
def test_kernels_treat_all_rows_of_a_physical_batch_alike(rows, width, hidden):
    torch.manual_seed(1)
    weight, x, b = torch.randn(hidden, width), torch.randn(1, width), torch.randn(1, hidden)
    same, back = x.expand(rows, width).contiguous(), b.expand(rows, hidden).contiguous()
    results = [F.linear(same, weight, b[0]), back @ weight, F.layer_norm(same, [width])]
    results += [f(same) for f in (F.silu, F.softplus, torch.exp, torch.tanh)]
    for value in results:
        assert torch.equal(value, value[:1].expand_as(value))


@pytest.mark.parametrize("engine", ENGINES)
def test_fillers_without_a_finite_loss_count_nothing(engine):
    module = nn.Linear(3, 1)
    batch = {"x": torch.ones(3, 3)}

    def loss(module, batch):
        return (module(batch["x"]) / batch["x"].sum(1, keepdim=True)).squeeze(1).log1p().square()

    nn.init.constant_(module.weight, 0.5)
    got = vector(clipped_gradient_sum(module, loss, batch, max_grad_norm=1e-2, engine=engine))
    assert float(got.norm()) == pytest.approx(3e-2, rel=1e-5)
