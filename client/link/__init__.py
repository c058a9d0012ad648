"""How the ClientApp of a site reaches the site's vault.

An address is `unix:/path` (a vault in another process, over gRPC) or `inproc:NAME` (a vault
object in this process, in a simulation). Either way a connection has one method, `handle`.
"""

from __future__ import annotations

from fedloom.client.link.connect import connect, registered
from fedloom.client.link.connection import Connection, Handler, VaultUnavailableError

__all__ = ["Connection", "Handler", "VaultUnavailableError", "connect", "registered"]
