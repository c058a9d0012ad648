"""The three engines against one ordinary backward pass per unit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedloom.privacy.clipping import ENGINES, clipped_gradient_sum


def flat(sums):
    return torch.cat([value.reshape(-1) for value in sums.values()])


def assert_same(got, expected):
    assert list(got) == list(expected)
    scale = float(flat(expected).norm())
    assert float((flat(got) - flat(expected)).norm()) <= 1e-9 * max(scale, 1e-9)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("units", [0, 1, 7])
@pytest.mark.parametrize("max_grad_norm", [0.3, 1e3])
def test_engines_agree_with_a_loop_over_units(case, oracle, engine, units, max_grad_norm):
    batch = case.batch(units)
    expected = oracle(case, batch, max_grad_norm)
    assert_same(
        clipped_gradient_sum(
            case.module, case.loss, batch, max_grad_norm=max_grad_norm, engine=engine
        ),
        expected,
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e200])
def test_a_unit_without_a_finite_gradient_contributes_zero(case, oracle, engine, bad):
    batch = case.batch(5)
    batch["x"][3] = bad
    expected = oracle(case, {name: v[[0, 1, 2, 4]] for name, v in batch.items()}, 0.7)
    got = clipped_gradient_sum(case.module, case.loss, batch, max_grad_norm=0.7, engine=engine)
    if bad == 1e200:  # large and finite: clipped, not dropped
        assert torch.isfinite(flat(got)).all()
        assert float((flat(got) - flat(expected)).norm()) <= 0.7 * (1 + 1e-9)
    else:
        assert_same(got, expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_physical_splits_change_nothing(case, engine):
    batch = case.batch(7)
    whole = clipped_gradient_sum(case.module, case.loss, batch, max_grad_norm=0.5, engine=engine)
    parts = clipped_gradient_sum(
        case.module, case.loss, batch, max_grad_norm=0.5, engine=engine, max_physical_batch=3
    )
    assert_same(parts, whole)


@pytest.mark.parametrize("engine", ENGINES)
def test_calls_leave_the_module_as_it_was(case, engine):
    before = {name: p.clone() for name, p in case.module.named_parameters()}
    case.module.eval()
    names = set(vars(case.module)), {n: set(vars(m)) for n, m in case.module.named_modules()}
    sums = [
        clipped_gradient_sum(
            case.module, case.loss, case.batch(n), max_grad_norm=0.5, engine=engine
        )
        for n in (4, 0, 4)
    ]
    assert_same(sums[2], sums[0])
    assert not case.module.training
    assert names == (
        set(vars(case.module)),
        {n: set(vars(m)) for n, m in case.module.named_modules()},
    )
    for name, p in case.module.named_parameters():
        assert torch.equal(p, before[name]) and p.grad is None
        assert not hasattr(p, "grad_sample") and not hasattr(p, "_forward_counter")
    assert all(not m._forward_hooks and not m._backward_hooks for m in case.module.modules())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("units", [1, 4])
def test_losses_that_are_not_one_number_a_unit_are_refused(case, engine, units):
    batch = case.batch(units)

    def column(module, batch):
        return case.loss(module, batch).unsqueeze(1)

    def mean(module, batch):
        return case.loss(module, batch).mean()

    for wrong in (column, mean):
        with pytest.raises(ValueError, match="one number per unit"):
            clipped_gradient_sum(case.module, wrong, batch, max_grad_norm=1.0, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_adding_a_unit_moves_the_sum_by_at_most_the_clip(case, engine):
    """The worst neighbour is not known, so large and small ones are tried."""
    batch = case.batch(40)
    batch["x"] = batch["x"] * torch.logspace(-3, 6, 40, dtype=torch.float64).unsqueeze(1)
    for i in range(40):
        alone = {name: value[i : i + 1] for name, value in batch.items()}
        rest = {name: value[i + 1 :] for name, value in batch.items()}
        both = {name: value[i:] for name, value in batch.items()}
        c = 0.25
        one, without, with_it = (
            flat(clipped_gradient_sum(case.module, case.loss, b, max_grad_norm=c, engine=engine))
            for b in (alone, rest, both)
        )
        assert float((with_it - without).norm()) <= c * (1 + 1e-9)
        assert float((with_it - without - one).norm()) <= 1e-9


@pytest.mark.parametrize("engine", ENGINES)
def test_float32_stays_within_the_clip(gan, engine):
    gan.module.float()
    batch = gan.batch(64)
    for i in range(64):
        alone = {name: value[i : i + 1] * 1 for name, value in batch.items()}
        alone["noise6"] = alone["x"] + 1e-4  # record and fake nearly cancel
        alone["fake_label"] = alone["label"]
        got = clipped_gradient_sum(gan.module, gan.loss, alone, max_grad_norm=1e-4, engine=engine)
        assert float(flat(got).double().norm()) <= 1e-4 * (1 + 1e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_unused_and_frozen_parameters(case, oracle, engine):
    case.module.extra = nn.Linear(3, 3).double()
    case.module.label.weight.requires_grad_(False)
    got = clipped_gradient_sum(
        case.module, case.loss, case.batch(4), max_grad_norm=1e6, engine=engine
    )
    assert "label.weight" not in got
    assert not got["extra.weight"].any()
    expected = oracle_without(case, oracle, "label.weight")
    assert_same(got, expected)


def oracle_without(case, oracle, name):
    case.module.label.weight.requires_grad_(True)
    sums = oracle(case, case.batch(4), 1e6)  # nothing is clipped, so leaving one out is exact
    case.module.label.weight.requires_grad_(False)
    del sums[name]
    return sums


def test_modules_that_mix_units_are_refused():
    norm = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False))
    with pytest.raises(ValueError, match="mixes the records"):
        clipped_gradient_sum(
            norm, lambda m, b: m(b["x"]).sum(1), {"x": torch.zeros(2, 2)}, max_grad_norm=1.0
        )
    buffered = nn.Linear(2, 2)
    buffered.register_buffer("seen", torch.zeros(2))
    with pytest.raises(ValueError, match="buffers"):
        clipped_gradient_sum(
            buffered, lambda m, b: m(b["x"]).sum(1), {"x": torch.zeros(2, 2)}, max_grad_norm=1.0
        )


@pytest.mark.parametrize(
    "change", [{"max_grad_norm": 0.0}, {"engine": "ghost"}, {"max_physical_batch": 0}]
)
def test_bad_arguments_are_refused(gan, change):
    with pytest.raises(ValueError):
        clipped_gradient_sum(gan.module, gan.loss, gan.batch(2), **{"max_grad_norm": 1.0, **change})


def test_batches_of_uneven_tensors_are_refused(gan):
    batch = gan.batch(3)
    batch["label"] = batch["label"][:2]
    with pytest.raises(ValueError, match="first dimension"):
        clipped_gradient_sum(gan.module, gan.loss, batch, max_grad_norm=1.0)
