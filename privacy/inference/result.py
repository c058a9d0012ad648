"""Estimates with the intervals around them, as tables, charts and plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from fedloom.privacy.inference.plot import Chart

__all__ = ["LEVEL", "Z", "Estimate", "Inference", "estimated", "notes_of"]

LEVEL = 0.95
Z = 1.959963984540054
"""Two-sided quantile of the normal distribution at `LEVEL`."""
_ALL_KEPT = 0.9995
_COARSE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One number and what is known of its error.

    Attributes:
      name: what it is the number of.
      value: the estimate; None where noise hides it.
      std_error: of all errors together.
      std_noise: of the privacy noise alone.
      std_sampling: of how records were sampled from their population.
      lower: end of the 95% interval.
      upper: end of the 95% interval.
    """

    name: str
    value: float | None
    std_error: float | None = None
    std_noise: float | None = None
    std_sampling: float | None = None
    lower: float | None = None
    upper: float | None = None

    @property
    def noise_interval(self) -> tuple[float, float] | None:
        """The part of the interval that the privacy noise alone would give; None without one."""
        if self.value is None or self.lower is None or self.upper is None or self.std_noise is None:
            return None
        half = Z * self.std_noise
        return max(self.value - half, self.lower), min(self.value + half, self.upper)

    def to_dict(self) -> dict[str, Any]:
        """Returns it as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


def estimated(
    name: str,
    value: float,
    *,
    noise: float,
    sampling: float,
    low: float = -math.inf,
    high: float = math.inf,
) -> Estimate:
    """Returns an estimate with its Wald interval.

    Args:
      name: what it is the number of.
      value: the estimate.
      noise: variance of the privacy noise in it.
      sampling: variance of sampling in it.
      low: least that the true number can be.
      high: most that it can be.
    """
    std = math.sqrt(max(noise, 0.0) + max(sampling, 0.0))
    return Estimate(
        name=name,
        value=min(max(value, low), high),
        std_error=std,
        std_noise=math.sqrt(max(noise, 0.0)),
        std_sampling=math.sqrt(max(sampling, 0.0)),
        lower=min(max(value - Z * std, low), high),
        upper=max(min(value + Z * std, high), low),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What an analysis found.

    Attributes:
      title: what was asked.
      scale: what the numbers are, such as "mean of age" or "log odds".
      estimates: one a number.
      records: estimated number of records.
      epsilon: that the answers had cost; nothing was added to it.
      notes: what holds for these numbers, one sentence each.
      ratio: what the exponential of an estimate is, such as "odds ratio"; None where nothing.
    """

    title: str
    scale: str
    estimates: tuple[Estimate, ...]
    records: float
    epsilon: float
    notes: tuple[str, ...] = ()
    ratio: str | None = None

    def __getitem__(self, name: str) -> Estimate:
        """Returns the estimate of that name.

        Raises:
          KeyError: there is none.
        """
        for estimate in self.estimates:
            if estimate.name == name:
                return estimate
        raise KeyError(f"{name!r}; there are {', '.join(one.name for one in self.estimates)}")

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain values."""
        return {
            "title": self.title,
            "scale": self.scale,
            "level": LEVEL,
            "records": self.records,
            "epsilon": self.epsilon,
            "epsilon_added": 0.0,
            "ratio": self.ratio,
            "estimates": [estimate.to_dict() for estimate in self.estimates],
            "notes": list(self.notes),
        }

    def to_frame(self) -> pd.DataFrame:
        """Returns one row an estimate, by name; for log scales with the ratio and its interval."""
        frame = pd.DataFrame([estimate.to_dict() for estimate in self.estimates]).set_index("name")
        if self.ratio is None:
            return frame
        ratios = {
            column: frame[source].map(math.exp)
            for column, source in (
                (self.ratio, "value"),
                (f"{self.ratio} lower", "lower"),
                (f"{self.ratio} upper", "upper"),
            )
        }
        return frame.assign(**ratios)

    def plot(self) -> Chart:
        """Returns the intervals as a chart; a notebook shows it, `save` writes an SVG file."""
        from fedloom.privacy.inference.plot import interval_chart

        return interval_chart(self)

    def __repr__(self) -> str:
        """Shows the table and the notes."""
        return "\n".join([f"{self.title} ({self.scale})", self.to_frame().to_string(), *self.notes])


def notes_of(kept: dict[str, float], alike: int, *, counts: bool) -> list[str]:
    """Returns what is to be said of errors, cells and persons.

    Args:
      kept: by term, the share of its variance that the groups of the pairs keep.
      alike: most records of one unit.
      counts: whether numbers of the records themselves were asked for.
    """
    if counts:
        return [
            "Each interval holds the true number of records at the sites with a chance of 95%; the "
            "exactly known privacy noise is its only error."
        ]
    notes = [
        "Each interval holds the number of the population that the records were sampled from with "
        "a chance of 95%. It counts sampling and the exactly known privacy noise, and says nothing "
        "of how the records came to be chosen."
    ]
    coarse = {name: share for name, share in kept.items() if share < _ALL_KEPT}
    if coarse:
        words = ", ".join(f"{100 * share:.1f}% of {name}" for name, share in coarse.items())
        notes.append(
            f"Pairs were counted on groups of cells, which keep of the variance {words}. "
            "Covariances are corrected for what they lose (Pearson's correction for broad "
            "categories); relations are taken to be near linear within a group."
        )
    poor = [name for name, share in coarse.items() if share < _COARSE]
    if poor:
        notes.append(
            f"The groups of {', '.join(poor)} are coarse: take these numbers as approximate, or "
            "buy finer cells by a larger epsilon."
        )
    if alike > 1:
        notes.append(
            f"One person may have {alike} records, which may be alike. The sampling part of each "
            f"variance is multiplied by {alike}, the most that this can do, so intervals are wider "
            "than they need be. Numbers are about records, after the cap on a person's."
        )
    return notes
