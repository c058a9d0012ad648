"""What the noisy sums over images give a network before its first round; free, as post-processing.

With all sums there is a whole generator, the mixture of `image-mixture`, and networks learn from
images drawn of it. With a look alone there are tones and the coarse mean of each class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.images.bends import BENDS
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.generator import ImageGenerator
from fedloom.common.images.look import COARSE
from fedloom.common.images.tone import CURVE, tone_curve
from fedloom.common.images.vectors import FRAME_WIDTH
from fedloom.privacy.answers.opened_images import NoisyImages
from fedloom.server.images.design import image_fit
from fedloom.server.images.learner import columns_of, mixture_arrays
from fedloom.server.images.tones import class_tones
from fedloom.server.learners.class_marginals import class_prior
from fedloom.server.learners.devices import fitting

__all__ = [
    "centre_of",
    "coarse_arrays",
    "drawn_images",
    "fitted",
    "has_sums",
    "look_arrays",
    "matched_tones",
]

Array = NDArray[Any]
Arrays = dict[str, Array]

_TONED = 4000


def has_sums(statistics: NoisyImages) -> bool:
    """Tells whether all sums over images were asked, or a look alone."""
    return len(statistics.images) > 1


def look_arrays(statistics: NoisyImages) -> Arrays:
    """Returns what every generator of images publishes, and the tones that it shall have.

    Returns:
      `class_prior` (C,), `probabilities` (C, D) of the columns, `tones` (C, channels, TONES).
    """
    fit = image_fit(statistics)
    arrays = {
        "class_prior": class_prior(statistics),
        "probabilities": columns_of(statistics),
        "tones": class_tones(fit.look, fit.counts),
    }
    return {name: value.astype(np.float32) for name, value in arrays.items()}


def coarse_means(statistics: NoisyImages) -> Array:
    """Returns the coarse mean of each class, as a look tells it, (C, height, width, channels)."""
    fit = image_fit(statistics)
    coarse = Coordinates(fit.shape, COARSE)
    shown = fit.look.views[0] / fit.counts[:, None]
    means: Array = np.clip(0.5 + coarse.images(shown[:, : coarse.count]), 0.0, 1.0)
    return means


def centre_of(statistics: NoisyImages) -> Array:
    """Returns the coarse mean of all images, (channels, height, width) float32."""
    prior = class_prior(statistics)
    mean = np.tensordot(prior / prior.sum(), coarse_means(statistics), axes=1)
    centre: Array = np.ascontiguousarray(mean.transpose(2, 0, 1)).astype(np.float32)
    return centre


def coarse_arrays(statistics: NoisyImages) -> Arrays:
    """Returns a mixture whose every image is the coarse mean of its class."""
    fit, images = image_fit(statistics), coarse_means(statistics)
    fine = fit.coordinates
    classes = len(images)
    means = np.zeros((classes, fine.count + FRAME_WIDTH))
    means[:, : fine.count] = fine.of(images)
    levels = np.linspace(0.0, 1.0, CURVE + 1)
    curves = np.broadcast_to(levels, (classes, fit.shape.channels, CURVE + 1))
    arrays = {
        "class_prior": class_prior(statistics),
        "means": means,
        "grain": np.zeros(fine.count),
        "basis": np.zeros((means.shape[1], 1)),
        "weights": np.ones((classes, 1)),
        "centres": np.zeros((classes, 1, 1)),
        "roots": np.zeros((classes, 1, 1, 1)),
        "bends": np.zeros(BENDS),
        "framed": np.zeros(1),
        "tone_places": curves,
        "tone_values": curves,
    }
    return {name: value.astype(np.float32) for name, value in arrays.items()}


def drawn_images(statistics: NoisyImages, count: int, seed: int) -> tuple[Array, Array]:
    """Draws images from the mixture that all sums give.

    Returns:
      (count, height, width, channels) uint8 and their classes (count,).
    """
    arrays = mixture_arrays(statistics, seed)
    rng, prior = np.random.default_rng(seed), class_prior(statistics)
    classes = rng.choice(len(prior), size=count, p=prior / prior.sum())
    return ImageGenerator(image_fit(statistics).shape, arrays).draw(classes, rng), classes


def matched_tones(draw: Callable[[Array, np.random.Generator], Array], arrays: Arrays) -> Arrays:
    """Returns the curves that give drawn images the noisy histograms of values.

    Args:
      draw: draws images of classes (N,), (N, height, width, channels), real.
      arrays: with `tones` and `class_prior`.

    Returns:
      `tone_places` and `tone_values`.
    """
    tones, prior = arrays["tones"], arrays["class_prior"]
    sizes = np.maximum(np.rint(prior / prior.sum() * _TONED), 1).astype(int)
    classes = np.repeat(np.arange(len(sizes)), sizes)
    drawn = draw(classes, np.random.default_rng(0))
    shape = (*tones.shape[:2], CURVE + 1)
    places, values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for label, channel in np.ndindex(*tones.shape[:2]):
        own = drawn[classes == label][..., channel].reshape(-1)
        places[label, channel], values[label, channel] = tone_curve(own, tones[label, channel])
    return {"tone_places": places, "tone_values": values}


def fitted(
    modules: nn.Module,
    loss: Callable[[Array, torch.device], Tensor],
    *,
    rows: int,
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
) -> None:
    """Trains modules in place on public rows, by Adam with a falling rate.

    Args:
      modules: whose weights learn.
      loss: mean loss of chosen rows (batch,), on a device.
      rows: how many there are.
      steps: of Adam.
      batch: rows of a step.
      learning_rate: at first; it falls to nothing.
      seed: of what is chosen.
    """
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.Adam(modules.parameters(), lr=learning_rate, betas=(0.9, 0.99))
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0 - step / steps)
    with fitting(modules) as device:
        for _ in range(steps):
            optimiser.zero_grad()
            loss(rng.integers(0, rows, batch), device).backward()
            optimiser.step()
            falling.step()
