"""Likelihood, corruption and depth of a VAE of images: closed forms, clips, and whole studies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fedloom.common.images.shape import ImageShape
from fedloom.common.models.image_likelihood import (
    LogisticWidths,
    bernoulli_loss,
    discretised_loss,
)
from fedloom.common.models.private_model import count_parameters
from fedloom.common.models.registry import num_parameters
from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.clipping.fused import fused_sum
from fedloom.privacy.clipping.row_invariance import rows_are_invariant
from fedloom.privacy.clipping.units import Part, trainable
from tests.images.test_networks import batch_of, influence, made, stirred

SETTINGS = {
    "discretised": {"likelihood": "discretised"},
    "deep": {"depth": 4},
    "flow": {"flow": 3},
    "corrupted": {"corruption": 0.3, "masking": 0.4, "views": 3, "shift": 1},
}
LEVELS = torch.arange(256) / 255.0


@pytest.mark.parametrize("log_width", [-5.0, -2.0, 1.0])
@pytest.mark.parametrize("logit", [-6.0, 0.3, 6.0])
def test_the_chances_of_all_levels_add_up_to_one(log_width, logit):
    rows = LEVELS[:, None].double()
    losses = discretised_loss(torch.full_like(rows, logit), rows, torch.full_like(rows, log_width))
    assert float(torch.exp(-losses).sum()) == pytest.approx(1.0, abs=1e-6)


def test_a_level_has_the_chance_that_a_logistic_distribution_gives_it():
    def below(value: float) -> float:
        return 1.0 / (1.0 + math.exp(-(value - 0.5) / 0.2))

    level, half = 200 / 255, 0.5 / 255
    found = discretised_loss(
        torch.zeros(1, 1), torch.full((1, 1), level), torch.full((1, 1), math.log(0.2))
    )
    assert float(found) == pytest.approx(-math.log(below(level + half) - below(level - half)), 1e-4)


def test_a_level_far_from_what_is_decoded_has_a_finite_loss_and_gradient():
    logits = torch.tensor([[-30.0, 30.0, 0.0]], requires_grad=True)
    widths = torch.full((1, 3), -5.0, requires_grad=True)
    loss = discretised_loss(logits, torch.tensor([[0.5, 0.5, 1.0]]), widths)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(logits.grad).all() and torch.isfinite(widths.grad).all()


def test_the_cross_entropy_of_a_value_is_least_where_it_is_decoded():
    logits = torch.linspace(-3, 3, 61)[:, None]
    found = bernoulli_loss(logits, torch.full_like(logits, 0.7))
    best = float(torch.sigmoid(logits[found.argmin()]))
    assert best == pytest.approx(0.7, abs=0.03)


def test_widths_are_alike_at_first_and_learn_how_far_values_of_a_class_lie():
    shape = ImageShape(height=8, width=8, channels=1)
    widths, classes = LogisticWidths(shape, 2), torch.eye(2)[[0, 1] * 100]
    assert float(widths(classes).detach().std()) == 0.0
    rng = torch.Generator().manual_seed(3)
    spread = torch.tensor([0.02, 0.1])[[0, 1] * 100][:, None]
    uniform = torch.rand((200, 64), generator=rng).clamp(1e-4, 1 - 1e-4)
    truth = (0.5 + spread * torch.logit(uniform)).clamp(0.0, 1.0)
    optimiser = torch.optim.Adam(widths.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        discretised_loss(torch.zeros(200, 64), truth, widths(classes)).mean().backward()
        optimiser.step()
    found = widths(torch.eye(2)).exp().mean(1)
    torch.testing.assert_close(found, torch.tensor([0.02, 0.1]), rtol=0.15, atol=0.0)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_number_of_weights_is_known_without_torch(tmp_path, name):
    model, coder, settings = made(tmp_path, "image-vae", (9, 13, 3), latent=3, **SETTINGS[name])
    assert num_parameters(settings, coder) == count_parameters(model)


@pytest.mark.parametrize("name", SETTINGS)
def test_all_rows_are_computed_alike(tmp_path, name):
    model, coder, _ = made(tmp_path, "image-vae", (9, 13, 3), hidden=32, latent=3, **SETTINGS[name])
    assert rows_are_invariant(model, coder=coder, max_physical_batch=64)


@pytest.mark.parametrize("name", SETTINGS)
def test_closed_forms_agree_with_opacus(tmp_path, name):
    model, coder, _ = made(tmp_path, "image-vae", (8, 8, 1), hidden=16, latent=3, **SETTINGS[name])
    module = stirred(model).double()
    batch = {key: value.double() for key, value in batch_of(model, coder, 5).items()}
    fused = fused_sum(module, trainable(module), model.loss, Part(batch, 5), 0.5)
    expected = clipped_gradient_sum(module, model.loss, batch, max_grad_norm=0.5, engine="opacus")
    for key, value in expected.items():
        torch.testing.assert_close(fused[key], value, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_record_has_one_clip(tmp_path, name):
    model, coder, _ = made(tmp_path, "image-vae", (8, 8, 1), hidden=16, latent=3, **SETTINGS[name])
    module = stirred(model)
    for seed in range(5):
        assert influence(model, module, batch_of(model, coder, 1, seed)) <= 1.0 + 1e-6


def test_corruption_is_seen_by_the_encoder_alone(tmp_path):
    """What is decoded is compared with the record as it is: no corruption changes that."""
    model, coder, _ = made(tmp_path, "image-vae", (8, 8, 1), latent=3, corruption=0.5, masking=0.9)
    batch, module = batch_of(model, coder, 4), stirred(model)
    with torch.no_grad():
        corrupted = model.loss(module, batch)
        for layer in (module.mean, module.log_variance):
            layer.weight.zero_()
        blind = model.loss(module, batch)
        clean = model.loss(
            module, {k: v for k, v in batch.items() if k[:4] not in ("adde", "seen")}
        )
    torch.testing.assert_close(blind, clean)
    assert not torch.allclose(corrupted, blind)


def test_masking_hides_about_its_share_of_the_pixels_in_all_channels(tmp_path):
    model, coder, _ = made(tmp_path, "image-vae", (9, 13, 3), masking=0.3, views=2)
    batch = batch_of(model, coder, 200)
    for number in range(2):
        seen = batch[f"seen{number}"]
        assert seen.shape == (200, 1, 9, 13)
        assert float(seen.mean()) == pytest.approx(0.7, abs=0.02)
    assert not np.array_equal(batch["seen0"], batch["seen1"])
