"""A critic that is linear in moments: what it reads, what a record adds, what fakes lose to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.errors import StudyError
from fedloom.common.images.oriented import copies, kept_places, oriented_taps
from fedloom.common.images.shape import ImageShape
from fedloom.common.models.image_model import CENTRE
from fedloom.common.models.moments import DIRECTIONS, EDGES, RADIUS, MomentReader, Reading
from fedloom.common.models.orientations import Orientations
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


@given(
    shape=st.sampled_from(SHAPES),
    light=st.sampled_from([0.0, 1e-3, 0.5, 1.0]),
    radius=st.sampled_from([0.0, 1e-3, 1.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_no_image_has_features_beyond_the_clip(shape, light, radius, seed):
    """Whatever an image holds, and whatever edges are read about."""
    reader = framed(shape, radius, seed)
    rng = torch.Generator().manual_seed(seed)
    images = light * (torch.rand(3, *centre_of(shape).shape, generator=rng) - 0.5)
    images[0] = light
    assert (reader(images).norm(dim=1) <= 1.0 + 1e-6).all()


def centre_of(shape):
    return np.full((shape[2], *shape[:2]), 0.5, dtype=np.float32)


def framed(shape, radius, seed=0):
    """A reader with a frame of orthogonal directions, the first along the mean of edges."""
    height, width, channels = shape
    reader = MomentReader(ImageShape(height=height, width=width, channels=channels), 100)
    count, directions = reader.widths[1]
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(count, 1))
    along = np.concatenate([mean, rng.normal(size=(count, directions - 1))], axis=1)
    frame = {EDGES: mean[:, 0], DIRECTIONS: np.linalg.qr(along)[0], RADIUS: np.array([radius])}
    reader.frame({CENTRE: centre_of(shape), **frame})
    return reader


def furthest(shape):
    """An image as far from the centre and from the mean of edges as is read."""
    return torch.from_numpy(centre_of(shape))[None]


@pytest.mark.parametrize("shape", SHAPES)
def test_some_image_spends_nearly_the_whole_clip(shape):
    assert framed(shape, 1e-3)(furthest(shape)).norm() > 0.8


def test_a_reader_that_bounds_nothing_is_caught(monkeypatch):
    """The twin: without the bound features are longer than the clip, and fakes' with them."""
    reader = framed((8, 8, 1), 0.1)
    monkeypatch.setattr(torch.Tensor, "clamp", lambda self, **limits: torch.ones_like(self))
    assert reader(furthest((8, 8, 1))).norm() > 1.5


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 13, 3), (28, 30, 1)])
def test_edges_are_what_loops_over_pixels_find(shape):
    """The oracle: whole numbers of bytes, added and parted one by one, exactly."""
    height, width, channels = shape
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (channels, height, width))
    sizes = ImageShape(height=height, width=width, channels=channels)
    found = Orientations(sizes).of(torch.from_numpy(image / 255.0)[None].float())[0].numpy()
    taps = oriented_taps()
    assert not taps.sum(axis=(1, 2)).any()
    expected = []
    for number, (high, wide, step, places) in enumerate(copies(sizes)):
        part = 2**number
        seen = image[:, : part * high, : part * wide].reshape(channels, high, part, wide, part)
        told = [pooled_edges(own, taps, step, places) for own in seen.sum(axis=(2, 4))]
        for down, right in kept_places(places):
            for of_channel in told:
                for pooled, tap in zip(of_channel, [*taps, *taps], strict=True):
                    value = sum(
                        pooled[y, x] * wave(y, down, places[0]) * wave(x, right, places[1])
                        for y in range(places[0])
                        for x in range(places[1])
                    )
                    area = part**2 * (4 * step**2 if step > 1 else 1) * 255.0
                    length = np.sqrt((tap**2).sum() * places[0] * places[1])
                    expected.append(value / area / length)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def wave(place, frequency, places):
    whole = np.cos(np.pi * frequency * (place + 0.5) / places)
    return whole * np.sqrt((1.0 if frequency == 0 else 2.0) / places)


def pooled_edges(image, taps, step, places):
    """Sums of positive, then of negative answers of each filter over windows of two steps."""
    height, width = image.shape
    around = np.pad(image, 2)
    answers = np.zeros((len(taps), height, width), dtype=np.int64)
    for y, x in np.ndindex(height, width):
        answers[:, y, x] = (taps * around[y : y + 5, x : x + 5]).sum(axis=(1, 2))
    parted = np.concatenate([np.maximum(answers, 0), np.maximum(-answers, 0)])
    if step == 1:
        return parted
    rim = step // 2
    found = np.zeros((len(parted), *places), dtype=np.int64)
    for y, x in np.ndindex(*places):
        rows = slice(max(y * step - rim, 0), y * step - rim + 2 * step)
        cols = slice(max(x * step - rim, 0), x * step - rim + 2 * step)
        found[:, y, x] = parted[:, rows, cols].sum(axis=(1, 2))
    return found


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


def test_directions_of_a_request_that_rows_are_seen_along_in_other_orders_are_caught(
    tmp_path, monkeypatch
):
    """Along fresh directions, one number each, no order of summation would show."""
    model, coder, _ = moments_gan(tmp_path)
    honest = MomentReader.readings

    def in_other_orders(self, images):
        shades, edges = honest(self, images)
        again = edges.values.flip(1) @ self._directions.flip(0)
        odd = torch.arange(len(images))[:, None] % 2 == 1
        return [shades, Reading(edges.values, torch.where(odd, again, edges.leading))]

    monkeypatch.setattr(MomentReader, "readings", in_other_orders)
    assert not rows_are_invariant(model, coder=coder, max_physical_batch=64)


@pytest.mark.parametrize("more", ['reading = "convolutions"\n', "mismatch = 0.5\n"])
def test_settings_of_a_critic_that_learns_to_read_are_refused(tmp_path, more):
    key, value = more.strip().split(" = ")
    with pytest.raises(StudyError):
        moments_gan(tmp_path, **{key: value.strip('"') if '"' in value else float(value)})


def reader_and_images(count, seed=0):
    reader = MomentReader(ImageShape(height=8, width=8, channels=1), 40)
    rng = torch.Generator().manual_seed(seed)
    return reader, 0.2 * torch.randn(2, count, 1, 8, 8, generator=rng)


def test_mean_features_are_taken_apart_into_means_and_second_moments():
    reader, images = reader_and_images(30)
    told = torch.stack([reader(own).mean(0) for own in images])
    shares = torch.tensor([0.25, 0.75])
    moments = noisy_moments(reader, told * shares[:, None], shares, 1e-4)
    for label, own in enumerate(images):
        for reading, found in zip(reader.readings(own), moments, strict=True):
            values, leading = reading.values.double(), reading.leading.double()
            np.testing.assert_allclose(found.means[label], values.mean(0), atol=1e-5)
            expected = leading.T @ leading / len(own)
            np.testing.assert_allclose(found.products[label], expected, atol=1e-5)


def test_noise_in_features_becomes_the_noise_that_moments_are_said_to_have():
    reader, _ = reader_and_images(1)
    shares, std, width = torch.tensor([0.25, 0.75]), 0.01, sum(told_widths(reader))
    rng = torch.Generator().manual_seed(0)
    draws = []
    for _ in range(400):
        told = std * torch.randn(2, width, generator=rng)
        draws.append(noisy_moments(reader, told, shares, std**2))
    for number, said in enumerate(draws[0]):
        means = torch.stack([draw[number].means for draw in draws]).square().mean((0, 2))
        np.testing.assert_allclose(means, said.mean_noise[:, 0], rtol=0.1)
        found = torch.stack([draw[number].products for draw in draws]).square().mean(0)
        for part in (torch.diagonal, lambda seen, **_: seen[:, 0, 1:]):
            ratio = part(found, dim1=1, dim2=2) / part(said.product_noise, dim1=1, dim2=2)
            np.testing.assert_allclose(ratio.mean(1), 1.0, rtol=0.1)


def told_widths(reader):
    return [count + leading * (leading + 1) // 2 for count, leading in reader.widths]


def moments_of(images, reader) -> list[Moments]:
    told = torch.stack([reader(own).mean(0) for own in images])
    return noisy_moments(reader, told, torch.ones(2), 0.0)


def test_fakes_like_the_records_lose_nearly_nothing_though_they_are_few():
    reader, records = reader_and_images(20_000)
    moments = moments_of(records, reader)
    rows, losses, of_means = 50, [], []
    for seed in range(1, 101):
        _, fakes = reader_and_images(rows, seed)
        losses.append(matching_loss(reader, fakes, moments).item())
        few = reader.readings(fakes.flatten(0, 1))[0].values.reshape(2, rows, -1)
        spread = few.var(1).mean(0)
        of_means.append(((few.mean(1) - moments[0].means).square() / spread).sum().item())
    # All squares of differences, and there are some thousands, would be about 1 / rows.
    features = 2 * sum(count + leading**2 for count, leading in reader.widths)
    assert abs(np.mean(losses)) < 0.15 * features / rows
    # The twin: squares without the sampling error of few fakes taken off.
    assert np.mean(of_means) > 0.5 * 2 * reader.widths[0][0] / rows


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
