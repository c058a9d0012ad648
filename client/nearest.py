"""Do synthetic records lie nearer to a site's own records than these lie to each other?

For the steward alone: what is computed here follows from private records without any noise, so it
has no guarantee, costs no budget, and must not leave the institution. It looks for what a fault
would show, a generator that repeats records. It proves nothing: the guarantee of a release is its
(epsilon, delta), and distances to the closest record can look harmless where there is none
(Ganev and De Cristofaro, 2023, "On the inadequacy of similarity-based privacy metrics").

Under equal conditions, as many synthetic records as own ones are looked at. Were all of them drawn
from one distribution, the nearest to a record would be synthetic in half of the cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedloom.client.persons import person_ids
from fedloom.common.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fedloom.privacy.plan import Plan

__all__ = ["Nearest", "Pair", "nearest"]

Array = NDArray[Any]

_MOST_LOOKED_AT, _MOST_AMONG = 2000, 10_000
_LEAST = 20
_PAIRS = 24
_BLOCK = 256
# Squared distances are differences of sums, which round; what is nearer by less is as near.
_SAME = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A record of the site and the synthetic one nearest to it; private.

    Attributes:
      own: row in the site's frame.
      made: row in the synthetic frame.
      distance: between them.
      to_own: from the record to the nearest other one of the site.
      same: whether they are alike in all that the plan sees of a record.
    """

    own: int
    made: int
    distance: float
    to_own: float
    same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """What was found; private.

    Attributes:
      looked_at: records of the site whose neighbours were looked for.
      among: synthetic records, and as many others of the site, among which they were.
      nearer: share whose nearest is synthetic; where both are as near, half counts.
      error: standard deviation of that share if synthetic records were as good as new ones.
      same_as_made: share that has a synthetic record alike in all that the plan sees.
      same_as_own: share that has such another record of the site.
      pairs: the pairs whose synthetic record is nearest, measured by how far off the next own
        record is; nearest first.
    """

    looked_at: int
    among: int
    nearer: float
    error: float
    same_as_made: float
    same_as_own: float
    pairs: tuple[Pair, ...]

    @property
    def suspicious(self) -> bool:
        """Whether synthetic records lie nearer than new ones would, by more than chance."""
        return self.nearer > 0.5 + 4.0 * self.error


def nearest(
    private_frame: pd.DataFrame, made_frame: pd.DataFrame, plan: Plan, *, seed: int = 0
) -> Nearest:
    """Looks for the synthetic records nearest to a site's own.

    Args:
      private_frame: the site's records, as their kind loads them; of persons one row each counts.
      made_frame: synthetic records of the plan's schema.
      plan: says how records are coded, and whose they are.
      seed: chooses which are looked at, where there are many.

    Raises:
      DataError: there are too few records to compare.
      ConfigError: records of the kind cannot be compared.
    """
    part = plan.schema.kind.positions
    if part is None:
        raise ConfigError(f"records of kind {plan.schema.kind.name!r} have no distances")
    rng = np.random.default_rng(seed)
    own_rows = rng.permutation(_one_row_each(private_frame, plan))
    made_rows = rng.permutation(len(made_frame))
    among = min(len(own_rows) - 1, len(made_rows), _MOST_AMONG)
    if among < _LEAST:
        raise DataError(
            f"{len(own_rows)} records and {len(made_rows)} synthetic ones are too few to compare; "
            f"at least {_LEAST + 1} and {_LEAST} are needed"
        )
    own_rows, made_rows = own_rows[: among + 1], made_rows[:among]
    own = plan.coder.coded(private_frame.iloc[own_rows])
    made = plan.coder.coded(made_frame.iloc[made_rows])
    looked_at = min(among + 1, _MOST_LOOKED_AT)
    of_own = plan.schema.kind.positions_of(plan.coder, own)
    of_made = plan.schema.kind.positions_of(plan.coder, made)
    to_made, which_made = _closest(of_own[:looked_at], of_made, itself=False)
    to_own, which_own = _closest(of_own[:looked_at], of_own, itself=True)
    record = [_record(own, row) for row in range(among + 1)]
    same_made = np.array(
        [_record(made, which_made[row]) == record[row] for row in range(looked_at)]
    )
    same_own = np.array([record[which_own[row]] == record[row] for row in range(looked_at)])
    nearer = np.where(np.abs(to_made - to_own) <= _SAME, 0.5, to_made < to_own)
    order = np.argsort((np.sqrt(to_made) + _SAME) / (np.sqrt(to_own) + _SAME), kind="stable")
    return Nearest(
        looked_at=looked_at,
        among=among,
        nearer=float(nearer.mean()),
        error=0.5 / math.sqrt(looked_at),
        same_as_made=float(same_made.mean()),
        same_as_own=float(same_own.mean()),
        pairs=tuple(
            Pair(
                own=int(own_rows[row]),
                made=int(made_rows[which_made[row]]),
                distance=float(np.sqrt(to_made[row])),
                to_own=float(np.sqrt(to_own[row])),
                same=bool(same_made[row]),
            )
            for row in order[:_PAIRS]
        ),
    )


def _one_row_each(private_frame: pd.DataFrame, plan: Plan) -> Array:
    """Returns the rows that count: the rows of one person are alike without being another's."""
    if plan.privacy.id is None:
        return np.arange(len(private_frame))
    ids = pd.Series(person_ids(private_frame[plan.privacy.id]))
    return np.flatnonzero(~ids.isna().to_numpy() & ~ids.duplicated().to_numpy())


def _closest(points: Array, among: Array, *, itself: bool) -> tuple[Array, Array]:
    """Returns the squared distance to the closest and its row; `itself` leaves out the same row."""
    lengths = (among**2).sum(axis=1)
    squares, rows = np.empty(len(points)), np.empty(len(points), dtype=np.int64)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        between = (block**2).sum(axis=1)[:, None] + lengths - 2.0 * block @ among.T
        if itself:
            between[np.arange(len(block)), start + np.arange(len(block))] = np.inf
        found = between.argmin(axis=1)
        rows[start : start + len(block)] = found
        squares[start : start + len(block)] = between[np.arange(len(block)), found]
    return np.maximum(squares, 0.0), rows


def _record(coded: Any, row: int) -> tuple[bytes, int]:
    return coded.features[row].tobytes(), int(coded.classes[row])
