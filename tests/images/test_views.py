"""What is done to the views of an image."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage

from fedloom.common.images.coder import PIXELS
from fedloom.common.models.draws import SeededDraws
from fedloom.common.models.image_model import pictures
from fedloom.common.models.image_settings import ImageVaeSettings
from fedloom.common.models.image_views import views_of
from tests.images.test_networks import made, records


def test_views_are_shifted_and_mirrored_copies(tmp_path):
    _, coder, settings = made(
        tmp_path, "image-vae", (8, 8, 1), views=4, shift=2, mirror=True, latent=2
    )
    images = pictures(records(coder, 300)[0][PIXELS])
    first, *others = views_of(images, settings, SeededDraws(3))
    assert torch.equal(first, images)
    shifts = set()
    for view in others:
        for one, of in zip(view, images, strict=True):
            shifts.add(the_shift(one, of))
    assert len(shifts) == 50 and None not in shifts  # 5 by 5, mirrored or not


def the_shift(view, image):
    for mirrored in (False, True):
        plain = view.flip(2) if mirrored else view
        for down in range(-2, 3):
            for along in range(-2, 3):
                wide = torch.nn.functional.pad(image, [2, 2, 2, 2])
                if torch.equal(wide[:, 2 + down : 10 + down, 2 + along : 10 + along], plain):
                    return mirrored, down, along
    return None


def test_views_are_turned_about_the_middle():
    """Against another program, away from edges: an image wider than high, one angle a record."""
    rows, columns = np.mgrid[0:24, 0:32]
    smooth = np.exp(-((rows - 10) ** 2 + (columns - 18) ** 2) / 12.0)
    images = torch.from_numpy(np.tile(smooth, (40, 1, 1, 1))).float()
    settings = ImageVaeSettings(views=2, rotation=30.0)
    _, turned = views_of(images, settings, SeededDraws(5))
    chance = SeededDraws(5).uniform(40, 4)[:, 3]
    for view, of in zip(turned[:, 0].numpy(), chance, strict=True):
        angle = (2.0 * float(of) - 1.0) * 30.0
        expected = ndimage.rotate(smooth, angle, reshape=False, order=1)
        np.testing.assert_allclose(view[4:-4, 4:-4], expected[4:-4, 4:-4], atol=0.01)
    assert not torch.allclose(turned[0], turned[1])


def test_views_are_noised_as_much_as_is_asked():
    images = torch.full((200, 1, 16, 16), 0.5)
    first, noised = views_of(images, ImageVaeSettings(views=2, noise=0.1), SeededDraws(5))
    assert torch.equal(first, images)
    off = (noised - images).flatten()
    assert abs(off.std().item() - 0.1) < 0.1 * 5.0 / math.sqrt(2.0 * len(off))
    assert (
        views_of(images + 0.5, ImageVaeSettings(views=2, noise=1.0), SeededDraws(5))[1].max() <= 1
    )


def test_a_record_has_the_same_views_whoever_else_is_there():
    """Else a record's gradient would tell of its neighbours."""
    settings = ImageVaeSettings(views=3, shift=2, rotation=20.0, noise=0.2, mirror=True)
    images = torch.rand(8, 3, 9, 13, generator=torch.Generator().manual_seed(1))
    draws = _Same()
    together = views_of(images, settings, draws)
    for number in range(8):
        alone = views_of(images[number : number + 1], settings, draws)
        for one, of in zip(alone, together, strict=True):
            assert torch.equal(one[0], of[number])


class _Same(SeededDraws):
    """Draws of which each record has the same: what is left is how views are made."""

    def __init__(self) -> None:
        super().__init__(0)

    def uniform(self, rows: int, width: int) -> torch.Tensor:
        return torch.linspace(0.1, 0.8, width).expand(rows, width)

    def normal(self, rows: int, width: int) -> torch.Tensor:
        return torch.linspace(-1.0, 1.0, width).expand(rows, width)
