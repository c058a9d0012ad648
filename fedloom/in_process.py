"""The link of a simulation: Flower's ServerApp side and ClientApp side in this process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fedloom.client.link import Handler, registered
from fedloom.server.link import Link

if TYPE_CHECKING:
    from fedloom.server.grids.flower_grid import Identify

__all__ = ["in_process_link"]

_FIRST_NODE = 1001
_POLL_S = 0.005


@contextmanager
def in_process_link(
    vaults: Mapping[str, Handler], *, identify: Identify | None = None, parallel: int = 2
) -> Iterator[Link]:
    """Links a coordinator to vaults in this process while the context is open.

    The bytes pass through the real ClientApp, as Flower Messages, and through the same routing
    as in a deployment; there is no socket and no other process.

    Args:
      vaults: each site's vault; they stay the caller's.
      identify: which site an answer proves to come from; by default the one it claims.
      parallel: how many sites may work at once; at least two, or a hanging site starves others.
    """
    from fedloom.client.app import app
    from fedloom.server.grids.flower_grid import FlowerLink, claimed_site
    from fedloom.server.grids.in_process import InProcessGrid

    with registered(vaults) as addresses:
        nodes = {
            node: {"vault": address}
            for node, address in zip(itertools.count(_FIRST_NODE), addresses.values(), strict=False)
        }
        with InProcessGrid(app, nodes, parallel=parallel) as grid:
            yield FlowerLink(grid, vaults, identify=identify or claimed_site, poll_s=_POLL_S)
