"""How the ClientApp of a site reaches the site's vault.

An address is `unix:/path` (a vault in another process, over gRPC) or `inproc:NAME` (a vault
object in this process, in a simulation). Either way a connection has one method, `handle`.
"""

from __future__ import annotations

from fedloom.client.link.connect import Connection, Handler, VaultUnavailableError, connect
from fedloom.client.link.in_process_vaults import registered

__all__ = ["Connection", "Handler", "VaultUnavailableError", "connect", "registered"]
