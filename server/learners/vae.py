"""The coordinator's side of the VAE: rounds of weights or of gradients, then the decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.models.base import count_parameters, load_weights, read_weights
from fedloom.common.models.effective_noise import effective_noise, trust_in_training
from fedloom.common.models.vae import TABLE, TabularVae
from fedloom.common.statistics import NoisyStatistics
from fedloom.server.learners.base import State, section, with_prefix
from fedloom.server.learners.calibration import matched_table
from fedloom.server.learners.marginals import class_prior, log_marginals
from fedloom.server.learners.optimisers import adam, falling_rate, moving_average

__all__ = ["VaeLearner"]

_WEIGHTS, _AVERAGE, _MOMENTS = "weights/", "average/", "moments/"
_DECODER = "decoder."


class VaeLearner:
    """Learns a `vae`; see `fedloom.server.learners.base.Learner`."""

    def __init__(
        self,
        model: Mapping[str, Any],
        training: Mapping[str, Any],
        encoding: Encoding,
        *,
        num_sites: int = 1,
    ) -> None:
        """Takes the plan's settings of model and training."""
        self._model = TabularVae(model, encoding)
        self._config = {"hidden": self._model.hidden, "latent": self._model.latent}
        self._training = dict(training)
        self._num_sites = num_sites

    def start(self, statistics: NoisyStatistics, seed: int) -> State:
        """Returns the product of the noisy marginals, with an untrained network beside it."""
        noise = effective_noise(
            self._training,
            num_parameters=count_parameters(self._model),
            records=statistics.total(),
            num_sites=self._num_sites,
        )
        weights = read_weights(self._model.private_module(seed))
        arrays: dict[str, NDArray[Any]] = {
            TABLE: log_marginals(statistics).astype(np.float32),
            "class_prior": class_prior(statistics),
            **with_prefix(weights, _WEIGHTS),
        }
        if self._training["exchange"] == "gradients":
            arrays |= with_prefix(weights, _AVERAGE)
        return State(arrays=arrays, meta={"step": 0, "trust": trust_in_training(noise)})

    def request_arrays(self, state: State) -> dict[str, NDArray[np.float32]]:
        """Returns encoder, decoder, and the classes' marginals."""
        return {**section(state.arrays, _WEIGHTS), TABLE: state.arrays[TABLE]}

    def answer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of encoder and decoder."""
        shapes = self._model.request_shapes()
        return {name: shapes[name] for name in shapes if name not in self._model.public_shapes}

    def absorb(
        self, state: State, aggregate: dict[str, NDArray[Any]], normaliser: float, seed: int
    ) -> State:
        """Takes averaged weights as they are, or one step of Adam along a gradient sum."""
        step = int(state.meta["step"]) + 1
        meta = {**state.meta, "step": step}
        kept = {name: state.arrays[name] for name in (TABLE, "class_prior")}
        if self._training["exchange"] == "weights":
            averaged = {name: value.astype(np.float32) for name, value in aggregate.items()}
            return State(arrays={**kept, **with_prefix(averaged, _WEIGHTS)}, meta=meta)
        weights, moments = adam(
            section(state.arrays, _WEIGHTS),
            aggregate,
            section(state.arrays, _MOMENTS),
            learning_rate=falling_rate(
                self._training["server_learning_rate"], step, self._training["num_rounds"]
            ),
            step=step,
        )
        average = moving_average(
            section(state.arrays, _AVERAGE),
            weights,
            decay=self._training["average_decay"],
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

    def publish(self, state: State) -> Artifact:
        """Returns the decoder, its marginals matched to the noisy ones.

        The network is shrunk by the trust that the training's effective noise allows, so that a
        drowned training leaves the product of marginals that it began with.
        """
        gradients = self._training["exchange"] == "gradients"
        weights = section(state.arrays, (_AVERAGE if gradients else _WEIGHTS) + _DECODER)
        for name in ("outer.weight", "outer.bias"):
            weights[name] = weights[name] * np.float32(state.meta["trust"])
        net = self._model.private_module().decoder
        load_weights(net, weights)
        marginals = torch.from_numpy(np.array(state.arrays[TABLE]))
        arrays: dict[str, NDArray[Any]] = {
            "table": matched_table(net, marginals, self._model.blocks).numpy(),
            "class_prior": state.arrays["class_prior"],
            **with_prefix(read_weights(net), "net."),
        }
        return Artifact(kind="vae", config=dict(self._config), arrays=arrays)
