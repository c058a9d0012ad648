"""Opacus' hooks under our rules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.clipping.opacus_engine import NoisyOptimizer, PerUnitGradients
from fedloom.privacy.clipping.units import trainable


def test_hooks_are_gone_after_an_error(gan):
    def broken(module, batch):
        gan.loss(module, batch)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        clipped_gradient_sum(gan.module, broken, gan.batch(3), max_grad_norm=1.0, engine="opacus")
    got = clipped_gradient_sum(
        gan.module, gan.loss, gan.batch(3), max_grad_norm=1.0, engine="opacus"
    )
    assert all(torch.isfinite(value).all() for value in got.values())
    assert not hasattr(gan.module, "autograd_grad_sample_hooks")


def test_a_layer_that_is_half_used_is_refused(gan):
    def loss(module, batch):
        real = module(batch["x"], batch["label"])
        return real - module(batch["noise6"], batch["label"]).detach()

    with pytest.raises(ValueError, match="fused"):
        clipped_gradient_sum(gan.module, loss, gan.batch(3), max_grad_norm=1.0, engine="opacus")


def test_a_layer_whose_output_is_dropped_counts_for_nothing(gan):
    def loss(module, batch):
        module.label(batch["label"])
        return module.body(torch.cat([batch["x"], batch["noise6"][:, :4]], 1)).squeeze(1)

    both = [
        clipped_gradient_sum(gan.module, loss, gan.batch(3), max_grad_norm=1.0, engine=engine)
        for engine in ("opacus", "fused")
    ]
    for name, value in both[0].items():
        torch.testing.assert_close(value, both[1][name])


def test_the_optimiser_divides_by_the_public_number_alone():
    """Two batches of different size with the same sum of gradients take the same step."""
    steps = []
    for copies in (1, 8):
        module = nn.Linear(2, 1, bias=False).double()
        nn.init.zeros_(module.weight)
        optimizer = NoisyOptimizer(
            torch.optim.SGD(module.parameters(), lr=1.0),
            trainable(module),
            max_grad_norm=100.0,
            add_noise=lambda sums: sums,
            normaliser=5.0,
        )
        batch = {"x": torch.ones(copies, 2, dtype=torch.float64) / copies}
        with PerUnitGradients(module) as hooks:
            hooks.backward(lambda m, b: m(b["x"]).squeeze(1), batch)
            optimizer.step()
        steps.append(module.weight.detach().clone())
    torch.testing.assert_close(steps[0], torch.full((1, 2), -0.2, dtype=torch.float64))
    torch.testing.assert_close(steps[1], steps[0])
