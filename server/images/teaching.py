"""What a reader of images learns before the first round: the classes of the mixture's images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.models.image_model import pictures
from fedloom.privacy.answers.opened_images import NoisyImages
from fedloom.server.images.start import drawn_images, fitted

__all__ = ["teach_classes"]

_IMAGES, _OF_STEP, _RATE = 10_000, 128, 0.003


def teach_classes(
    reader: nn.Module,
    head: nn.Linear,
    statistics: NoisyImages,
    centre: NDArray[Any],
    *,
    steps: int,
    seed: int,
) -> None:
    """Trains a reader and a head in place to tell the classes of images that all sums give.

    Post-processing: images are drawn, no record is seen.

    Args:
      reader: of images less their centre.
      head: from what it says to logits of classes.
      statistics: all sums over images.
      centre: (channels, height, width).
      steps: of Adam.
      seed: of images and steps.
    """
    images, classes = drawn_images(statistics, _IMAGES, seed)
    seen = pictures(images) - torch.from_numpy(np.array(centre))
    labels = torch.from_numpy(classes)

    def loss(chosen: NDArray[np.int64], device: torch.device) -> Tensor:
        logits = head(reader(seen[chosen].to(device)))
        return nn.functional.cross_entropy(logits, labels[chosen].to(device))

    fitted(
        nn.ModuleList([reader, head]),
        loss,
        rows=len(images),
        steps=steps,
        batch=_OF_STEP,
        learning_rate=_RATE,
        seed=seed,
    )
