"""What must be right, and the least epsilon at which it is: "readmitted by age within 2 points".

  share by group within X points
  share by group within X points in groups of N
  share within X points

A share is that of any of the first column's values, its error that of noise in a share of about
one half, 19 times in 20. A column of numbers makes four groups of equal size, one of categories as
many as it has, unless the size is given. Names with spaces stand in backticks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from fedloom.common.errors import ConfigError, NotMeasuredError
from fedloom.common.schema import Schema
from fedloom.common.study import Study
from fedloom.privacy.inference.expected import PlannedNoise
from fedloom.privacy.inference.result import Z
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import resolve_plan

__all__ = ["Answer", "Want", "expected_error", "least_epsilon", "parse_want"]

_NAME = r"(?:`([^`]+)`|(\S+))"
_WANT = re.compile(
    rf"\s*{_NAME}(?:\s+by\s+{_NAME})?\s+within\s+([0-9.]+)\s+points?"
    r"(?:\s+in\s+groups\s+of\s+([0-9]+))?\s*"
)
_QUARTERS = 4
_SMALLEST, _LARGEST = 0.01, 100.0
_TRIES = 12
_CLOSE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A share that must be right.

    Attributes:
      text: as it was written.
      column: whose values' shares.
      by: what makes the groups; None for all records.
      within: most error, as a share.
      size: records of a group; None for equal groups.
    """

    text: str
    column: str
    by: str | None
    within: float
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a want costs.

    Attributes:
      want: what must be right.
      size: records of a group that were reckoned with.
      error: half width of the noise's 95% interval at the study's epsilon, as a share.
      epsilon: the least that keeps it within what is wanted.
    """

    want: Want
    size: float
    error: float
    epsilon: float

    @property
    def sampling(self) -> float:
        """Half width of what sampling makes of a share of one half in such a group."""
        return Z * 0.5 / math.sqrt(max(self.size, 1.0))


def parse_want(text: str, schema: Schema) -> Want:
    """Reads a want.

    Raises:
      ConfigError: it cannot be read.
      SchemaError: it names no column.

    >>> from fedloom.common.schema import Column
    >>> schema = Schema((Column("a", "category", values=("x", "y")),
    ...                  Column("b", "integer", minimum=0, maximum=9)))
    >>> parse_want("a by b within 2 points", schema).within
    0.02
    """
    match = _WANT.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{text!r} cannot be read; write such as 'readmitted by age within 2 points', or "
            "'... in groups of 500'"
        )
    quoted, plain, by_quoted, by_plain, within, size = match.groups()
    by = by_quoted or by_plain
    column = schema.column(quoted or plain).name
    want = Want(
        text=text.strip(),
        column=column,
        by=None if by is None else schema.column(by).name,
        within=_positive(within, text) / 100.0,
        size=None if size is None else int(_positive(size, text)),
    )
    if want.by == want.column:
        raise ConfigError(f"{text!r}: a column cannot be grouped by itself")
    return want


def expected_error(plan: Plan, want: Want, records: float) -> tuple[float, float]:
    """Returns the half width of the noise's 95% interval, and the records of a group.

    Args:
      plan: of the study.
      want: what must be right.
      records: over all sites.

    Raises:
      NotMeasuredError: the plan counts no such table.
    """
    noise, encoding = PlannedNoise.of(plan), plan.encoding
    if plan.schema.column(want.column).kind == "set":
        return _of_items(plan, noise, want, records)
    if want.by is None:
        size = float(want.size or records)
        error = noise.of_all(size, label=want.column == plan.target)
        return _bought(error, want, want.column), size
    labelled = plan.target in (want.column, want.by)
    grid = encoding.grids[encoding.schema.names.index(want.by)]
    levels = float(encoding.blocks[encoding.schema.names.index(want.by)].num_bins)
    groups = levels if grid is None else min(levels, float(_QUARTERS))
    size, apart = float(want.size or records / groups), max(groups, 2.0)
    if labelled:
        counts = 1.0 if want.by == plan.target else max(levels / groups, 1.0)
        return _bought(noise.with_label(size, counts=counts, groups=apart), want, want.by), size
    counts = max(noise.groups(want.by, records) / groups, 1.0)
    return _bought(noise.without_label(size, counts=counts, groups=apart), want, want.by), size


def _of_items(plan: Plan, noise: PlannedNoise, want: Want, records: float) -> tuple[float, float]:
    """Returns the same for the share of records that have an item: of all, or within a class."""
    if want.by not in (None, plan.target):
        raise NotMeasuredError(
            f"{want.text!r}: items of {want.column!r} are counted for all records and within the "
            "classes of the label alone; leave 'by' out, or name the label"
        )
    classes = sum(plan.encoding.class_sampleable)
    size = float(want.size or (records if want.by is None else records / classes))
    return _bought(noise.of_items(size, within=want.by is not None), want, want.column), size


def least_epsilon(
    study: Study, schema: Schema, wants: Sequence[Want], records: float, *, version: str
) -> list[Answer]:
    """Returns what each want costs; the study needs the largest epsilon of all.

    Everything else of the study, such as the shares of the phases, stays as it is.

    Args:
      study: the agreement.
      schema: its schema.
      wants: what must be right.
      records: over all sites.
      version: fedloom's version.

    Raises:
      NotMeasuredError: the study counts no such table, or no epsilon up to 100 is enough.
      StudyError: the study cannot be resolved.
    """
    plans: dict[float, Plan] = {}

    def plan_at(epsilon: float) -> Plan:
        if epsilon not in plans:
            privacy = msgspec.structs.replace(study.privacy, epsilon=epsilon)
            changed = msgspec.structs.replace(study, privacy=privacy)
            plans[epsilon] = resolve_plan(changed, schema, version=version)
        return plans[epsilon]

    found = []
    for want in wants:
        error, size = expected_error(plan_at(study.privacy.epsilon), want, records)

        def ratio(epsilon: float, want: Want = want) -> float:
            return expected_error(plan_at(epsilon), want, records)[0] / want.within

        epsilon = _searched(ratio, study.privacy.epsilon, want)
        found.append(Answer(want=want, size=size, error=error, epsilon=epsilon))
    return found


def _searched(ratio: Callable[[float], float], start: float, want: Want) -> float:
    """Returns the least epsilon, to three digits, at which a ratio of errors is at most 1."""
    low, high, epsilon = 0.0, math.inf, start
    for _ in range(_TRIES):
        found = ratio(epsilon)
        if found > 1.0:
            low = max(low, epsilon)
        else:
            high = min(high, epsilon)
            if found > 1.0 - _CLOSE:
                break
        # Errors fall about as epsilon grows; where that leaves the bracket, its middle is taken.
        guess = epsilon * found
        if not low < guess < high:
            guess = math.sqrt(low * high) if 0.0 < low and high < math.inf else guess
        guess = _rounded_up(min(max(guess, _SMALLEST), _LARGEST))
        if guess in (low, high):
            break
        epsilon = guess
    if high == math.inf:
        raise NotMeasuredError(
            f"no epsilon up to {_LARGEST:g} keeps {want.text!r}; ask for less, or for larger groups"
        )
    return high


def _rounded_up(value: float) -> float:
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / unit - 1e-9) * unit:.3g}")


def _bought(error: float | None, want: Want, column: str) -> float:
    if error is None:
        raise NotMeasuredError(
            f"the study does not count what {want.text!r} needs: {want.column!r} together with "
            f'{column!r}; [statistics] kind = "pairwise" counts all pairs of columns'
        )
    return error


def _positive(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0.0:
        raise ConfigError(f"{whole!r}: {text!r} must be a number above 0")
    return value
