"""The conditional VAE of images: encoder and decoder trained as one private module.

The loss of a record is its negative ELBO given its class, averaged over its views: minus the log
likelihood of its values (`fedloom.common.models.image_likelihood`), plus `beta` times the KL
divergence of its posterior from the prior of its class, a Gaussian that is learned as well, bent by
a `flow` if the study says so. Prior and decoder are published, and latents are drawn from the
prior, never by encoding records.

Encoder and decoder read and write low frequencies, or the encoder reads by convolutions. With
`corruption` or `masking` the encoder sees each view with noise or without some pixels, and the
decoder learns to write it whole. What is added and hidden is drawn for each record on its own and
tells nothing of any; a record still has one loss, and one clip.

Sources: Kingma & Welling 2013 (arXiv:1312.6114); Sohn et al. 2015 (conditional form); Im et al.
2017 (arXiv:1511.06406, denoising).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.net_sizes import read_width
from fedloom.common.images.written import CONTRAST
from fedloom.common.models.decoder import fresh_linear, joined, padded
from fedloom.common.models.draws import Draws
from fedloom.common.models.image_likelihood import (
    LogisticWidths,
    bernoulli_loss,
    discretised_loss,
)
from fedloom.common.models.image_model import ImageModel
from fedloom.common.models.image_networks import DenseNet, Frequencies, reader_of
from fedloom.common.models.image_settings import ImageVaeSettings
from fedloom.common.models.latent_flow import LatentFlow
from fedloom.common.models.latent_prior import LatentPrior
from fedloom.common.vocabulary import Likelihood

__all__ = ["ImageVae", "ImageVaeModule"]

_INITIAL_LOG_VARIANCE = -1.0
_LOG_VARIANCE_RANGE = (-6.0, 2.0)
_FIRST_OUTPUT = 0.3


class ImageVaeModule(nn.Module):
    """Encoder, prior and decoder; the encoder does not outlive training."""

    def __init__(self, settings: ImageVaeSettings, coder: ImageCoder, rng: torch.Generator) -> None:
        """Draws initial weights."""
        super().__init__()
        classes = coder.encoding.num_classes
        self.latent = settings.latent
        read = read_width(settings, coder.shape)
        width, heads = padded(read + classes), padded(settings.latent)
        self.reader = reader_of(settings, coder.shape, rng, deep=False)
        self.mean = fresh_linear(width, heads, rng, weight_std=read**-0.5)
        self.log_variance = fresh_linear(width, heads, rng, weight_std=0.1 * read**-0.5)
        nn.init.constant_(self.log_variance.bias, _INITIAL_LOG_VARIANCE)
        self.prior = LatentPrior(settings.latent, classes)
        self.flow = LatentFlow(settings.latent, classes, settings.flow, rng)
        detail = min(settings.detail, coder.shape.num_values)
        self.decoder = DenseNet(
            settings.latent + classes,
            settings.hidden,
            detail,
            rng,
            last_std=_FIRST_OUTPUT,
            latent=settings.latent,
            classes=classes,
            depth=settings.depth,
        )
        self.widths = (
            LogisticWidths(coder.shape, classes)
            if settings.likelihood is Likelihood.DISCRETISED
            else None
        )

    def posterior(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Returns means and log variances, both (B, latent), of images less the centre."""
        read = joined(self.reader(images), classes)
        mean = self.mean(read)[:, : self.latent]
        return mean, self.log_variance(read)[:, : self.latent].clamp(*_LOG_VARIANCE_RANGE)

    def coordinates(self, latent: Tensor, classes: Tensor) -> Tensor:
        """Returns the padded coordinates of the logits of images."""
        written: Tensor = self.decoder(joined(latent, classes))
        return written


class ImageVae(ImageModel[ImageVaeModule]):
    """The `image-vae` model; see `fedloom.common.models.private_model.PrivateModel`."""

    def __init__(self, settings: ImageVaeSettings, coder: ImageCoder) -> None:
        """Takes the plan's model."""
        super().__init__(settings, coder)
        self.settings = settings
        self.frequencies = Frequencies(coder.shape, settings.detail)

    def private_module(self, seed: int = 0) -> ImageVaeModule:
        """Returns encoder and decoder with initial weights."""
        rng = torch.Generator().manual_seed(seed)
        return ImageVaeModule(self.settings, self._coder, rng)

    def make_batch(
        self,
        features: NDArray[Any],
        classes: NDArray[np.int64],
        public: Mapping[str, NDArray[np.float32]],
        draws: Draws,
    ) -> dict[str, Tensor]:
        """Returns what every model of images sees; for each view latent noise and corruption."""
        batch = super().make_batch(features, classes, public, draws)
        settings, rows = self.settings, len(classes)
        channels, height, width = batch["centre"].shape[1:]
        for number in range(settings.views):
            batch[f"noise{number}"] = draws.normal(rows, settings.latent)
            if settings.corruption > 0.0:
                added = draws.normal(rows, channels * height * width)
                added = added.reshape(rows, channels, height, width)
                batch[f"added{number}"] = settings.corruption * added
            if settings.masking > 0.0:
                chance = draws.uniform(rows, height * width).reshape(rows, 1, height, width)
                batch[f"seen{number}"] = (chance >= settings.masking).float()
        return batch

    def loss(self, module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns each record's negative ELBO, the average over its views, (B,)."""
        assert isinstance(module, ImageVaeModule)
        views = self.settings.views
        losses = [self._of_view(module, batch, str(number)) for number in range(views)]
        return torch.stack(losses).sum(0) / views

    def _of_view(self, module: ImageVaeModule, batch: Mapping[str, Tensor], number: str) -> Tensor:
        images, classes = batch["view" + number], batch["classes"]
        encoded = images - batch["centre"]
        if "added" + number in batch:
            encoded = encoded + batch["added" + number]
        if "seen" + number in batch:
            encoded = encoded * batch["seen" + number]
        mean, log_variance = module.posterior(encoded, classes)
        latent = mean + torch.exp(0.5 * log_variance) * batch["noise" + number]
        logits = CONTRAST * self.frequencies.images(module.coordinates(latent, classes))
        truth = images.permute(0, 2, 3, 1).flatten(1)
        if module.widths is None:
            loss = bernoulli_loss(logits, truth)
        else:
            loss = discretised_loss(logits, truth, module.widths(classes))
        divergence = module.prior.divergence(mean, log_variance, classes)
        if self.settings.flow:
            whitened = module.prior.whitened(latent, classes)
            divergence = divergence + module.flow.added(whitened, classes)
        return loss + self.settings.beta * divergence
