"""Heads on fakes: what they can tell, and what a generator that loses by them does."""

from __future__ import annotations

import pytest
import torch

from fedloom.common.errors import StudyError
from fedloom.common.images.shape import ImageShape
from fedloom.common.models.image_networks import Frequencies
from fedloom.common.models.registry import read_model
from fedloom.server.images.fakes import Drawn
from fedloom.server.images.heads import FakeHeads

SHAPE = ImageShape(height=8, width=8, channels=1)
CLASSES, LATENT, ROWS = 3, 4, 128


def heads_of(**weights):
    settings = read_model({"kind": "image-gan", "latent": LATENT, "codes": 2, **weights}, where="t")
    return FakeHeads(settings, SHAPE, CLASSES, torch.Generator().manual_seed(0))


def played(heads, steps=150):
    """A generator that is linear in class and latent plays with the heads; what it has learned.

    Returns how far classes lie apart, and how much codes and the rest of the latent are shown.
    """
    rng = torch.Generator().manual_seed(1)
    weights = 0.02 * torch.randn(CLASSES + LATENT, 64, generator=rng)
    weights.requires_grad_(True)
    frequencies = Frequencies(SHAPE, 64)
    optimiser = torch.optim.Adam([weights, *heads.parameters()], lr=0.01)
    for _ in range(steps):
        rows = torch.eye(CLASSES)[torch.randint(CLASSES, (ROWS,), generator=rng)]
        latents = torch.randn(ROWS, LATENT, generator=rng)
        seen = torch.tanh(torch.cat([rows, latents], dim=1) @ weights)
        images = 0.3 * frequencies.images(seen).reshape(ROWS, 1, 8, 8)
        optimiser.zero_grad()
        heads.loss(Drawn(images=images, classes=rows, latents=latents)).backward()
        optimiser.step()
    learned = weights.detach()
    apart = learned[:CLASSES] - learned[:CLASSES].mean(0)
    return apart.norm(), learned[CLASSES : CLASSES + 2].norm(), learned[CLASSES + 2 :].norm()


def test_a_generator_shows_what_heads_ask_for_and_nothing_else():
    start = 0.02 * 64**0.5
    classes, codes, _ = played(heads_of(class_weight=1.0))
    assert classes > 6 * start and codes < 4 * start
    _, codes, rest = played(heads_of(code_weight=1.0))
    assert codes > 3 * start and codes > 2 * rest


def test_fresh_heads_tell_nothing():
    heads = heads_of(class_weight=2.0, code_weight=4.0)
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(50, 1, 8, 8, generator=rng) - 0.5
    rows = torch.eye(CLASSES)[torch.arange(50) % CLASSES]
    latents = torch.randn(50, LATENT, generator=rng)
    found = heads.loss(Drawn(images=images, classes=rows, latents=latents))
    codes = 0.5 * latents[:, :2].square().sum(1).mean()
    torch.testing.assert_close(found, 2.0 * torch.tensor(3.0).log() + 4.0 * codes)


def test_codes_that_nobody_asked_for_need_no_latent():
    rng = torch.Generator().manual_seed(0)
    images, rows = torch.rand(9, 1, 8, 8, generator=rng), torch.eye(CLASSES).repeat(3, 1)
    drawn = Drawn(images=images, classes=rows, latents=torch.randn(9, LATENT, generator=rng))
    lost = heads_of(codes=LATENT + 1, class_weight=1.0).loss(drawn)
    torch.testing.assert_close(lost, torch.tensor(3.0).log())


def test_codes_beyond_the_latent_are_refused():
    for codes in (1, LATENT):
        heads_of(codes=codes, code_weight=1.0)
    with pytest.raises(StudyError):
        heads_of(codes=LATENT + 1, code_weight=1.0)
