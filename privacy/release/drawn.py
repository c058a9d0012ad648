"""Which rows a release holds: those that its generator gives at a public seed.

By default the seed follows from the plan and from the name of the run, both of which the sites'
ledgers hold since before the first answer. So nobody can try seeds until the rows look as they
should, and everybody can draw them again.
"""

from __future__ import annotations

import hashlib

from fedloom.privacy.plan import Plan

__all__ = ["MAX_SEED", "public_seed"]

MAX_SEED = 2**53 - 1
_SEED_BYTES = 6


def public_seed(plan: Plan, run: str) -> int:
    """Returns the seed of the rows of a run's release, below 2^48.

    Args:
      plan: the plan that was carried out.
      run: the run's name.
    """
    text = f"{plan.digest()}/{run}/rows"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:_SEED_BYTES], "big")
