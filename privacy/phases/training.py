"""The phase of training rounds: `train` or `gradient`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from dp_accounting import DpEvent
from msgspec import Meta

from fedloom.common.errors import ConfigError, StudyError
from fedloom.common.models.registry import ModelSettings, model_kind, num_parameters
from fedloom.common.models.settings import Training, WeightRounds
from fedloom.common.privacy_settings import PrivacySettings
from fedloom.common.records import Coder
from fedloom.common.typed import read_typed
from fedloom.common.vocabulary import Exchange, MechanismKind, NoiseAt, Query, Stage
from fedloom.privacy.mechanisms.gaussian import gradient_event, training_event
from fedloom.privacy.phases.phase import Arrays, Draft, Mechanism, PhaseSettings, SumPart, for_unit
from fedloom.privacy.secure_sum import grid_step_of

if TYPE_CHECKING:
    from fedloom.privacy.plan import Plan

__all__ = ["TrainingPhase", "draft_training"]

# No honest weight comes near it; much larger ones serve to blow up the last bit of a number.
_MAX_WEIGHT = 1e4
_FLOAT32_BYTES = 4

Normaliser = Annotated[float, Meta(ge=1.0)]
GridStep = Annotated[float, Meta(gt=0.0)]


class _Stated(PhaseSettings, frozen=True, kw_only=True):
    """The plain form, whose settings are read once their type is known."""

    exchange: Exchange
    settings: dict[str, Any]
    normaliser: Normaliser
    grid_step: GridStep | None


class TrainingPhase(PhaseSettings, frozen=True, kw_only=True):
    """Rounds of DP-SGD: weights after local steps, or one noised sum of clipped gradients.

    Guarantee: `local_steps` Poisson-subsampled Gaussian mechanisms a round, as
    `fedloom.privacy.mechanisms.private_training` and `.noisy_gradient` give them, under adding or
    removing one unit.

    Attributes:
      settings: of the rounds, by the kind of model and what sites send.
      normaliser: public expected batch size by which a site divides its sums.
      grid_step: of the grid of a sum of gradients; None where weights are sent.
    """

    tag: ClassVar[str] = "training"
    stage: ClassVar[Stage] = Stage.TRAINING

    settings: Training
    normaliser: Normaliser
    grid_step: GridStep | None

    def to_plain(self) -> dict[str, Any]:
        """Returns plain values; what sites send stands beside the settings."""
        return {**super().to_plain(), "exchange": self.settings.exchange.value}

    @classmethod
    def from_plain(cls, table: dict[str, Any], model: ModelSettings) -> Self:
        """Reads plain values, the settings by the kind of model and what sites send."""
        where = f"the plan's phase {cls.tag}:"
        stated = read_typed(table, _Stated, where=where, error=StudyError)
        kinds = model_kind(model.kind).training
        if stated.exchange not in kinds:
            raise StudyError(
                f'{where} kind = "{model.kind}" has no rounds of {stated.exchange.value}'
            )
        return cls(
            share=stated.share,
            noise_multiplier=stated.noise_multiplier,
            settings=read_typed(
                stated.settings,
                kinds[stated.exchange],
                where=f"{where} settings",
                error=StudyError,
            ),
            normaliser=stated.normaliser,
            grid_step=stated.grid_step,
        )

    @property
    def name(self) -> str:
        """`training`."""
        return "training"

    @property
    def query(self) -> Query:
        """`train` or `gradient`."""
        return self.settings.query

    @property
    def num_rounds(self) -> int:
        """Rounds, spare ones not counted."""
        return self.settings.num_rounds

    @property
    def spare_rounds(self) -> int:
        """Attempts that make good void ones, over all rounds."""
        return self.settings.spare_rounds or 0

    def params(self) -> dict[str, Any]:
        """Returns a request's parameters: what a site needs to know of the settings."""
        settings = self.settings
        params: dict[str, Any] = {
            "local_steps": settings.local_steps,
            "sample_rate": settings.sample_rate,
            "noise_multiplier": self.noise_multiplier,
            "max_grad_norm": settings.max_grad_norm,
            "normaliser": self.normaliser,
            "engine": settings.engine.value,
            "max_physical_batch": settings.max_physical_batch,
        }
        if isinstance(settings, WeightRounds):
            params["learning_rate"] = settings.learning_rate
            params["optimizer"] = settings.optimizer.value
        if self.grid_step is not None:
            params["grid_step"] = self.grid_step
        return params

    def check_arrays(self, plan: Plan, arrays: Arrays) -> None:
        """Checks the weights and public arrays of a request; see `Phase`."""
        import numpy as np

        expected = _request_shapes(plan)
        if set(arrays) != set(expected):
            raise ConfigError("the arrays of the request are not those of the plan's model")
        for name, shape in expected.items():
            array = arrays[name]
            if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
                raise ConfigError(f"{name} must be finite float32 of shape {shape}")
            if array.size and np.abs(array).max() > _MAX_WEIGHT:
                raise ConfigError(f"{name} must be at most {_MAX_WEIGHT:g}")

    def answer_length(self, plan: Plan, arrays: Arrays) -> int:
        """Returns the coordinates of one gradient."""
        return num_parameters(plan.model, plan.coder)

    def request_bytes(self, plan: Plan) -> int:
        """Returns the bytes of a request's arrays."""
        return sum(math.prod(shape) * _FLOAT32_BYTES for shape in _request_shapes(plan).values())

    def round_event(self, privacy: PrivacySettings) -> DpEvent:
        """Returns the mechanism's event, for a unit at `overlap` sites."""
        rate, steps = self.settings.sample_rate, self.settings.local_steps

        def event_at(noise_multiplier: float) -> DpEvent:
            if self.query is Query.GRADIENT:
                return gradient_event(rate, noise_multiplier)
            return training_event(rate, noise_multiplier, steps)

        return for_unit(event_at, self.noise_multiplier, privacy)

    def sum_parts(self, length: int) -> tuple[SumPart, ...]:
        """Returns the sum of clipped gradients; weights are no sum."""
        if self.grid_step is None:
            return ()
        part = SumPart(
            name="gradient",
            length=length,
            l2_norm=self.settings.max_grad_norm,
            grid_step=self.grid_step,
            integer_valued=False,
        )
        return (part,)

    def in_words(self, privacy: PrivacySettings) -> str:
        """Says what leaves the site."""
        settings = self.settings
        what = "noisy model weights" if self.query is Query.TRAIN else "a noisy gradient sum"
        text = (
            f"{self.num_rounds} times: {what} after {settings.local_steps} step(s), each on a "
            f"random {settings.sample_rate:.3g} of all {privacy.unit}s, noise multiplier "
            f"{self.noise_multiplier:g}, clipped at {settings.max_grad_norm:g}"
        )
        if self.spare_rounds:
            text += (
                f"; up to {self.spare_rounds} times more, where a site did not answer and a sum "
                "could not open"
            )
        return text

    def summary(self) -> str:
        """Says it in a few words."""
        what = "weights" if self.query is Query.TRAIN else "gradient sums"
        spare = f" and {self.spare_rounds} spare" if self.spare_rounds else ""
        local = self.settings.local_steps
        steps = f" ({local} steps each)" if self.query is Query.TRAIN else ""
        return f"{self.num_rounds}{spare} of {what}{steps}"

    def mechanisms(self, where: NoiseAt) -> list[Mechanism]:
        """Lists the mechanism."""
        settings = self.settings
        what = (
            "weights after local steps (DP-SGD)"
            if self.query is Query.TRAIN
            else "a noisy sum of clipped gradients (DP-SGD)"
        )
        return [
            Mechanism(
                query=self.query,
                mechanism=MechanismKind.SUBSAMPLED_GAUSSIAN,
                where=where,
                releases=settings.exchange.value,
                text=what,
                sampler="poisson",
                sample_rate=settings.sample_rate,
                noise_multiplier=self.noise_multiplier,
                max_grad_norm=settings.max_grad_norm,
                rounds=self.num_rounds,
                spare_rounds=self.spare_rounds,
                steps_per_round=settings.local_steps,
                steps=self.num_rounds * settings.local_steps,
                grid_step=self.grid_step,
            )
        ]


def _request_shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    return plan.private_model.request_shapes()


def draft_training(
    settings: Training,
    *,
    share: float,
    model: ModelSettings,
    coder: Coder,
    nominal_records: float,
    num_sites: int,
) -> Draft:
    """Returns the phase whose noise is still open.

    Args:
      settings: of the rounds; its spare rounds are a number.
      share: of the budget.
      model: the model's settings.
      coder: of the schema's records.
      nominal_records: public number of records of a site.
      num_sites: of the study.
    """
    length, clip = num_parameters(model, coder), settings.max_grad_norm

    def at(noise_multiplier: float) -> TrainingPhase:
        step = None
        if settings.exchange is Exchange.GRADIENTS:
            step = grid_step_of(
                noise_multiplier * clip,
                num_sites,
                l2_norm=clip,
                length=length,
                integer_valued=False,
            )
        return TrainingPhase(
            share=share,
            noise_multiplier=noise_multiplier,
            settings=settings,
            normaliser=max(1.0, settings.sample_rate * nominal_records),
            grid_step=step,
        )

    return Draft(name="training", share=share, at=at)
