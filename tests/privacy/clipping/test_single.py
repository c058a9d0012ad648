"""Sums in single precision stay within the bound that is taken off the clip; twins do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedloom.privacy.clipping import clipped_gradient_sum, single
from fedloom.privacy.clipping.single import (
    ALLOWANCE,
    BLOCK,
    Factors,
    Spread,
    block_products,
    block_sums,
    split_factors,
    tightened,
)
from fedloom.privacy.clipping.units import Part, People

U = 2.0**-24


def part(rows, shuffled=True, people=None):
    return Part({"x": torch.zeros(rows, 1)}, rows, people, shuffled)


def spread(values, largest=1.0):
    squared = torch.as_tensor(values, dtype=torch.float64).square()
    return Spread(squared, torch.full_like(squared, largest**2), once=False)


def split(factors, spreads, clip=1.0, **changes) -> Factors:
    return split_factors(factors, part(len(factors), **changes), spreads, clip)


def test_the_terms_of_the_proof_fit_the_allowance():
    most = single._MAX_SPREAD
    blocks, fours = 4 * BLOCK * U * most, 4 * 3 * U * 4 * most
    scaled = 4 * 2 * U * most
    gamma = 1.0 + 2.0**-17
    assert (blocks + fours + scaled) * gamma + 1e-6 < ALLOWANCE
    assert single._BLOCKS_IN_SINGLE == 4
    assert tightened(3.0) * (1 + ALLOWANCE) == pytest.approx(3.0, rel=1e-15)


def hostile_rows(kind, rows, width, rng):
    """Rows whose products round as badly as the kind can."""
    if kind == "aligned":  # partial sums as large as they can be, all rounded
        return torch.full((rows, width), 1.0 / 3.0) * (
            1 + 1e-3 * torch.rand(rows, 1, generator=rng)
        )
    if kind == "wide":  # sizes from 1e-6 to 1e6
        return torch.randn(rows, width, generator=rng) * 10.0 ** (
            12 * torch.rand(rows, width, generator=rng) - 6
        )
    return torch.randn(rows, width, generator=rng)


@pytest.mark.parametrize("kind", ["aligned", "wide", "normal"])
@pytest.mark.parametrize("rows", [64, 128, 256, 512])
@pytest.mark.parametrize("sizes", [(17, 33), (256, 256), (1, 5)])
def test_rounding_of_blocks_is_below_the_bound(kind, rows, sizes):
    rng = torch.Generator().manual_seed(7)
    b, a = (hostile_rows(kind, rows, size, rng) for size in sizes)
    error = (block_products(b, a) - b.double().t() @ a.double()).norm()
    apart = (b.double().norm(dim=1) * a.double().norm(dim=1)).sum()
    assert float(error) <= (BLOCK + 3) * U * (1 + 2.0**-17) * float(apart)
    error = (block_sums(b) - b.double().sum(0)).norm()
    assert float(error) <= (BLOCK + 3) * U * (1 + 2.0**-17) * float(b.double().norm(dim=1).sum())


def test_honest_rows_are_summed_in_single_precision():
    ready = split(torch.full((256,), 0.5, dtype=torch.float64), [spread([2.0] * 256)])
    assert ready.double is None and ready.single.dtype == torch.float32
    assert torch.equal(ready.single.double(), ready.rows)


@pytest.mark.parametrize("reason", ["spread", "input"])
def test_one_bad_row_sends_its_block_to_double_precision(reason):
    factors = torch.ones(256, dtype=torch.float64)
    values, largest = torch.ones(256), torch.ones(256)
    (values if reason == "spread" else largest)[70] = 200.0 if reason == "spread" else 2.0**61
    ready = split(factors, [Spread(values.double().square(), largest.double().square(), False)])
    rows = torch.zeros(256, dtype=torch.bool)
    rows[64:128] = True
    assert torch.equal(ready.double > 0, rows) and torch.equal(ready.single > 0, ~rows)


def test_rows_that_do_not_count_send_nothing_to_double_precision():
    factors = torch.ones(128, dtype=torch.float64)
    factors[5] = 0.0
    values = torch.ones(128, dtype=torch.float64)
    values[5] = float("nan")
    ready = split(factors, [Spread(values, torch.where(factors > 0, 1.0, float("inf")), False)])
    assert ready.double is None


@pytest.mark.parametrize("why", ["order", "persons", "kernel", "no products"])
def test_without_its_premises_everything_is_in_double_precision(why, monkeypatch):
    changes = {"shuffled": why != "order"}
    spreads = [] if why == "no products" else [spread([1.0] * 64)]
    if why == "kernel":
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    factors = torch.ones(64, dtype=torch.float64)
    if why == "persons":
        changes["people"] = People(torch.arange(64), 64, 1)
    ready = split(factors, spreads, **changes)
    assert ready.single is None and torch.equal(ready.double, factors)


def linear(module, batch):
    return module(batch["x"]).squeeze(1)


def swapped(rows, place):
    """Rows with one more unit in `place`, whose former owner moves to the end."""
    more = torch.cat([rows, rows[place : place + 1]])
    more[place] = torch.full_like(rows[0], -1.0)
    return more


def moved(shuffled=True, rows=1000):
    """How far one unit more moves the sum of many aligned ones, order by order, at most."""
    torch.manual_seed(3)
    module = nn.Linear(40, 1, bias=False)
    x = (1.0 / 3.0) * (1 + 1e-2 * torch.rand(rows, 40))
    worst = 0.0
    for place in (0, 63, 64, 511, rows - 1):
        sums = [
            clipped_gradient_sum(
                module,
                linear,
                {"x": value},
                max_grad_norm=1.0,
                dtype=torch.float64,
                shuffled=shuffled,
            )["weight"]
            for value in (x, swapped(x, place))
        ]
        worst = max(worst, float((sums[1] - sums[0]).norm()))
    return worst


@pytest.mark.parametrize("shuffled", [True, False])
def test_one_unit_more_moves_the_sum_by_one_clip(shuffled):
    assert 0.99 < moved(shuffled) <= (1.0 + ALLOWANCE if shuffled else 1.0 + 1e-6)


def test_a_machine_that_multiplies_in_less_precision_is_caught(monkeypatch):
    def coarse(b, a):
        return (b.bfloat16().t() @ a.bfloat16()).double()

    monkeypatch.setattr("fedloom.privacy.clipping.layers.block_products", coarse)
    assert moved() > 1.0 + ALLOWANCE


def paired(module, batch):
    return 1e3 * (module(batch["real"]) - module(batch["fake"])).squeeze(1)


def cancelling(common, rows=64):
    real = torch.full((rows, 8), common) * (1 + 1e-2 * torch.rand(rows, 8))
    return {"real": real, "fake": real * (1 + 1e-4 * torch.rand(rows, 8))}


def error_of_pairs():
    """The largest difference between sums of nearly cancelling pairs in single and in double."""
    torch.manual_seed(4)
    module, worst = nn.Linear(8, 1), 0.0
    for common in torch.logspace(0, 12, 25).tolist():
        batch = cancelling(common)
        sums = [
            torch.cat(
                [
                    value.reshape(-1)
                    for value in clipped_gradient_sum(
                        module,
                        paired,
                        batch,
                        max_grad_norm=1.0,
                        dtype=torch.float64,
                        shuffled=shuffled,
                    ).values()
                ]
            )
            for shuffled in (True, False)
        ]
        worst = max(worst, float((sums[0] - sums[1]).norm()))
    return worst


def test_pairs_that_cancel_are_not_left_to_single_precision():
    assert error_of_pairs() <= (BLOCK + 5) * U * single._MAX_SPREAD


def test_without_the_look_at_spreads_they_are(monkeypatch):
    monkeypatch.setattr(single, "_MAX_SPREAD", np.inf)
    assert error_of_pairs() > 2 * (BLOCK + 5) * U * 192.0


def worst_of_large_inputs():
    """How far one unit's contribution strays from the clip, where scaled gradients are tiny."""
    module, worst = nn.Linear(4, 1, bias=False), 0.0

    def faint(module, batch):
        return 1e-20 * module(batch["x"]).squeeze(1)

    for size in torch.logspace(15, 38, 200).tolist():
        got = clipped_gradient_sum(
            module,
            faint,
            {"x": torch.full((1, 4), size)},
            max_grad_norm=1e-6,
            dtype=torch.float64,
            shuffled=True,
        )["weight"]
        expected = min(1.0, size * 2e-20 / 1e-6)
        worst = max(worst, abs(float(got.norm()) / 1e-6 - expected))
    return worst


def test_inputs_near_the_end_of_float32_keep_their_clip():
    assert worst_of_large_inputs() < 1e-5


def test_without_the_look_at_inputs_digits_are_lost(monkeypatch):
    monkeypatch.setattr(single, "_MAX_SQUARE", np.inf)
    assert worst_of_large_inputs() > ALLOWANCE
