"""The conditional tabular GAN: the critic is the private module, the generator is public.

The critic's loss on a record is paired: softplus(-D(x, y)) + softplus(D(fake, y)), the fake
drawn at the site from the round's fixed generator with the record's own label. One clip covers
the pair. The generator sees no record: the server trains it on the noised critic
(`fedloom.server.learners.gan`), free of charge.

The critic scores quadratic features: D(x, y) = sum_k a_k (u_k . d)^2 / 2 + c, with d the
record's deviation from its class's marginals. Directions u_k come in pairs with opposite a_k,
so that the critic starts at exactly zero and yet every direction has a gradient: the difference
of the covariances of records and fakes along it. Marginals need no critic, the table has them.

Sources: Goodfellow et al. 2014 (arXiv:1406.2661); the paired loss under one clip keeps the
sensitivity of one record, where separate fakes would double it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.losses import paired_critic_loss
from fedloom.common.models.blocks import Blocks
from fedloom.common.models.decoder import (
    DecoderNet,
    class_rows,
    fresh_linear,
    joined,
    padded,
    sample_codes,
)
from fedloom.common.models.draws import Draws
from fedloom.common.models.private_model import PUBLIC, Arrays, load_weights
from fedloom.common.models.registry import GanSettings

__all__ = ["GENERATOR", "MARGINALS", "Critic", "TabularGan"]

MARGINALS = PUBLIC + "marginals"
GENERATOR = PUBLIC + "generator/"
_BIAS_STD = 0.3


class Critic(nn.Module):
    """Scores deviations (B, D) with classes (B, C): (B,), high for records."""

    def __init__(self, width: int, num_classes: int, hidden: int, rng: torch.Generator) -> None:
        """Draws initial weights in pairs; the first scores are exactly zero."""
        super().__init__()
        hidden = padded(hidden)
        self.directions = fresh_linear(
            padded(width + num_classes), hidden, rng, weight_std=1.0, bias_std=_BIAS_STD
        )
        self.score = fresh_linear(hidden, padded(1), rng, weight_std=1.0)
        half = hidden // 2
        with torch.no_grad():
            self.directions.weight[half:] = self.directions.weight[:half]
            self.directions.bias[half:] = self.directions.bias[:half]
            self.score.weight[:, :half] = 1.0
            self.score.weight[:, half:] = -1.0
            self.score.bias.zero_()

    def forward(self, deviation: Tensor, classes: Tensor) -> Tensor:
        """Returns log-odds of being a record."""
        along = self.directions(joined(deviation, classes))
        scores: Tensor = self.score(0.5 * along.square())[:, 0]
        return scores


class TabularGan:
    """The `gan` model; see `fedloom.common.models.private_model.PrivateModel`."""

    def __init__(self, settings: GanSettings, encoding: Encoding) -> None:
        """Takes the plan's model.

        Raises:
          StudyError: the critic's width is odd.
        """
        self.hidden, self.latent = settings.hidden, settings.latent
        self.critic_hidden = settings.critic_hidden
        if self.critic_hidden % 2:
            raise StudyError("[model] critic_hidden must be even: directions come in pairs")
        self.blocks = Blocks.of(encoding)
        self.num_classes = encoding.num_classes

    @property
    def public_shapes(self) -> dict[str, tuple[int, ...]]:
        """The classes' log-marginals, and the generator."""
        table = (self.num_classes, self.blocks.width)
        shapes: dict[str, tuple[int, ...]] = {MARGINALS: table, GENERATOR + "table": table}
        for name, value in self.generator_net().named_parameters():
            shapes[f"{GENERATOR}net.{name}"] = tuple(value.shape)
        return shapes

    def generator_net(self, seed: int = 0) -> DecoderNet:
        """Returns the generator's network with initial weights."""
        rng = torch.Generator().manual_seed(seed)
        return DecoderNet(self.latent, self.num_classes, self.hidden, self.blocks.width, rng)

    def private_module(self, seed: int = 0) -> Critic:
        """Returns the critic with initial weights."""
        rng = torch.Generator().manual_seed(seed)
        return Critic(self.blocks.width, self.num_classes, self.critic_hidden, rng)

    def request_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the critic's weights and of the public arrays."""
        weights = {
            name: tuple(value.shape) for name, value in self.private_module().named_parameters()
        }
        return {**weights, **self.public_shapes}

    def restore(self, arrays: Mapping[str, NDArray[np.float32]]) -> tuple[Critic, Arrays]:
        """Returns the critic with a request's weights, and the public arrays."""
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
        """Returns each record and one fresh fake of its class, as deviations."""
        labels = torch.from_numpy(np.asarray(classes, dtype=np.int64))
        base = torch.from_numpy(np.asarray(public[MARGINALS], dtype=np.float32))[labels]
        fakes = sample_codes(
            {
                name.removeprefix(GENERATOR): value
                for name, value in public.items()
                if name.startswith(GENERATOR)
            },
            {"hidden": self.hidden, "latent": self.latent},
            self.blocks,
            classes,
            draws,
        )
        return {
            "real": self.blocks.deviation(self.blocks.one_hot(features), base),
            "fake": self.blocks.deviation(self.blocks.one_hot(fakes), base),
            "classes": class_rows(classes, self.num_classes),
        }

    def loss(self, module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns the critic's paired loss of each record, (B,)."""
        return paired_critic_loss(
            module(batch["real"], batch["classes"]), module(batch["fake"], batch["classes"])
        )
