"""The conditional tabular VAE: encoder and decoder trained as one private module.

The loss of a record is its negative ELBO given its class: cross entropies of all columns plus
`beta` times the KL divergence of its posterior from N(0, I). Only the decoder is published, and
latents are drawn from N(0, I), never by encoding records.

The encoder reads a record's deviation from its class's noisy marginals, through random
directions from the start. The first gradients of the decoder's output layer are then a random
sketch of the covariance of all cells, so that few noised steps carry far.

Sources: Kingma & Welling 2013 (arXiv:1312.6114); Sohn et al. 2015 (conditional form).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.encoding import Encoding
from fedloom.common.losses import block_cross_entropy, gaussian_kl
from fedloom.common.models.blocks import Blocks
from fedloom.common.models.decoder import DecoderNet, class_rows, fresh_linear, joined, padded
from fedloom.common.models.draws import Draws
from fedloom.common.models.private_model import PUBLIC, Arrays, load_weights
from fedloom.common.models.registry import VaeSettings

__all__ = ["TABLE", "TabularVae", "VaeModule"]

TABLE = PUBLIC + "table"
# Posteriors start narrower than the prior: a decoder that could not tell records apart would
# have nothing to learn.
_INITIAL_LOG_VARIANCE = -1.0
_LOG_VARIANCE_RANGE = (-6.0, 2.0)


class VaeModule(nn.Module):
    """Encoder and decoder; only the decoder outlives training."""

    def __init__(
        self, width: int, num_classes: int, hidden: int, latent: int, rng: torch.Generator
    ) -> None:
        """Draws initial weights."""
        super().__init__()
        self.latent = latent
        hidden, heads = padded(hidden), padded(latent)
        self.read = fresh_linear(padded(width + num_classes), hidden, rng, weight_std=1.0)
        self.norm = nn.LayerNorm(hidden)
        self.mean = fresh_linear(hidden, heads, rng, weight_std=hidden**-0.5)
        self.log_variance = fresh_linear(hidden, heads, rng, weight_std=0.1 * hidden**-0.5)
        nn.init.constant_(self.log_variance.bias, _INITIAL_LOG_VARIANCE)
        self.decoder = DecoderNet(latent, num_classes, hidden, width, rng)

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Returns posterior means and log variances (B, latent), and logits (B, D)."""
        hidden = self.read(joined(batch["deviation"], batch["classes"]))
        hidden = torch.tanh(self.norm(hidden))
        mean = self.mean(hidden)[:, : self.latent]
        log_variance = self.log_variance(hidden)[:, : self.latent].clamp(*_LOG_VARIANCE_RANGE)
        latent = mean + torch.exp(0.5 * log_variance) * batch["noise"]
        return mean, log_variance, batch["base"] + self.decoder(latent, batch["classes"])


class TabularVae:
    """The `vae` model; see `fedloom.common.models.private_model.PrivateModel`."""

    def __init__(self, settings: VaeSettings, encoding: Encoding) -> None:
        """Takes the plan's model."""
        self.hidden, self.latent, self.beta = settings.hidden, settings.latent, settings.beta
        self.blocks = Blocks.of(encoding)
        self.num_classes = encoding.num_classes

    @property
    def public_shapes(self) -> dict[str, tuple[int, ...]]:
        """The classes' log-marginals."""
        return {TABLE: (self.num_classes, self.blocks.width)}

    def private_module(self, seed: int = 0) -> VaeModule:
        """Returns encoder and decoder with initial weights."""
        rng = torch.Generator().manual_seed(seed)
        return VaeModule(self.blocks.width, self.num_classes, self.hidden, self.latent, rng)

    def request_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of all weights and of the table."""
        weights = {
            name: tuple(value.shape) for name, value in self.private_module().named_parameters()
        }
        return {**weights, **self.public_shapes}

    def restore(self, arrays: Mapping[str, NDArray[np.float32]]) -> tuple[VaeModule, Arrays]:
        """Returns the module with a request's weights, and the public arrays."""
        module = self.private_module()
        load_weights(module, arrays)
        return module, {name: np.asarray(arrays[name]) for name in self.public_shapes}

    def make_batch(
        self,
        features: NDArray[Any],
        classes: NDArray[np.int64],
        public: Mapping[str, NDArray[np.float32]],
        draws: Draws,
    ) -> dict[str, Tensor]:
        """Returns the records, their classes' marginals, and latent noise for each."""
        records = self.blocks.one_hot(features)
        base = torch.from_numpy(np.asarray(public[TABLE], dtype=np.float32))[
            torch.from_numpy(np.asarray(classes, dtype=np.int64))
        ]
        return {
            "records": records,
            "base": base,
            "deviation": self.blocks.deviation(records, base),
            "classes": class_rows(classes, self.num_classes),
            "noise": draws.normal(len(classes), self.latent),
        }

    def loss(self, module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns each record's negative ELBO, (B,)."""
        mean, log_variance, logits = module(batch)
        entropy = block_cross_entropy(logits, batch["records"], self.blocks.sizes)
        return entropy + self.beta * gaussian_kl(mean, log_variance)
