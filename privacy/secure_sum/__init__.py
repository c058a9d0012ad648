"""Sums over sites that open only together, with noise in shares.

Everything is exact arithmetic modulo 2^64 on a public grid. What each party sees, the theorem
for the noise and what this does not defend against stand in docs/secure-sum.md.

  sum_grid  the public grid: `grid_step_of`, `to_grid`, `from_grid`, `sensitivity_on_grid`
  shares    `noise_share`: one site's part of the noise, with its theorem (`log_gap`)
  fellows   with which other sites a site shares masks
  masks     what two sites agree on, and what cancels in the sum
  opening   `masked_share` at a site, `open_sum` at the coordinator

A site answers `masked_share(noisy_sum(total, ..., num_shares=len(roster) - colluding), ...)`,
the coordinator calls `open_sum`. In per-site trust a site answers `noisy_sum(total, ...)`, and the
coordinator calls `open_sum` too.
"""

from fedloom.privacy.secure_sum.masks import RequestMask
from fedloom.privacy.secure_sum.opening import masked_share, open_sum
from fedloom.privacy.secure_sum.shares import log_gap, noise_share
from fedloom.privacy.secure_sum.sum_grid import (
    from_grid,
    grid_step_of,
    sensitivity_on_grid,
    to_grid,
)

__all__ = [
    "from_grid",
    "sensitivity_on_grid",
    "log_gap",
    "RequestMask",
    "masked_share",
    "noise_share",
    "open_sum",
    "to_grid",
    "grid_step_of",
]
