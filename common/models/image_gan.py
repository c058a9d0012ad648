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

Sources: Miyato & Koyama 2018 (arXiv:1802.05637) for a direction for each class; Reed et al. 2016
(arXiv:1605.05396) for records of another class; gradients of fakes outside the mechanism as in Xie
et al. 2018 (arXiv:1802.06739).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.net_sizes import moments_width, read_width
from fedloom.common.losses import per_record
from fedloom.common.models.decoder import fresh_linear, padded
from fedloom.common.models.image_model import ImageModel
from fedloom.common.models.image_networks import reader_of
from fedloom.common.models.image_settings import ImageGanSettings
from fedloom.common.models.moments import MomentReader
from fedloom.common.models.rivalry import critic_losses
from fedloom.common.vocabulary import Rivalry

__all__ = ["ImageCritic", "ImageGan"]


class ImageCritic(nn.Module):
    """Scores images less the centre, (B, channels, height, width): high for records."""

    def __init__(self, settings: ImageGanSettings, coder: ImageCoder, rng: torch.Generator) -> None:
        """Draws what reads images; the first scores are exactly zero."""
        super().__init__()
        self.num_classes = coder.encoding.num_classes
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

    def scores(self, images: Tensor) -> Tensor:
        """Returns the score of each image as one of each class, (B, C)."""
        scores: Tensor = self.score(self.reader(images))[:, : self.num_classes]
        return scores

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        """Returns the score of each image as one of its class."""
        return (self.scores(images) * classes).sum(1)


class ImageGan(ImageModel[ImageCritic]):
    """The `image-gan` model; see `fedloom.common.models.private_model.PrivateModel`."""

    def __init__(self, settings: ImageGanSettings, coder: ImageCoder) -> None:
        """Takes the plan's model."""
        super().__init__(settings, coder)
        self.settings = settings

    def private_module(self, seed: int = 0) -> ImageCritic:
        """Returns the critic with initial weights."""
        rng = torch.Generator().manual_seed(seed)
        return ImageCritic(self.settings, self._coder, rng)

    def loss(self, module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns each record's loss, the average over its views, (B,)."""
        views, classes = self.settings.views, batch["classes"]
        losses = [
            self._of_view(module, batch[f"view{number}"] - batch["centre"], classes)
            for number in range(views)
        ]
        return per_record(torch.stack(losses).sum(0) / views, len(classes))

    def _of_view(self, module: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
        assert isinstance(module, ImageCritic)
        scores, rivalry = module.scores(images), self.settings.loss
        right = critic_losses(rivalry, (scores * classes).sum(1))
        wrong = (critic_losses(rivalry, -scores) * (1.0 - classes)).sum(1)
        return right + self.settings.mismatch / max(self.num_classes - 1, 1) * wrong
