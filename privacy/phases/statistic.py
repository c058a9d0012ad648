"""The phase of one noisy sum over all records: `statistic`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from dp_accounting import DpEvent
from msgspec import Meta

from fedloom.common.privacy_settings import PrivacySettings
from fedloom.common.statistic_kinds import statistic_kind
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
)
from fedloom.privacy.secure_sum import grid_step_of

if TYPE_CHECKING:
    from fedloom.privacy.plan import Plan

__all__ = ["StatisticPhase", "draft_statistic"]


class StatisticPhase(PhaseSettings, frozen=True, kw_only=True):
    """One round: a registered statistic of all records, summed and noised.

    Guarantee: one Gaussian mechanism of `noise_multiplier`, as
    `fedloom.privacy.mechanisms.noisy_sum` gives it, under adding or removing one unit.

    Attributes:
      statistic: its kind.
      l2_norm: sensitivity of the sum for one unit.
      grid_step: of the grid on which the sum lives.
      max_cells: coordinates of the sum, at most; exactly where the layout is the schema's.
      spares: attempts that make good void ones.
    """

    tag: ClassVar[str] = "statistic"
    stage: ClassVar[Stage] = Stage.STATISTICS

    statistic: str
    l2_norm: Annotated[float, Meta(gt=0.0)]
    grid_step: Annotated[float, Meta(gt=0.0)]
    max_cells: Annotated[int, Meta(ge=1)]
    spares: Annotated[int, Meta(ge=0)]

    @property
    def name(self) -> str:
        """The statistic's."""
        return self.statistic

    @property
    def query(self) -> Query:
        """`statistic`."""
        return Query.STATISTIC

    @property
    def num_rounds(self) -> int:
        """One."""
        return 1

    @property
    def spare_rounds(self) -> int:
        """Spare attempts of the round."""
        return self.spares

    @property
    def noise_std(self) -> float:
        """Standard deviation of the planned noise in each coordinate of the sum."""
        return self.noise_multiplier * self.l2_norm

    def params(self) -> dict[str, Any]:
        """Returns a request's parameters."""
        return {
            "statistic": self.statistic,
            "l2_norm": self.l2_norm,
            "noise_multiplier": self.noise_multiplier,
            "grid_step": self.grid_step,
            "max_cells": self.max_cells,
        }

    def check_arrays(self, plan: Plan, arrays: Arrays) -> None:
        """Checks the arrays of a request; see `Phase`."""
        statistic_kind(self.statistic).check_arrays(plan.coder, arrays, self.max_cells)

    def answer_length(self, plan: Plan, arrays: Arrays) -> int:
        """Returns the coordinates of the sum that a request with these arrays asks for."""
        return statistic_kind(self.statistic).of(plan.coder, arrays).length

    def request_bytes(self, plan: Plan) -> int:
        """Returns the bytes of a request's arrays."""
        return array_bytes(statistic_kind(self.statistic).arrays(plan.coder))

    def round_event(self, privacy: PrivacySettings) -> DpEvent:
        """Returns the mechanism's event, for a unit at `overlap` sites."""
        return for_unit(statistic_event, self.noise_multiplier, privacy)

    def sum_parts(self, length: int) -> tuple[SumPart, ...]:
        """Returns the one sum."""
        part = SumPart(
            name=self.statistic,
            length=length,
            l2_norm=self.l2_norm,
            grid_step=self.grid_step,
            integer_valued=statistic_kind(self.statistic).integer_valued,
        )
        return (part,)

    def in_words(self, privacy: PrivacySettings) -> str:
        """Says what leaves the site."""
        return (
            f"once: noisy {statistic_kind(self.statistic).words}, noise multiplier "
            f"{self.noise_multiplier:g}"
        )

    def summary(self) -> str:
        """Says it in a few words."""
        return f"1 of {self.statistic} counts"

    def mechanisms(self, where: NoiseAt) -> list[Mechanism]:
        """Lists the mechanism."""
        return [
            Mechanism(
                query=self.query,
                mechanism=MechanismKind.GAUSSIAN,
                where=where,
                releases=self.statistic,
                text=f"a noisy sum: {statistic_kind(self.statistic).words}",
                l2_sensitivity=self.l2_norm,
                noise_multiplier=self.noise_multiplier,
                noise_std=self.noise_std,
                grid_step=self.grid_step,
                rounds=1,
                spare_rounds=self.spares,
            )
        ]


def draft_statistic(
    kind: str,
    *,
    share: float,
    record_norm: float,
    max_cells: int,
    spares: int,
    privacy: PrivacySettings,
    num_sites: int,
) -> Draft:
    """Returns the phase of a statistic whose noise is still open.

    Args:
      kind: of the statistic.
      share: of the budget.
      record_norm: most that one record adds, in the L2 norm; a person's rows add up.
      max_cells: coordinates of the sum, at most.
      spares: attempts that make good void ones.
      privacy: the study's.
      num_sites: of the study.
    """
    l2_norm = record_norm * privacy.rows_per_person
    integer_valued = statistic_kind(kind).integer_valued

    def at(noise_multiplier: float) -> StatisticPhase:
        return StatisticPhase(
            share=share,
            noise_multiplier=noise_multiplier,
            statistic=kind,
            l2_norm=l2_norm,
            grid_step=grid_step_of(
                noise_multiplier * l2_norm,
                num_sites,
                l2_norm=l2_norm,
                length=max_cells,
                integer_valued=integer_valued,
            ),
            max_cells=max_cells,
            spares=spares,
        )

    return Draft(name=kind, share=share, at=at)
