"""Keeps the schema's constraints in every record: by rejection, then by repair.

A record that breaks a constraint is drawn again, which gives exactly the generator's distribution
given the constraints. The number of draws is bounded. What is still broken then comes, for `vae`
and `gan` under fixed combinations, from a mixture of several thousand of their latents, which can
draw combinations exactly; anything else is repaired. So every record keeps every constraint, and
nothing waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.sampling.allowed import AllowedValues
from fedloom.common.sampling.repair import Repair
from fedloom.common.sampling.rows import Rows
from fedloom.common.sampling.sources import Source
from fedloom.common.sampling.tally import Tally

__all__ = ["Enforcer"]

_MAX_DRAWS_PER_ROW = 32
_MIN_DRAWS = 4096
_MIN_RATE = 1 / 64
_SPARE = 16


class Enforcer:
    """Draws records that keep the constraints of a schema."""

    def __init__(
        self,
        encoding: Encoding,
        source: Source,
        allowed: Mapping[str, AllowedValues],
        draw: Callable[[int, np.random.Generator], Rows],
        sketch: Callable[[int, np.random.Generator], Rows | None],
    ) -> None:
        """Takes what records are drawn from, what conditions allow, and how records are drawn.

        Records that rejection did not give come from `sketch`, unless it gives None.
        """
        self._encoding = encoding
        self._draw, self._sketch = draw, sketch
        self._repair = Repair(encoding, source, allowed)

    def kept(self, count: int, rng: np.random.Generator) -> tuple[Rows, Tally]:
        """Draws as many records, and tells what it took.

        Raises:
          ConfigError: conditions contradict the constraints.
        """
        rows = self._draw(count, rng)
        if not self._encoding.schema.constraints:
            return rows, Tally(rows=count, drawn=count)
        bad = np.flatnonzero(rows.broken())
        tally = Tally(rows=count, drawn=count, rejected=len(bad))
        limit = _MAX_DRAWS_PER_ROW * count + _MIN_DRAWS
        while len(bad) and tally.drawn < limit:
            rate = max(1 - tally.rejected / tally.drawn, _MIN_RATE)
            again = self._draw(min(int(len(bad) / rate) + _SPARE, max(count, _MIN_DRAWS)), rng)
            broken = again.broken()
            good = np.flatnonzero(~broken)[: len(bad)]
            rows.put(bad[: len(good)], again, good)
            bad = bad[len(good) :]
            tally.drawn += len(again)
            tally.rejected += int(broken.sum())
        sketched = self._sketch(len(bad), rng) if len(bad) else None
        if sketched is not None:
            rows.put(bad, sketched, np.arange(len(bad)))
            bad = bad[sketched.broken()]
        if len(bad):
            tally.repaired = len(bad)
            mended = rows.take(bad)
            self._repair(mended, rng)
            self._check(mended)
            rows.put(bad, mended, np.arange(len(bad)))
        return rows, tally

    def _check(self, mended: Rows) -> None:
        if mended.broken().any():
            names = ", ".join(f"'{c.name}'" for c in self._encoding.schema.constraints)
            raise ConfigError(
                f"the conditions contradict the schema's constraints ({names}): no record met both "
                f"in {_MAX_DRAWS_PER_ROW} draws a row, and none can be made; widen the conditions"
            )
