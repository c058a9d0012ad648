"""The critic of images: its losses, what tells classes apart, and the centre that it sees about."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedloom.common.errors import StudyError
from fedloom.common.models.image_model import CENTRE
from fedloom.common.models.image_networks import DenseNet
from fedloom.common.models.private_model import count_parameters
from fedloom.common.models.rivalry import critic_losses, generator_losses
from fedloom.common.vocabulary import Rivalry
from fedloom.privacy.clipping import clipped_gradient_sum
from tests.images.test_networks import batch_of, influence, made, stirred

SCORES = torch.linspace(-3.0, 3.0, 13, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(
    ("rivalry", "expected"),
    [
        (Rivalry.HINGE, lambda s: np.maximum(0.0, 1.0 - s)),
        (Rivalry.LOGISTIC, lambda s: np.log1p(np.exp(-s))),
        (Rivalry.WASSERSTEIN, lambda s: -s),
    ],
)
def test_losses_are_what_their_papers_write(rivalry, expected):
    found = critic_losses(rivalry, SCORES)
    np.testing.assert_allclose(found.detach(), expected(SCORES.detach().numpy()), atol=1e-12)
    told = generator_losses(rivalry, SCORES)
    slope = torch.autograd.grad(told.sum(), SCORES)[0]
    assert (slope < 0.0).all()  # a generator wants every score higher


@pytest.mark.parametrize(
    ("rivalry", "mismatch"),
    [(one, more) for one in Rivalry for more in (0.0, 0.5) if not (more and one == "moments")],
)
def test_a_record_has_one_clip_whatever_the_loss(tmp_path, rivalry, mismatch):
    model, coder, _ = made(
        tmp_path, "image-gan", (8, 8, 1), loss=str(rivalry), mismatch=mismatch, views=2, shift=1
    )
    module = stirred(model)
    for seed in range(5):
        assert influence(model, module, batch_of(model, coder, 1, seed)) <= 1.0 + 1e-6


def test_mismatch_teaches_a_critic_which_class_an_image_is_of(tmp_path):
    """Without it one step along the gradients leaves the scores of other classes at zero or up."""
    apart = {}
    for mismatch in (0.0, 1.0):
        model, coder, _ = made(tmp_path, "image-gan", (8, 8, 1), mismatch=mismatch)
        module, batch = model.private_module(), batch_of(model, coder, 1)
        told = clipped_gradient_sum(module, model.loss, batch, max_grad_norm=1.0)
        with torch.no_grad():
            for name, weight in module.named_parameters():
                weight -= 0.1 * told[name].float() if name in told else 0.0
            scores = module.scores(batch["view0"] - batch["centre"])[0]
        right = batch["classes"][0] > 0
        assert scores[right].item() > 0.0
        apart[mismatch] = scores[~right]
    assert (apart[0.0] >= 0.0).all() and (apart[1.0] < 0.0).all()


@pytest.mark.parametrize("loss", ["moments", "wasserstein"])
def test_a_critic_whose_scores_do_not_part_at_zero_cannot_be_certain(tmp_path, loss):
    made(tmp_path, "image-gan", (8, 8, 1), loss="logistic", certainty=0.7)
    with pytest.raises(StudyError):
        made(tmp_path, "image-gan", (8, 8, 1), loss=loss, certainty=0.7)


@pytest.mark.parametrize("reading", ["frequencies", "convolutions"])
def test_critics_see_an_image_about_the_centre_alone(tmp_path, reading):
    model, coder, _ = made(tmp_path, "image-gan", (9, 13, 3), reading=reading)
    batch, module = batch_of(model, coder, 4), stirred(model)
    moved = dict(batch)
    for name in ("view0", "centre"):
        moved[name] = batch[name] + 0.5
    torch.testing.assert_close(model.loss(module, moved), model.loss(module, batch))
    moved["centre"] = batch["centre"]
    assert not torch.allclose(model.loss(module, moved), model.loss(module, batch))


@pytest.mark.parametrize("kind", ["image-vae", "image-gan"])
def test_the_centre_is_public_and_no_weight(tmp_path, kind):
    model, _, _ = made(tmp_path, kind, (9, 13, 3))
    assert model.request_shapes()[CENTRE] == (3, 9, 13)
    assert CENTRE not in model.weight_shapes()
    weights = sum(p.numel() for p in model.private_module().parameters())
    assert count_parameters(model) == weights


@pytest.mark.parametrize("beside", [0, 256])
def test_a_fresh_network_shows_the_class_as_much_as_the_latent(beside):
    """However many other numbers it sees: else all classes come out alike and stay so for long."""
    latent, classes, rows = 16, 10, 64
    rng = torch.Generator().manual_seed(0)
    inputs = beside + latent + classes
    net = DenseNet(inputs, 128, 64, rng, last_std=1.0, latent=latent, classes=classes)
    draws = torch.randn(rows, latent, generator=rng)
    seen = torch.zeros(classes, rows, -(-inputs // 16) * 16)
    seen[:, :, beside : beside + latent] = draws
    for label in range(classes):
        seen[label, :, beside + latent + label] = 1.0
    with torch.no_grad():
        written = net(seen.reshape(classes * rows, -1)).reshape(classes, rows, -1)
    of_class = written.mean(1).var(0).sum()
    of_latent = written.mean(0).var(0).sum()
    assert 0.5 < of_class / of_latent < 4.0
