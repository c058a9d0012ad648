"""The critic of a GAN of images: the private module that sites train.

A record's loss is the hinge max(0, 1 - D(x, y)), averaged over its views. Fakes need no site: the
coordinator knows the generator, clips the critic's gradients on as many fakes as it likes in the
same way, and adds them to the noised sum as post-processing. So a request holds the critic alone.

The critic reads an image by convolutions and scores it by a direction of its class. It starts at
exactly zero: the first gradients are the differences of what real and fake images look like to
the convolutions, class by class.

Sources: Lim & Ye 2017 (arXiv:1705.02894) for the hinge; Miyato & Koyama 2018 (arXiv:1802.05637)
for a direction for each class; gradients of fakes outside the mechanism as in Xie et al. 2018
(arXiv:1802.06739).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.images.coder import PIXELS, ImageCoder
from fedloom.common.images.net_sizes import read_width
from fedloom.common.losses import per_record
from fedloom.common.models.decoder import class_rows, fresh_linear, padded
from fedloom.common.models.draws import Draws
from fedloom.common.models.image_networks import ImageReader
from fedloom.common.models.image_settings import ImageGanSettings
from fedloom.common.models.image_vae import pictures
from fedloom.common.models.image_views import views_of
from fedloom.common.models.private_model import Arrays, load_weights

__all__ = ["ImageCritic", "ImageGan"]


class ImageCritic(nn.Module):
    """Scores images (B, channels, height, width) of classes (B, C): (B,), high for records."""

    def __init__(self, coder: ImageCoder, rng: torch.Generator) -> None:
        """Draws the convolutions; the first scores are exactly zero."""
        super().__init__()
        self.num_classes = coder.encoding.num_classes
        width, out = padded(read_width(coder.shape)), padded(self.num_classes)
        self.reader = ImageReader(coder.shape, rng)
        self.score = fresh_linear(width, out, rng, weight_std=0.0)

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        """Returns the score of each image as one of its class."""
        scores: Tensor = self.score(self.reader(images))[:, : self.num_classes]
        return (scores * classes).sum(1)


class ImageGan:
    """The `image-gan` model; see `fedloom.common.models.private_model.PrivateModel`."""

    def __init__(self, settings: ImageGanSettings, coder: ImageCoder) -> None:
        """Takes the plan's model."""
        self.settings, self._coder = settings, coder
        self.num_classes = coder.encoding.num_classes
        self.public_shapes: dict[str, tuple[int, ...]] = {}

    def private_module(self, seed: int = 0) -> ImageCritic:
        """Returns the critic with initial weights."""
        return ImageCritic(self._coder, torch.Generator().manual_seed(seed))

    def request_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the critic's weights."""
        return {name: tuple(p.shape) for name, p in self.private_module().named_parameters()}

    def restore(self, arrays: Mapping[str, NDArray[np.float32]]) -> tuple[ImageCritic, Arrays]:
        """Returns the critic with a request's weights; there are no public arrays."""
        module = self.private_module()
        load_weights(module, arrays)
        return module, {}

    def make_batch(
        self,
        features: NDArray[Any],
        classes: NDArray[np.int64],
        public: Mapping[str, NDArray[np.float32]],
        draws: Draws,
    ) -> dict[str, Tensor]:
        """Returns the views of each image, and its class."""
        batch = {"classes": class_rows(classes, self.num_classes)}
        for number, view in enumerate(views_of(pictures(features[PIXELS]), self.settings, draws)):
            batch[f"view{number}"] = view
        return batch

    def loss(self, module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns each record's hinge loss, the average over its views, (B,)."""
        views = self.settings.views
        scores = [module(batch[f"view{number}"], batch["classes"]) for number in range(views)]
        losses = torch.stack([torch.relu(1.0 - score) for score in scores]).sum(0) / views
        return per_record(losses, len(batch["classes"]))
