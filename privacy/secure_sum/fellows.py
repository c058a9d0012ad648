"""With which fellow sites a site shares masks: with all, or in a large roster with some.

Masks between all pairs of n sites cost n (n - 1) key agreements. The sum needs less: it splits
into no parts as long as the honest sites hang together by their masks. So the sites stand in a
ring, in an order that follows from the request's digest, and each shares masks with the nearest on
either side: a circulant graph.

Guarantee: whichever d - 1 sites side with the coordinator, d being the number of fellows, the
honest ones are connected, so that what the others see of their answers can be made up from their
sum alone (docs/secure-sum.md). d is above the plan's `colluding`, and at least 64: rosters of up
to 65 sites mask with all.

Source: Bell, Bonawitz, Gascon, Lepoint and Raykova 2020, "Secure single-server aggregation with
(poly)logarithmic overhead", section 3, there with a random graph; Harary 1962, "The maximum
connectivity of a graph", for the circulant one, which needs no probability.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

__all__ = ["MIN_FELLOWS", "fellows"]

MIN_FELLOWS = 64


def fellows(
    site: str,
    roster: Collection[str],
    *,
    request_digest: str,
    colluding: int,
    least: int = MIN_FELLOWS,
) -> list[str]:
    """Returns the sites with which a site shares masks for one request, in order of name.

    If one site is a fellow of another, so is the other of the one.

    Args:
      site: one of the roster.
      roster: names of all sites that are asked, each once.
      request_digest: SHA-256 of the whole request, 64 hexadecimal digits.
      colluding: how many sites may side with the coordinator, at least 0.
      least: each site has at least so many fellows, or all.
    """
    beside = (max(least, colluding + 1) + 1) // 2
    if len(roster) - 1 <= 2 * beside:
        return sorted(other for other in roster if other != site)
    ring = sorted(roster, key=lambda name: _place(request_digest, name))
    own = ring.index(site)
    steps = [step for step in range(-beside, beside + 1) if step]
    return sorted(ring[(own + step) % len(ring)] for step in steps)


def _place(request_digest: str, name: str) -> bytes:
    return hashlib.sha256(f"{request_digest} {name}".encode()).digest()
