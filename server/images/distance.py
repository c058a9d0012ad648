"""How far a generator of images is from what was measured: the run's curve of quality."""

from __future__ import annotations

import numpy as np

from fedloom.common.artifact import Artifact
from fedloom.common.images.coder import image_settings
from fedloom.common.images.look import TONES
from fedloom.common.images.sampler import image_source
from fedloom.privacy.answers.opened_images import NoisyImages
from fedloom.server.images.design import image_fit
from fedloom.server.images.tones import class_tones

__all__ = ["distance_to_noisy_tones"]

_IMAGES = 2000


def distance_to_noisy_tones(artifact: Artifact, statistics: NoisyImages) -> float:
    """Mean total variation of the values of drawn images from the noisy histograms, in [0, 1].

    Classes are weighted by their noisy counts, channels alike.
    """
    shape = image_settings(statistics.encoding.schema).shape
    fit = image_fit(statistics)
    tones = class_tones(fit.look, fit.counts)
    rng = np.random.default_rng(0)
    counts = np.maximum(statistics.class_counts(), 0.0)
    shares = counts / max(float(counts.sum()), 1e-9)
    generator, apart = image_source(artifact, shape), 0.0
    for label, share in enumerate(shares):
        size = round(_IMAGES * float(share))
        if not size:
            continue
        images = generator.draw(np.full(size, label), rng)
        for channel in range(shape.channels):
            drawn = np.bincount(
                images[..., channel].reshape(-1).astype(np.int64) * TONES // 256, minlength=TONES
            )
            distance = np.abs(drawn / drawn.sum() - tones[label, channel]).sum() / 2.0
            apart += float(share) * float(distance) / shape.channels
    return min(apart, 1.0)
