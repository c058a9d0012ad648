"""The coordinator's side of the GAN: noised critics from the sites, the generator's own steps.

Exchange "weights": sites train the critic for a round, the critics are averaged, the generator
takes its steps. Exchange "gradients": every round is one step of the critic, and the generator
takes its steps after every `critic_steps` rounds. Published is the generator's moving average.

Each turn of the generator takes in what the critic told, so the next turn begins with a fresh,
undecided critic, which learns what is left. A critic that went on would tell the same again
until it has unlearned it, which it cannot do fast under noise, and the generator would overshoot.

Where the statistics phase has measured pairs, the generator is fitted to them before the first
round, and every turn ends with a few steps back towards them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.models.decoder import DecoderNet
from fedloom.common.models.effective_noise import effective_noise, trust_in_training
from fedloom.common.models.gan import GENERATOR, MARGINALS, TabularGan
from fedloom.common.models.private_model import count_parameters, load_weights, read_weights
from fedloom.common.models.registry import GanGradients, GanSettings, GanWeights
from fedloom.privacy.phases import TrainingPhase
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.generator_fit import fit_generator
from fedloom.server.learners.learner import State, section, with_prefix
from fedloom.server.learners.marginal_calibration import matched_table
from fedloom.server.learners.optimisers import adam, falling_rate, moving_average
from fedloom.server.learners.statistics_start import pair_arrays, pretrain_on_pairs, refit_to_pairs

__all__ = ["GanLearner"]

_WEIGHTS, _AVERAGE, _MOMENTS = "weights/", "average/", "moments/"
_NET = GENERATOR + "net."

Arrays = dict[str, NDArray[Any]]


class GanLearner:
    """Learns a `gan`; see `fedloom.server.learners.learner.Learner`."""

    def __init__(
        self,
        model: GanSettings,
        training: TrainingPhase,
        encoding: Encoding,
        *,
        num_sites: int = 1,
    ) -> None:
        """Takes model and training of the plan, and how many sites' noises add up."""
        settings = training.settings
        if not isinstance(settings, GanWeights | GanGradients):
            raise StudyError('kind = "gan" needs the training rounds of a gan')
        self._model = TabularGan(model, encoding)
        self._config = {"hidden": model.hidden, "latent": model.latent}
        self._phase, self._rounds = training, settings
        self._num_sites = num_sites

    def initialise(self, statistics: NoisyMarginals, seed: int) -> State:
        """Returns a generator that shows what the statistics tell, and an undecided critic."""
        noise = effective_noise(
            self._rounds,
            self._phase.noise_multiplier,
            num_parameters=count_parameters(self._model),
            records=statistics.total(),
            num_sites=self._num_sites,
        )
        net, pairs = self._model.generator_net(seed), pair_arrays(statistics)
        pretrain_on_pairs(net, pairs, self._model.blocks, seed)
        arrays: Arrays = {
            **pairs,
            MARGINALS: log_marginals(statistics).astype(np.float32),
            "class_prior": class_prior(statistics),
            **with_prefix(read_weights(self._model.private_module(seed)), _WEIGHTS),
            **with_prefix(read_weights(net), _AVERAGE),
        }
        arrays |= self._generator(net, arrays[MARGINALS])
        meta = {"step": 0, "generator_phases": 0, "trust": trust_in_training(noise)}
        return State(arrays=arrays, meta=meta)

    def request_arrays(self, state: State) -> dict[str, NDArray[np.float32]]:
        """Returns the critic, and the generator that it is to be trained against."""
        public = {name: state.arrays[name] for name in self._model.public_shapes}
        return {**section(state.arrays, _WEIGHTS), **public}

    def answer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the critic."""
        shapes = self._model.request_shapes()
        return {name: shapes[name] for name in shapes if name not in self._model.public_shapes}

    def update(
        self, state: State, aggregate: dict[str, NDArray[Any]], normaliser: float, seed: int
    ) -> State:
        """Moves the critic, and the generator when it is its turn."""
        step = int(state.meta["step"]) + 1
        arrays, meta = dict(state.arrays), {**state.meta, "step": step}
        if isinstance(self._rounds, GanWeights):
            critic: Arrays = {name: value.astype(np.float32) for name, value in aggregate.items()}
            turn = True
        else:
            critic_steps = self._rounds.critic_steps
            of_turn = (step - 1) % critic_steps + 1
            critic, moments = adam(
                section(state.arrays, _WEIGHTS),
                aggregate,
                section(state.arrays, _MOMENTS),
                learning_rate=falling_rate(
                    self._rounds.server_learning_rate, of_turn, critic_steps
                ),
                step=of_turn,
            )
            arrays |= with_prefix(moments, _MOMENTS)
            turn = of_turn == critic_steps
        arrays |= with_prefix(critic, _WEIGHTS)
        if turn:
            self._generator_phase(arrays, meta, seed)
            arrays = {name: arrays[name] for name in arrays if not name.startswith(_MOMENTS)}
            arrays |= with_prefix(read_weights(self._model.private_module(seed)), _WEIGHTS)
        return State(arrays=arrays, meta=meta)

    def export(self, state: State) -> Artifact:
        """Returns the averaged generator, its marginals matched to the noisy ones."""
        net = self._model.generator_net()
        load_weights(net, section(state.arrays, _AVERAGE))
        published = section(self._generator(net, state.arrays[MARGINALS]), GENERATOR)
        arrays = {**published, "class_prior": state.arrays["class_prior"]}
        return Artifact(kind="gan", config=dict(self._config), arrays=arrays)

    def _generator_phase(self, arrays: Arrays, meta: dict[str, Any], seed: int) -> None:
        """Lets the generator catch up with the critic; writes into `arrays` and `meta`."""
        model = self._model
        critic = model.private_module()
        load_weights(critic, section(arrays, _WEIGHTS))
        net = model.generator_net()
        load_weights(net, section(arrays, _NET))
        effective = fit_generator(
            net,
            torch.from_numpy(np.array(arrays[GENERATOR + "table"])),
            critic,
            torch.from_numpy(np.array(arrays[MARGINALS])),
            arrays["class_prior"],
            model.blocks,
            steps=self._rounds.generator_steps,
            learning_rate=self._rounds.generator_learning_rate,
            trust=float(meta["trust"]),
            seed=seed,
        )
        table = torch.from_numpy(np.array(arrays[GENERATOR + "table"]))
        refit_to_pairs(net, table, arrays, model.blocks, seed)
        phase = int(meta["generator_phases"]) + 1
        average = moving_average(
            section(arrays, _AVERAGE),
            read_weights(net),
            decay=self._rounds.generator_decay,
            step=phase,
        )
        arrays |= with_prefix(average, _AVERAGE)
        arrays |= self._generator(net, arrays[MARGINALS])
        meta["generator_phases"] = phase
        meta["report"] = {"critic_undecided": effective}

    def _generator(self, net: DecoderNet, marginals: NDArray[Any]) -> Arrays:
        """Returns the public arrays of a generator whose table is matched to the marginals."""
        table = matched_table(net, torch.from_numpy(np.array(marginals)), self._model.blocks)
        weights = with_prefix(read_weights(net), "net.")
        return with_prefix({"table": table.numpy(), **weights}, GENERATOR)
