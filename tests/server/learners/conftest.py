"""A small table whose columns depend on each other, and simulated sites around a learner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals, OneWayMarginals, TwoWayMarginals, groups_of_one
from fedloom.common.models import build_model
from fedloom.common.models.registry import MODELS, ModelSettings, read_model
from fedloom.common.schema import Column, Schema
from fedloom.common.vocabulary import Engine, Exchange
from fedloom.privacy.mechanisms.noisy_gradient import noisy_gradient
from fedloom.privacy.mechanisms.private_training import private_training
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.phases import TrainingPhase
from fedloom.privacy.secure_sum.sum_grid import from_grid
from fedloom.server.aggregation import unflatten
from fedloom.server.learners import Learner, State
from fedloom.server.learners.gan import GanLearner
from fedloom.server.learners.vae import VaeLearner

ROWS = 6000
_UNIT = 2.0**-20
_LEARNERS: dict[str, Callable[..., Learner]] = {"vae": VaeLearner, "gan": GanLearner}


@dataclass(eq=False)
class Toy:
    """Two equal columns of four categories, one independent column, and a label."""

    encoding: Encoding
    codes: NDArray[np.int32]
    classes: NDArray[np.int64]

    def statistics(
        self, noise_std: float = 0.0, seed: int = 0, *, pairs: bool = False
    ) -> NoisyMarginals:
        rng = np.random.default_rng(seed)

        def noisy(measured: OneWayMarginals | TwoWayMarginals) -> NDArray[np.float64]:
            exact = measured.sum(self.codes, self.classes).astype(np.float64)
            return exact + rng.normal(0, noise_std, exact.shape)

        look = noisy(OneWayMarginals(self.encoding))
        if not pairs:
            return NoisyMarginals(encoding=self.encoding, look=look, look_std=noise_std)
        groups = groups_of_one(self.encoding)
        return NoisyMarginals(
            encoding=self.encoding,
            look=look,
            look_std=noise_std,
            groups=groups,
            pairs=noisy(TwoWayMarginals(self.encoding, groups)),
            pair_std=noise_std,
        )

    def settings(
        self, kind: str, exchange: str, **changes: Any
    ) -> tuple[ModelSettings, TrainingPhase]:
        critic = {"critic_hidden": 32} if kind == "gan" else {}
        model = read_model({"kind": kind, "hidden": 16, "latent": 4, **critic}, where="toy")
        noise_multiplier = changes.pop("noise_multiplier", 1.0)
        rounds = MODELS[kind].training[Exchange(exchange)]
        training = TrainingPhase(
            share=0.5,
            noise_multiplier=noise_multiplier,
            settings=rounds(engine=Engine.FUSED, **changes),
            normaliser=100.0,
            grid_step=_UNIT if exchange == "gradients" else None,
        )
        return model, training

    def learner(self, kind: str, exchange: str, **changes: Any) -> Learner:
        model, training = self.settings(kind, exchange, **changes)
        return _LEARNERS[kind](model, training, self.encoding)

    def round(self, kind: str, exchange: str, state: State, seed: int, **changes: Any) -> State:
        """Takes one round with a single site and insecure noise."""
        model_settings, training = self.settings(kind, exchange, **changes)
        learner = self.learner(kind, exchange, **changes)
        model = build_model(model_settings, self.encoding)
        module, public = model.restore(learner.request_arrays(state))
        shared = {
            "sample_rate": training.settings.sample_rate,
            "noise_multiplier": training.noise_multiplier,
            "max_grad_norm": training.settings.max_grad_norm,
            "noise": NoiseSource.from_insecure_seed(seed),
            "engine": "fused",
        }
        if exchange == "weights":
            answer = private_training(
                module,
                model,
                self.codes,
                self.classes,
                public,
                local_steps=training.settings.local_steps,
                learning_rate=training.settings.learning_rate,
                normaliser=100.0,
                **shared,
            )
        else:
            total = noisy_gradient(
                module, model, self.codes, self.classes, public, grid_step=_UNIT, **shared
            )
            answer = unflatten(from_grid(total, _UNIT), learner.answer_shapes())
        assert {name: value.shape for name, value in answer.items()} == learner.answer_shapes()
        return learner.update(state, answer, 100.0, seed)

    def pair_distance(self, codes: NDArray[np.int32], classes: NDArray[np.int64]) -> float:
        """Total variation between the joint of the two equal columns here and in a sample."""
        joint = []
        for first, second in ((self.codes[:, 0], self.codes[:, 1]), (codes[:, 0], codes[:, 1])):
            size = self.encoding.features[1].size
            cells = first * size + second
            counts = np.bincount(cells, minlength=self.encoding.features[0].size * size)
            joint.append(counts / len(first))
        return float(0.5 * np.abs(joint[0] - joint[1]).sum())


@pytest.fixture(scope="session")
def toy() -> Toy:
    values = ("a", "b", "c", "d")
    schema = Schema(
        (
            Column("first", "category", values=values),
            Column("twin", "category", values=values),
            Column("other", "integer", minimum=0, maximum=9),
            Column("label", "category", values=("no", "yes")),
        )
    )
    encoding = Encoding(schema, "label")
    rng = np.random.default_rng(20260101)
    classes = (rng.random(ROWS) < 0.3).astype(np.int64)
    first = np.where(
        classes == 1,
        rng.choice(4, ROWS, p=[0.1, 0.2, 0.3, 0.4]),
        rng.choice(4, ROWS, p=[0.4, 0.3, 0.2, 0.1]),
    )
    twin = np.where(rng.random(ROWS) < 0.9, first, rng.integers(0, 4, ROWS))
    other = rng.integers(0, 10, ROWS)
    codes = np.stack([first, twin, other], axis=1).astype(np.int32)
    return Toy(encoding, codes, classes)
