"""How many rows a physical batch has: a public number, whatever a batch holds.

Kept apart from the clipping engines, because plans are checked on machines without torch.
"""

from __future__ import annotations

__all__ = ["DEFAULT_ROWS", "MAX_ROWS", "ROW_QUANTUM", "physical_rows"]

ROW_QUANTUM = 64
DEFAULT_ROWS = 256
MAX_ROWS = 512


def physical_rows(max_physical_batch: int | None) -> int:
    """Returns the rows of every physical batch: a multiple of 64, from 64 to 512.

    >>> physical_rows(None), physical_rows(1), physical_rows(100), physical_rows(5000)
    (256, 64, 64, 512)
    """
    wanted = DEFAULT_ROWS if max_physical_batch is None else min(max_physical_batch, MAX_ROWS)
    return max(wanted - wanted % ROW_QUANTUM, ROW_QUANTUM)
