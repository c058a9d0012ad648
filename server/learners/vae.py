"""The coordinator's side of the VAE: rounds of weights or of gradients, then the decoder.

Where the statistics phase has measured pairs, the decoder is fitted to them before the first
round, the encoder learns to read what the decoder writes, and after every round of gradients the
decoder takes a few steps back towards the pairs. Rounds then refine a generator that is good
already, and what they taught is published as far as their effective noise lets one trust it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.models.decoder import DecoderNet
from fedloom.common.models.effective_noise import effective_noise, trust_in_training
from fedloom.common.models.private_model import count_parameters, load_weights, read_weights
from fedloom.common.models.registry import VaeGradients, VaeSettings
from fedloom.common.models.vae import TABLE, TabularVae
from fedloom.privacy.phases import TrainingPhase
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.learner import State, section, with_prefix
from fedloom.server.learners.marginal_calibration import matched_table
from fedloom.server.learners.optimisers import adam, falling_rate, moving_average
from fedloom.server.learners.recognition import teach_encoder
from fedloom.server.learners.statistics_start import (
    PAIRS,
    pair_arrays,
    pretrain_on_pairs,
    refit_to_pairs,
)

__all__ = ["VaeLearner"]

_WEIGHTS, _AVERAGE, _MOMENTS, _START = "weights/", "average/", "moments/", "start/"
_MARGINALS = "log_marginals"
_DECODER = "decoder."

Arrays = dict[str, NDArray[Any]]


class VaeLearner:
    """Learns a `vae`; see `fedloom.server.learners.learner.Learner`."""

    def __init__(
        self,
        model: VaeSettings,
        training: TrainingPhase,
        encoding: Encoding,
        *,
        num_sites: int = 1,
    ) -> None:
        """Takes model and training of the plan, and how many sites' noises add up."""
        self._model = TabularVae(model, encoding)
        self._config = {"hidden": model.hidden, "latent": model.latent}
        self._phase, self._rounds = training, training.settings
        self._num_sites = num_sites

    def initialise(self, statistics: NoisyMarginals, seed: int) -> State:
        """Returns what the statistics tell: noisy marginals, and pairs where they were measured."""
        noise = effective_noise(
            self._rounds,
            self._phase.noise_multiplier,
            num_parameters=count_parameters(self._model),
            records=statistics.total(),
            num_sites=self._num_sites,
        )
        marginals, prior = log_marginals(statistics).astype(np.float32), class_prior(statistics)
        arrays: Arrays = {_MARGINALS: marginals, TABLE: marginals, "class_prior": prior}
        arrays |= pair_arrays(statistics)
        module = self._model.private_module(seed)
        if statistics.has_pairs:
            pretrain_on_pairs(module.decoder, arrays, self._model.blocks, seed)
            table = self._table(module.decoder, marginals)
            teach_encoder(self._model, module, table, prior, seed=seed)
            arrays[TABLE] = table.numpy()
            arrays |= with_prefix(read_weights(module.decoder), _START)
        weights = read_weights(module)
        arrays |= with_prefix(weights, _WEIGHTS)
        if isinstance(self._rounds, VaeGradients):
            arrays |= with_prefix(weights, _AVERAGE)
        return State(arrays=arrays, meta={"step": 0, "trust": trust_in_training(noise)})

    def request_arrays(self, state: State) -> dict[str, NDArray[np.float32]]:
        """Returns encoder, decoder, and the classes' marginals."""
        return {**section(state.arrays, _WEIGHTS), TABLE: state.arrays[TABLE]}

    def answer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of encoder and decoder."""
        shapes = self._model.request_shapes()
        return {name: shapes[name] for name in shapes if name not in self._model.public_shapes}

    def update(
        self, state: State, aggregate: dict[str, NDArray[Any]], normaliser: float, seed: int
    ) -> State:
        """Takes averaged weights as they are, or one step of Adam along a gradient sum."""
        step = int(state.meta["step"]) + 1
        meta = {**state.meta, "step": step}
        moving = (_WEIGHTS, _AVERAGE, _MOMENTS)
        kept = {name: state.arrays[name] for name in state.arrays if not name.startswith(moving)}
        if not isinstance(self._rounds, VaeGradients):
            averaged = {name: value.astype(np.float32) for name, value in aggregate.items()}
            return State(arrays={**kept, **with_prefix(averaged, _WEIGHTS)}, meta=meta)
        weights, moments = adam(
            section(state.arrays, _WEIGHTS),
            aggregate,
            section(state.arrays, _MOMENTS),
            learning_rate=falling_rate(
                self._rounds.server_learning_rate, step, self._rounds.num_rounds
            ),
            step=step,
        )
        weights |= self._kept_at_pairs(weights, kept, seed)
        average = moving_average(
            section(state.arrays, _AVERAGE),
            weights,
            decay=self._rounds.average_decay,
            step=step,
        )
        return State(
            arrays={
                **kept,
                **with_prefix(weights, _WEIGHTS),
                **with_prefix(moments, _MOMENTS),
                **with_prefix(average, _AVERAGE),
            },
            meta=meta,
        )

    def export(self, state: State) -> Artifact:
        """Returns the decoder, its marginals matched to the noisy ones.

        What training has changed is shrunk by the trust that its effective noise allows, so that
        a drowned training leaves the generator that the statistics gave.
        """
        gradients = isinstance(self._rounds, VaeGradients)
        weights = section(state.arrays, (_AVERAGE if gradients else _WEIGHTS) + _DECODER)
        trust, start = np.float32(state.meta["trust"]), section(state.arrays, _START)
        for name in start or ("outer.weight", "outer.bias"):
            first = start.get(name, np.float32(0.0))
            weights[name] = first + trust * (weights[name] - first)
        net = self._model.private_module().decoder
        load_weights(net, weights)
        arrays: Arrays = {
            "table": self._table(net, state.arrays[_MARGINALS]).numpy(),
            "class_prior": state.arrays["class_prior"],
            **with_prefix(read_weights(net), "net."),
        }
        return Artifact(kind="vae", config=dict(self._config), arrays=arrays)

    def _table(self, net: DecoderNet, log_marginals: NDArray[np.float32]) -> Tensor:
        """Returns the table with which a decoder has the noisy marginals."""
        return matched_table(net, torch.from_numpy(np.array(log_marginals)), self._model.blocks)

    def _kept_at_pairs(self, weights: Arrays, arrays: Arrays, seed: int) -> Arrays:
        """Returns the decoder's weights after a few steps towards the pairs; none without them."""
        if PAIRS + "targets" not in arrays:
            return {}
        net = self._model.private_module().decoder
        load_weights(net, section(weights, _DECODER))
        table = torch.from_numpy(np.array(arrays[TABLE]))
        refit_to_pairs(net, table, arrays, self._model.blocks, seed)
        return with_prefix(read_weights(net), _DECODER)
