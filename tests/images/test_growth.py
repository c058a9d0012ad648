"""A critic that sees coarse frequencies first: the schedule, the records' clips, unseen weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedloom.common.errors import StudyError
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.shape import ImageShape
from fedloom.common.models.image_gan import SHOWN
from fedloom.common.models.image_networks import Frequencies
from fedloom.common.models.private_model import count_parameters
from fedloom.common.models.registry import num_parameters
from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.clipping.row_invariance import rows_are_invariant
from fedloom.server.images.growth import shown_count, shown_frequencies
from tests.images.test_networks import batch_of, influence, made, stirred

SHAPE = ImageShape(height=9, width=13, channels=3)


def grown(tmp_path, **more):
    return made(tmp_path, "image-gan", (9, 13, 3), detail=100, growth=0.5, **more)


def shown_batch(model, coder, count, share, seed=0):
    batch = batch_of(model, coder, count, seed)
    shown = torch.from_numpy(shown_frequencies(SHAPE, 100, share))
    return {**batch, "shown": shown.expand(count, -1)}


def test_frequencies_come_from_coarse_to_fine_until_all_are_seen():
    frequency = Coordinates(SHAPE, 100).frequency
    before = np.zeros(112)
    for share in (0.0, 0.3, 0.7, 1.0, 2.0):
        shown = shown_frequencies(SHAPE, 100, share)
        seen = shown[:100] == 1.0
        assert seen.sum() == shown_count(100, share) and not shown[100:].any()
        assert (shown >= before).all()
        if not seen.all():
            assert frequency[seen].max() <= frequency[~seen].min()
        before = shown
    assert before.sum() == 100 and shown_count(1, 0.0) == 1


def test_an_image_keeps_the_frequencies_that_are_shown_and_no_other():
    frequencies = Frequencies(SHAPE, 100)
    shown = torch.from_numpy(shown_frequencies(SHAPE, 100, 0.4))
    images = torch.rand(4, 3, 9, 13, generator=torch.Generator().manual_seed(0))
    kept = frequencies.kept(images, shown)
    assert kept.shape == images.shape
    # The basis is orthonormal to 2^-14, by which its cosines are rounded.
    told = frequencies.of(images) * shown
    torch.testing.assert_close(frequencies.of(kept), told, rtol=1e-3, atol=5e-3)
    torch.testing.assert_close(frequencies.kept(kept, shown), kept, rtol=1e-3, atol=5e-3)


def test_a_record_moves_weights_of_what_is_shown_alone_within_one_clip(tmp_path):
    model, coder, _ = grown(tmp_path, views=2, shift=1)
    module, batch = stirred(model), shown_batch(model, coder, 1, 0.0)
    assert influence(model, module, batch) <= 1.0 + 1e-6
    told = clipped_gradient_sum(module, model.loss, batch, max_grad_norm=1e3)
    moved = told["reader.inner.weight"].abs().amax(0)
    unseen = batch["shown"][0] == 0.0
    assert moved[unseen].max() < 1e-3 * moved.max()
    # The twin: of a round that sees all, finer weights are moved too.
    told = clipped_gradient_sum(
        module, model.loss, shown_batch(model, coder, 1, 1.0), max_grad_norm=1e3
    )
    moved = told["reader.inner.weight"].abs().amax(0)[:100]
    assert moved[unseen[:100]].max() > 1e-2 * moved.max()


@pytest.mark.parametrize("reading", ["frequencies", "convolutions"])
def test_fine_detail_is_not_seen_before_it_is_shown(tmp_path, reading):
    model, coder, _ = grown(tmp_path, reading=reading, loss="wasserstein")
    frequencies = Frequencies(SHAPE, 100)
    rng = torch.Generator().manual_seed(3)
    for share, seen in ((0.0, False), (1.0, True)):
        batch = shown_batch(model, coder, 2, share)
        hidden = 1.0 - torch.from_numpy(shown_frequencies(SHAPE, 100, 0.0))
        detail = frequencies.kept(torch.rand(2, 3, 9, 13, generator=rng), hidden)
        changed = {**batch, "view0": batch["view0"] + detail}
        module = stirred(model)
        alike = torch.allclose(model.loss(module, changed), model.loss(module, batch), atol=1e-2)
        assert alike is not seen


def test_what_is_shown_is_public_and_no_weight(tmp_path):
    model, coder, settings = grown(tmp_path)
    plain, _, _ = made(tmp_path, "image-gan", (9, 13, 3), detail=100)
    assert model.request_shapes()[SHOWN] == (112,) and SHOWN not in plain.request_shapes()
    assert num_parameters(settings, coder) == count_parameters(model) == count_parameters(plain)
    assert rows_are_invariant(model, coder=coder, max_physical_batch=64)


def test_a_critic_of_moments_does_not_grow(tmp_path):
    with pytest.raises(StudyError):
        grown(tmp_path, loss="moments")
