"""The phase of scores on held-back units: `evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from dp_accounting import DpEvent
from msgspec import Meta

from fedloom.common.encoding import Encoding
from fedloom.common.privacy_settings import PrivacySettings
from fedloom.common.scores import EvaluationQueries
from fedloom.common.study import EvaluationSettings
from fedloom.common.typed import Section
from fedloom.common.vocabulary import MechanismKind, NoiseAt, Query, Stage
from fedloom.privacy.mechanisms.gaussian import statistic_event
from fedloom.privacy.phases.phase import (
    Arrays,
    Draft,
    Mechanism,
    PhaseSettings,
    SumPart,
    array_bytes,
    for_unit,
    repeated,
)
from fedloom.privacy.secure_sum import grid_step_of

if TYPE_CHECKING:
    from fedloom.privacy.plan import Plan

__all__ = ["EvaluationPhase", "HistogramSum", "draft_evaluation"]

_WORDS = {
    "scores": "binned scores of held-back units, by class",
    "marginals": "counts of held-back units in the cells of each column",
}


class HistogramSum(Section, frozen=True, kw_only=True):
    """One of the noisy sums of an evaluation.

    Attributes:
      name: of the histogram.
      length: its cells.
      l2_norm: sensitivity for one unit.
      grid_step: of its grid.
    """

    name: str
    length: Annotated[int, Meta(ge=1)]
    l2_norm: Annotated[float, Meta(gt=0.0)]
    grid_step: Annotated[float, Meta(gt=0.0)]


class EvaluationPhase(PhaseSettings, frozen=True, kw_only=True):
    """One round: histograms of units that are in no other query.

    Guarantee: one Gaussian mechanism of `noise_multiplier` for each histogram, as
    `fedloom.privacy.mechanisms.noisy_sum` gives it, under adding or removing one unit.

    Attributes:
      hold_back: chance of each unit to be held back.
      histograms: in the order in which an answer holds them.
    """

    tag: ClassVar[str] = "evaluation"
    stage: ClassVar[Stage] = Stage.EVALUATION

    hold_back: Annotated[float, Meta(gt=0.0, lt=1.0)]
    histograms: tuple[HistogramSum, ...]

    @property
    def name(self) -> str:
        """`evaluation`."""
        return "evaluation"

    @property
    def query(self) -> Query:
        """`evaluate`."""
        return Query.EVALUATE

    @property
    def num_rounds(self) -> int:
        """One."""
        return 1

    @property
    def spare_rounds(self) -> int:
        """None: a void evaluation ends without scores."""
        return 0

    def params(self) -> dict[str, Any]:
        """Returns a request's parameters."""
        return {
            "hold_back": self.hold_back,
            "noise_multiplier": self.noise_multiplier,
            "histograms": [
                {
                    "name": histogram.name,
                    "length": histogram.length,
                    "l2_norm": histogram.l2_norm,
                    "grid_step": histogram.grid_step,
                }
                for histogram in self.histograms
            ],
        }

    def check_arrays(self, plan: Plan, arrays: Arrays) -> None:
        """Checks the arrays of a request; see `Phase`."""
        _queries(plan).check(arrays)

    def answer_length(self, plan: Plan, arrays: Arrays) -> int:
        """Returns the coordinates of all histograms."""
        return self.length

    def request_bytes(self, plan: Plan) -> int:
        """Returns the bytes of a request's arrays."""
        return array_bytes(_queries(plan).request_arrays())

    def round_event(self, privacy: PrivacySettings) -> DpEvent:
        """Returns the event of all histograms, for a unit at `overlap` sites."""
        return repeated(
            for_unit(statistic_event, self.noise_multiplier, privacy), len(self.histograms)
        )

    def sum_parts(self, length: int) -> tuple[SumPart, ...]:
        """Returns one sum a histogram."""
        return tuple(
            SumPart(
                name=histogram.name,
                length=histogram.length,
                l2_norm=histogram.l2_norm,
                grid_step=histogram.grid_step,
                integer_valued=True,
            )
            for histogram in self.histograms
        )

    @property
    def length(self) -> int:
        """Coordinates of an answer."""
        return sum(histogram.length for histogram in self.histograms)

    def in_words(self, privacy: PrivacySettings) -> str:
        """Says what leaves the site."""
        return (
            f"once: noisy scores of the synthetic data on the {self.hold_back:.0%} of "
            f"{privacy.unit}s that are held back from everything else, noise multiplier "
            f"{self.noise_multiplier:g}"
        )

    def summary(self) -> str:
        """Says it in a few words."""
        return f"1 of scores on the {self.hold_back:.0%} held back"

    def mechanisms(self, where: NoiseAt) -> list[Mechanism]:
        """Lists one mechanism a histogram."""
        return [
            Mechanism(
                query=self.query,
                mechanism=MechanismKind.GAUSSIAN,
                where=where,
                releases=histogram.name,
                text=f"a noisy sum: {_WORDS[histogram.name]}",
                l2_sensitivity=histogram.l2_norm,
                noise_multiplier=self.noise_multiplier,
                noise_std=self.noise_multiplier * histogram.l2_norm,
                grid_step=histogram.grid_step,
                rounds=1,
                spare_rounds=0,
            )
            for histogram in self.histograms
        ]


def _queries(plan: Plan) -> EvaluationQueries:
    return plan.schema.kind.make_evaluation(plan.coder)


def draft_evaluation(
    settings: EvaluationSettings, encoding: Encoding, privacy: PrivacySettings, num_sites: int
) -> Draft:
    """Returns the phase whose noise is still open; `settings.share` is above 0."""

    def at(noise_multiplier: float) -> EvaluationPhase:
        histograms = []
        for histogram in EvaluationQueries(encoding).histograms:
            l2_norm = histogram.l2_norm * privacy.rows_per_person
            step = grid_step_of(
                noise_multiplier * l2_norm,
                num_sites,
                l2_norm=l2_norm,
                length=1,
                integer_valued=True,
            )
            histograms.append(
                HistogramSum(
                    name=histogram.name, length=histogram.length, l2_norm=l2_norm, grid_step=step
                )
            )
        return EvaluationPhase(
            share=settings.share,
            noise_multiplier=noise_multiplier,
            hold_back=settings.hold_back,
            histograms=tuple(histograms),
        )

    return Draft(name="evaluation", share=settings.share, at=at)
