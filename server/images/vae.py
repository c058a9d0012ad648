"""The coordinator's side of the VAE of images: rounds of gradients, then prior and decoder.

Where all sums over images were asked, encoder and decoder learn from images of the mixture that
these give before the first round, and the tones of what is drawn follow the noisy histograms of
values in any case. What rounds taught is published as far as their effective noise lets one trust
it; the published decoder and the prior of latents are moving averages.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.images.coder import PIXELS, ImageCoder
from fedloom.common.images.written import WrittenImages
from fedloom.common.models.draws import SeededDraws
from fedloom.common.models.image_model import CENTRE
from fedloom.common.models.image_settings import ImageVaeGradients, ImageVaeSettings
from fedloom.common.models.image_vae import ImageVae, ImageVaeModule
from fedloom.common.models.latent_prior import prior_arrays
from fedloom.common.models.private_model import read_weights
from fedloom.privacy.answers.opened_images import NoisyImages
from fedloom.privacy.phases import TrainingPhase
from fedloom.server.images.start import drawn_images, fitted, has_sums
from fedloom.server.images.trained import WEIGHTS, ImageNetLearner
from fedloom.server.learners.learner import State, section, with_prefix
from fedloom.server.learners.optimisers import moving_average

__all__ = ["ImageVaeLearner"]

_AVERAGE, _START = "average/", "start/"
_DECODER, _PRIOR, _FLOW = "decoder.", "prior.", "flow."
# Images that networks learn from before the first round.
_IMAGES, _BATCH, _RATE = 10_000, 128, 0.003

Arrays = dict[str, NDArray[Any]]


class ImageVaeLearner(ImageNetLearner):
    """Learns an `image-vae`; see `fedloom.server.learners.learner.Learner`."""

    def __init__(
        self,
        model: ImageVaeSettings,
        training: TrainingPhase,
        coder: ImageCoder,
        *,
        num_sites: int = 1,
    ) -> None:
        """Takes model and training of the plan, and how many sites' noises add up."""
        assert isinstance(training.settings, ImageVaeGradients)
        self._model, self._coder, self._rounds = ImageVae(model, coder), coder, training.settings
        super().__init__(self._model, training, self._rounds, num_sites)
        self._config = {
            "depth": model.depth,
            "detail": model.detail,
            "flow": model.flow,
            "hidden": model.hidden,
            "latent": model.latent,
        }

    def initialise(self, statistics: NoisyImages, seed: int) -> State:
        """Returns what the sums tell: tones, and a VAE of the mixture's images if there is one."""
        arrays, meta = self._look(statistics)
        module = self._model.private_module(seed % 2**31)
        if has_sums(statistics):
            self._pretrain(module, statistics, arrays[CENTRE], seed)
            arrays |= with_prefix(read_weights(module), _START)
        weights = read_weights(module)
        arrays |= {**with_prefix(weights, WEIGHTS), **with_prefix(weights, _AVERAGE)}
        return State(arrays=arrays, meta=meta)

    def update(
        self, state: State, aggregate: dict[str, NDArray[Any]], normaliser: float, seed: int
    ) -> State:
        """Takes one step of Adam along a gradient sum.

        Adam's steps are as long on noise as on a gradient, so they are the shorter the less a
        training's noise lets one trust it.
        """
        weights, kept, step = self._step(state, aggregate, pace=state.meta["trust"] ** 2)
        average = moving_average(
            section(state.arrays, _AVERAGE),
            weights,
            decay=self._rounds.average_decay,
            step=step,
        )
        kept |= {**with_prefix(weights, WEIGHTS), **with_prefix(average, _AVERAGE)}
        return State(arrays={**state.arrays, **kept}, meta={**state.meta, "step": step})

    def export(self, state: State) -> Artifact:
        """Returns prior and decoder, tones matched to the noisy histograms.

        What training has changed of weights that the sums gave is shrunk by the trust that its
        effective noise allows.
        """
        weights = section(state.arrays, _AVERAGE)
        trust, start = np.float32(state.meta["trust"]), section(state.arrays, _START)
        for name, first in start.items():
            weights[name] = first + trust * (weights[name] - first)
        net = with_prefix(section(weights, _DECODER), "net.")
        net |= with_prefix(section(weights, _FLOW), _FLOW)
        latent, classes = self._model.settings.latent, self._model.num_classes
        return self._published(
            state, {**net, **prior_arrays(section(weights, _PRIOR), latent, classes)}
        )

    def _artifact(self, arrays: Arrays) -> Artifact:
        return Artifact(kind="image-vae", config=dict(self._config), arrays=arrays)

    def _source(self, artifact: Artifact) -> WrittenImages:
        return WrittenImages(artifact, self._coder.shape)

    def _pretrain(
        self,
        module: ImageVaeModule,
        statistics: NoisyImages,
        centre: NDArray[np.float32],
        seed: int,
    ) -> None:
        """Trains encoder and decoder in place on images of the mixture."""
        images, classes = drawn_images(statistics, _IMAGES, seed)
        features = np.zeros(len(images), dtype=self._coder.record_type)
        features[PIXELS] = images
        draws, public = SeededDraws(seed), {CENTRE: centre}

        def loss(chosen: NDArray[np.int64], device: torch.device) -> torch.Tensor:
            batch = self._model.make_batch(features[chosen], classes[chosen], public, draws)
            there = {name: value.to(device) for name, value in batch.items()}
            return self._model.loss(module, there).mean()

        fitted(
            module,
            loss,
            rows=len(images),
            steps=self._model.settings.start_steps,
            batch=_BATCH,
            learning_rate=_RATE,
            seed=seed,
        )
