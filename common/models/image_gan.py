"""The critic of a GAN of images: the private module that sites train.

A record's loss is that of its score as one of its class, averaged over its views; `mismatch` adds
the mean loss of its scores as one of each other class, which are to be low, so that the critic
also tells classes apart. All of it is one loss of one record. Fakes need no site: the coordinator
knows the generator, clips the critic's gradients on as many fakes as it likes in the same way, and
adds them to the noised sum as post-processing. So a request holds the critic alone.

The critic scores what it reads of an image by a direction of its class. It starts at exactly zero:
the first gradients are the differences of what real and fake images look like, class by class.
With `loss = "moments"` what it reads is public and has no weights
(`fedloom.common.models.moments`), its scores are its losses, and it stays at zero at the sites: its
gradients do not depend on where it is.

With `growth` the critic sees the coarse frequencies of an image alone at first, and finer ones from
round to round, so that a record's clip is spent on what can be told first. Which ones is a public
array of a request.

Sources: Miyato & Koyama 2018 (arXiv:1802.05637) for a direction for each class; Reed et al. 2016
(arXiv:1605.05396) for records of another class; gradients of fakes outside the mechanism as in Xie
et al. 2018 (arXiv:1802.06739); growth after Karras et al. 2018 (arXiv:1710.10196).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.net_sizes import moments_width, moments_widths, read_width
from fedloom.common.losses import per_record
from fedloom.common.models.decoder import fresh_linear, padded
from fedloom.common.models.draws import Draws
from fedloom.common.models.image_model import ImageModel
from fedloom.common.models.image_networks import Frequencies, reader_of
from fedloom.common.models.image_settings import ImageGanSettings
from fedloom.common.models.moments import DIRECTIONS, EDGES, RADIUS, MomentReader
from fedloom.common.models.private_model import PUBLIC, Arrays
from fedloom.common.models.rivalry import critic_losses
from fedloom.common.vocabulary import Rivalry

__all__ = ["SHOWN", "ImageCritic", "ImageGan"]

SHOWN = PUBLIC + "shown"
"""What is left of each frequency, (padded count,) in [0, 1]; of a critic that grows."""


class ImageCritic(nn.Module):
    """Scores images less the centre, (B, channels, height, width): high for records."""

    def __init__(self, settings: ImageGanSettings, coder: ImageCoder, rng: torch.Generator) -> None:
        """Draws what reads images; the first scores are exactly zero."""
        super().__init__()
        self.num_classes = coder.encoding.num_classes
        self._frequencies = Frequencies(coder.shape, settings.detail)
        out = padded(self.num_classes)
        if settings.loss is Rivalry.MOMENTS:
            width = padded(moments_width(coder.shape, settings.detail))
            self.reader: nn.Module = MomentReader(coder.shape, settings.detail)
            # Without a bias: how many records a class has is known, and a clip would be shared.
            self.score = nn.Linear(width, out, bias=False)
            nn.init.zeros_(self.score.weight)
            return
        width = padded(read_width(settings, coder.shape))
        self.reader = reader_of(settings, coder.shape, rng, deep=True)
        self.score = fresh_linear(width, out, rng, weight_std=0.0)

    def scores(self, images: Tensor, shown: Tensor | None = None) -> Tensor:
        """Returns the score of each image as one of each class, (B, C).

        Args:
          images: (B, channels, height, width) less the centre.
          shown: what is left of each frequency; None: images as they are.
        """
        if shown is not None:
            images = self._frequencies.kept(images, shown)
        scores: Tensor = self.score(self.reader(images))[:, : self.num_classes]
        return scores

    def forward(self, images: Tensor, classes: Tensor, shown: Tensor | None = None) -> Tensor:
        """Returns the score of each image as one of its class."""
        return (self.scores(images, shown) * classes).sum(1)


class ImageGan(ImageModel[ImageCritic]):
    """The `image-gan` model; see `fedloom.common.models.private_model.PrivateModel`."""

    def __init__(self, settings: ImageGanSettings, coder: ImageCoder) -> None:
        """Takes the plan's model."""
        super().__init__(settings, coder)
        self.settings = settings
        if settings.growth:
            detail = min(settings.detail, coder.shape.num_values)
            self.public_shapes[SHOWN] = (padded(detail),)
        if settings.loss is Rivalry.MOMENTS:
            _, (edges, directions) = moments_widths(coder.shape, settings.detail)
            frame = {EDGES: (edges,), DIRECTIONS: (edges, directions), RADIUS: (1,)}
            self.public_shapes |= frame

    def private_module(self, seed: int = 0) -> ImageCritic:
        """Returns the critic with initial weights."""
        rng = torch.Generator().manual_seed(seed)
        return ImageCritic(self.settings, self._coder, rng)

    def restore(self, arrays: Mapping[str, NDArray[np.float32]]) -> tuple[ImageCritic, Arrays]:
        """Returns the critic with a request's weights, and the public arrays of a batch."""
        critic, public = super().restore(arrays)
        if isinstance(critic.reader, MomentReader):
            critic.reader.frame(arrays)
        return critic, public

    def make_batch(
        self,
        features: NDArray[Any],
        classes: NDArray[np.int64],
        public: Mapping[str, NDArray[np.float32]],
        draws: Draws,
    ) -> dict[str, Tensor]:
        """Returns views, classes, centre, and what is shown of them, once for each row."""
        batch = super().make_batch(features, classes, public, draws)
        if SHOWN in self.public_shapes:
            shown = torch.from_numpy(np.array(public[SHOWN], dtype=np.float32))
            batch["shown"] = shown.expand(len(classes), -1)
        return batch

    def loss(self, module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns each record's loss, the average over its views, (B,)."""
        views, classes = self.settings.views, batch["classes"]
        losses = [
            self._of_view(module, batch, batch[f"view{number}"] - batch["centre"])
            for number in range(views)
        ]
        return per_record(torch.stack(losses).sum(0) / views, len(classes))

    def _of_view(self, module: nn.Module, batch: Mapping[str, Tensor], images: Tensor) -> Tensor:
        assert isinstance(module, ImageCritic)
        classes, rivalry = batch["classes"], self.settings.loss
        scores = module.scores(images, batch.get("shown"))
        right = critic_losses(rivalry, (scores * classes).sum(1))
        wrong = (critic_losses(rivalry, -scores) * (1.0 - classes)).sum(1)
        return right + self.settings.mismatch / max(self.num_classes - 1, 1) * wrong
