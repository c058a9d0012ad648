"""Sums over sites that open only together, with noise in shares.

Everything is exact arithmetic modulo 2^64 on a public grid. What each party sees, the theorem
for the noise and what this does not defend against stand in docs/secure-sum.md.

  lattice   the public grid: `unit_of`, `to_lattice`, `from_lattice`, `inflated`
  shares    `noise_share`: one site's part of the noise, with its theorem (`log_gap`)
  masks     what two sites agree on, and what cancels in the sum
  opening   `masked_share` at a site, `open_sum` at the coordinator

A site answers `masked_share(noisy_sum(total, ..., num_shares=len(roster) - colluding), ...)`,
the coordinator calls `open_sum`. In local trust a site answers `noisy_sum(total, ...)`, and the
coordinator calls `open_sum` too.
"""

from fedloom.privacy.secure_sum.lattice import from_lattice, inflated, to_lattice, unit_of
from fedloom.privacy.secure_sum.opening import masked_share, open_sum
from fedloom.privacy.secure_sum.shares import log_gap, noise_share

__all__ = [
    "from_lattice",
    "inflated",
    "log_gap",
    "masked_share",
    "noise_share",
    "open_sum",
    "to_lattice",
    "unit_of",
]
