"""A critic that is linear in moments: what it reads, what a record adds, what fakes lose to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedloom.common.errors import StudyError
from fedloom.common.models.image_model import CENTRE
from fedloom.common.models.moments import MomentReader
from fedloom.common.models.private_model import count_parameters
from fedloom.common.models.registry import num_parameters
from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.clipping.row_invariance import rows_are_invariant
from fedloom.server.images.matching import Moments, matching_loss, noisy_moments
from tests.images.test_networks import batch_of, made, stirred

SHAPES = [(8, 8, 1), (28, 28, 1), (9, 13, 3)]


def moments_gan(tmp_path, shape=(8, 8, 1), **more):
    return made(tmp_path, "image-gan", shape, loss="moments", detail=100, **more)


def gradients(model, module, batch, clip=1.0):
    told = clipped_gradient_sum(module, model.loss, batch, max_grad_norm=clip, dtype=torch.float64)
    return told["score.weight"]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_image_has_features_beyond_the_clip(tmp_path, shape):
    model, _, _ = moments_gan(tmp_path, shape)
    reader = model.private_module().reader
    height, width, channels = shape
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(50, channels, height, width, generator=rng) * 2.0 - 1.0
    images[0], images[1], images[2] = 1.0, -1.0, 0.0
    images[3] *= 1e-3
    lengths = reader(images).norm(dim=1)
    assert (lengths <= 1.0 + 1e-6).all() and lengths[0] > 0.99 and lengths[2] == 0.0


def test_a_reader_that_bounds_nothing_is_caught(tmp_path, monkeypatch):
    """The twin: without the bound a white image is longer than the clip, and fakes with it."""
    model, _, _ = moments_gan(tmp_path)
    reader = model.private_module().reader
    monkeypatch.setattr(torch.Tensor, "clamp", lambda self, **limits: torch.ones_like(self))
    assert reader(torch.ones(1, 1, 8, 8)).norm() > 1.5


def test_a_record_adds_its_features_whatever_the_weights_are(tmp_path):
    model, coder, _ = moments_gan(tmp_path)
    batch = batch_of(model, coder, 6)
    with torch.no_grad():
        features = model.private_module().reader(batch["view0"] - batch["centre"]).double()
    expected = -batch["classes"].double().T @ features
    for module in (model.private_module(), stirred(model)):
        told = gradients(model, module, batch)
        classes = len(expected)
        torch.testing.assert_close(told[:classes], expected, rtol=1e-5, atol=1e-6)
        assert not told[classes:].any()


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_are_counted_and_rows_are_alike(tmp_path, shape):
    model, coder, settings = moments_gan(tmp_path, shape, views=2, shift=1)
    assert num_parameters(settings, coder) == count_parameters(model)
    assert rows_are_invariant(model, coder=coder, max_physical_batch=64)


@pytest.mark.parametrize("more", ['reading = "convolutions"\n', "mismatch = 0.5\n"])
def test_settings_of_a_critic_that_learns_to_read_are_refused(tmp_path, more):
    key, value = more.strip().split(" = ")
    with pytest.raises(StudyError):
        moments_gan(tmp_path, **{key: value.strip('"') if '"' in value else float(value)})


def reader_and_images(count, seed=0):
    from fedloom.common.images.shape import ImageShape

    reader = MomentReader(ImageShape(height=8, width=8, channels=1), 40)
    rng = torch.Generator().manual_seed(seed)
    return reader, 0.2 * torch.randn(2, count, 1, 8, 8, generator=rng)


def test_mean_features_are_taken_apart_into_means_and_second_moments():
    reader, images = reader_and_images(30)
    told = torch.stack([reader(own).mean(0) for own in images])
    shares = torch.tensor([0.25, 0.75])
    moments = noisy_moments(reader, told * shares[:, None], shares, 1e-4)
    for label, own in enumerate(images):
        read = reader.coordinates(own).double().numpy()
        np.testing.assert_allclose(moments.means[label], read.mean(0), atol=1e-5)
        low = read[:, : reader.products]
        np.testing.assert_allclose(moments.products[label], low.T @ low / len(low), atol=1e-5)
    np.testing.assert_allclose(moments.variances[:, 0], [1e-4 / 0.25**2, 1e-4 / 0.75**2], rtol=1e-5)


def moments_of(images, reader) -> Moments:
    told = torch.stack([reader(own).mean(0) for own in images])
    return noisy_moments(reader, told, torch.ones(2), 0.0)


def test_fakes_like_the_records_lose_nearly_nothing_though_they_are_few():
    reader, records = reader_and_images(20_000)
    moments = moments_of(records, reader)
    rows, losses, of_means = 50, [], []
    for seed in range(1, 101):
        _, fakes = reader_and_images(rows, seed)
        losses.append(matching_loss(reader, fakes, moments).item())
        few = reader.coordinates(fakes.flatten(0, 1)).reshape(2, rows, -1)
        spread = few.var(1).mean(0)
        of_means.append(((few.mean(1) - moments.means).square() / spread).sum().item())
    # All squares of differences, and there are some 1,700, would be about 1 / rows.
    features = 2 * (reader.count + reader.products**2)
    assert abs(np.mean(losses)) < 0.15 * features / rows
    # The twin: squares without the sampling error of few fakes taken off.
    assert np.mean(of_means) > 0.5 * 2 * reader.count / rows


def test_fakes_that_follow_the_loss_come_to_look_like_records():
    reader, images = reader_and_images(4000)
    slope = torch.linspace(-0.3, 0.3, 8)[None, None, None, None, :]
    records = images * torch.tensor([0.5, 1.5])[:, None, None, None, None] + slope
    moments = moments_of(records, reader)
    size, offset = torch.ones(2, requires_grad=True), torch.zeros(8, requires_grad=True)
    optimiser = torch.optim.Adam([size, offset], lr=0.02)
    for seed in range(1, 301):
        _, plain = reader_and_images(100, seed)
        optimiser.zero_grad()
        fakes = plain * size[:, None, None, None, None] + offset
        matching_loss(reader, fakes, moments).backward()
        optimiser.step()
    np.testing.assert_allclose(size.detach(), [0.5, 1.5], atol=0.1)
    np.testing.assert_allclose(offset.detach(), slope.flatten(), atol=0.05)


def test_a_centre_is_seen(tmp_path):
    model, coder, _ = moments_gan(tmp_path)
    batch, module = batch_of(model, coder, 2), model.private_module()
    moved = {**batch, "centre": batch["centre"] + 0.2}
    assert not torch.allclose(gradients(model, module, batch), gradients(model, module, moved))
    assert CENTRE in model.request_shapes()
