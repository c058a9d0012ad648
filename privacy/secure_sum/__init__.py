"""Sums over sites that open only together, with noise in shares.

Everything here is exact arithmetic on a public grid of integers: see docs/secure-sum.md.

  lattice   the public grid: `unit_of`, `to_lattice`, `from_lattice`, `inflated`
  shares    `noise_share`: one site's part of the noise, with its theorem (`log_gap`)
"""

from fedloom.privacy.secure_sum.lattice import from_lattice, inflated, to_lattice, unit_of
from fedloom.privacy.secure_sum.shares import log_gap, noise_share

__all__ = ["from_lattice", "inflated", "log_gap", "noise_share", "to_lattice", "unit_of"]
